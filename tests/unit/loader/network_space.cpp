// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/loader/network_space.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <thread>

namespace xlb {

Result<NetworkSpace> NetworkSpace::of_this_thread() {
  if (unshare(CLONE_NEWNET) != 0) return system_error("make a network namespace");
  File space(open("/proc/thread-self/ns/net", O_RDONLY));  // not close-on-exec: path() is for commands
  if (!space) return system_error("open /proc/thread-self/ns/net");
  return NetworkSpace(std::move(space));
}

Result<NetworkSpace> NetworkSpace::enter() {
  return of_this_thread();
}

Result<NetworkSpace> NetworkSpace::make() {
  std::optional<Result<NetworkSpace>> made;
  std::thread([&made] { made.emplace(of_this_thread()); }).join();
  return std::move(*made);
}

Result<void> NetworkSpace::run(const std::string& commands) const {
  auto done = output(commands);
  return done ? Result<void>() : done.error();
}

Result<std::string> NetworkSpace::output(const std::string& commands) const {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return system_error("make a pipe");
  const pid_t child = fork();
  if (child < 0) return system_error("fork");
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    if (setns(space_.get(), CLONE_NEWNET) != 0) _exit(126);
    execl("/bin/sh", "sh", "-ec", commands.c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  const File output(ends[0]);
  std::string printed;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = read(output.get(), buffer.data(), buffer.size())) > 0;) {
    printed.append(buffer.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return printed;
  return Error{"\"" + commands.substr(0, 200) + "\" failed: " + printed};
}

}  // namespace xlb
