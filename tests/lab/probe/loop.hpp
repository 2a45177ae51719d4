// SPDX-License-Identifier: Apache-2.0
// What the four verbs of the probe have in common: a clock, descriptors, a tick, and the end.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include <netinet/in.h>

namespace xlb::probe {

constexpr std::int64_t kMs = 1'000'000;  // in ns

// CLOCK_MONOTONIC in ns: the same clock in every process and namespace, and Python's time.monotonic().
std::int64_t now();
[[nodiscard]] double seconds(std::int64_t ns);
[[nodiscard]] double milliseconds(std::int64_t ns);

[[noreturn]] void fail(const std::string& what);
[[noreturn]] void fail_errno(const std::string& what);

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// SIGTERM and SIGINT end a measurement, which then prints what it has.
void end_on_signals();
[[nodiscard]] bool ended();

Descriptor make_epoll();
void watch(const Descriptor& epoll, int fd, std::uint32_t events, std::uint64_t tag);
// Another set of events for a descriptor that is its own tag.
void watch_for(const Descriptor& epoll, int fd, std::uint32_t events);
// A timer that becomes readable every `every` ns.
Descriptor make_tick(std::int64_t every);
// How often it has ticked since it was last asked.
std::uint64_t ticks(const Descriptor& tick);

sockaddr_in address_of(const std::string& text, std::uint16_t port);

}  // namespace xlb::probe
