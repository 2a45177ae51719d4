// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/memory.hpp"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace xlb {

Result<bool> lock_memory() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return Error{std::string("RLIMIT_MEMLOCK: ") + std::strerror(errno)};
  if (limit.rlim_cur != RLIM_INFINITY) return false;
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
    return Error{std::string("locking memory: ") + std::strerror(errno)};
  return true;
}

void give_memory_back() { malloc_trim(0); }

}  // namespace xlb
