// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/disk_writer.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

namespace xlb {

Result<std::unique_ptr<DiskWriter>> DiskWriter::open(Loop& loop) {
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) return Error{std::string("eventfd: ") + std::strerror(errno)};
  std::unique_ptr<DiskWriter> writer(new DiskWriter(loop, event));
  if (auto watched = loop.watch(event, EPOLLIN, [raw = writer.get()](std::uint32_t) { raw->finish(); }); !watched)
    return watched.error();
  return writer;
}

DiskWriter::~DiskWriter() {
  if (thread_.joinable()) thread_.join();
  loop_.forget(event_);
  close(event_);
}

void DiskWriter::write(Work work, Done done) {
  done_ = std::move(done);
  const auto run = [this, work = std::move(work)] {
    result_ = work();
    const std::uint64_t one = 1;
    while (::write(event_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  };
  try {
    thread_ = std::thread(run);
  } catch (const std::system_error&) {
    run();  // no thread is to be had: late is better than never
  }
}

void DiskWriter::finish() {
  std::uint64_t count = 0;
  if (read(event_, &count, sizeof(count)) != static_cast<ssize_t>(sizeof(count))) return;
  if (thread_.joinable()) thread_.join();
  // It may be given the next work at once.
  const auto done = std::exchange(done_, nullptr);
  const Result<void> result = *std::exchange(result_, std::nullopt);
  done(result);
}

}  // namespace xlb
