// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/settings.hpp"

#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace xlb {

Result<std::string> find_cgroup(const std::string& asked) {
  if (asked == "none") return std::string();
  if (!asked.empty()) {
    struct statfs facts {};
    if (statfs(asked.c_str(), &facts) != 0)
      return Error{"cgroup " + asked + ": " + std::strerror(errno) + ": give a folder of cgroup2, or --cgroup none"};
    if (facts.f_type != CGROUP2_SUPER_MAGIC)
      return Error{"cgroup " + asked + ": is not on cgroup2: give a folder of cgroup2, or --cgroup none"};
    return asked;
  }
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, folder, kind;
    if (words >> device >> folder >> kind && kind == "cgroup2") return folder;
  }
  return Error{
      "no cgroup2 hierarchy is mounted, so clients on this node itself do not reach VIPs: mount one "
      "(mount -t cgroup2 none /sys/fs/cgroup/unified) and attach again, or say --cgroup none"};
}

Result<void> require_capabilities(const std::string& doing) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (syscall(SYS_capget, &header, data.data()) != 0)
    return Error{doing + ": asking for this process's capabilities: " + std::strerror(errno)};
  const auto has = [&data](unsigned capability) {
    return (data[capability / 32].effective & (1u << (capability % 32))) != 0;
  };
  // CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, as it does in the kernel.
  std::string missing;
  const auto need = [&](unsigned capability, const char* name, bool admin_will_do) {
    if (has(capability) || (admin_will_do && has(CAP_SYS_ADMIN))) return;
    missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
  need(CAP_NET_ADMIN, "CAP_NET_ADMIN", false);
  need(CAP_NET_RAW, "CAP_NET_RAW", false);
  need(CAP_BPF, "CAP_BPF", true);
  need(CAP_PERFMON, "CAP_PERFMON", true);
  if (missing.empty()) return {};
  return Error{doing + ": missing " + missing + ": run it as root (sudo xdp-lb …)"};
}

Result<void> make_folder(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  if (code) return Error{"making the folder " + folder.string() + ": " + code.message()};
  return {};
}

}  // namespace xlb
