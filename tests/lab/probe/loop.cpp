// SPDX-License-Identifier: Apache-2.0
#include "tests/lab/probe/loop.hpp"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

namespace xlb::probe {

namespace {
volatile std::sig_atomic_t g_ended = 0;
}

std::int64_t now() {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1'000'000'000 + at.tv_nsec;
}

double seconds(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }
double milliseconds(std::int64_t ns) { return static_cast<double>(ns / 1000) / 1e3; }

void fail(const std::string& what) { throw std::runtime_error(what); }
void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

void end_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_ended = 1; };
  for (const int number : {SIGTERM, SIGINT}) sigaction(number, &action, nullptr);
}

bool ended() { return g_ended != 0; }

Descriptor make_epoll() {
  Descriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  if (epoll.get() < 0) fail_errno("epoll_create1");
  return epoll;
}

void watch(const Descriptor& epoll, int fd, std::uint32_t events, std::uint64_t tag) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail_errno("epoll_ctl");
}

void watch_for(const Descriptor& epoll, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = static_cast<std::uint64_t>(fd);
  if (epoll_ctl(epoll.get(), EPOLL_CTL_MOD, fd, &event) != 0) fail_errno("epoll_ctl");
}

Descriptor make_tick(std::int64_t every) {
  Descriptor tick(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (tick.get() < 0) fail_errno("timerfd_create");
  const timespec period{.tv_sec = every / 1'000'000'000, .tv_nsec = every % 1'000'000'000};
  const itimerspec setting{.it_interval = period, .it_value = period};
  if (timerfd_settime(tick.get(), 0, &setting, nullptr) != 0) fail_errno("timerfd_settime");
  return tick;
}

std::uint64_t ticks(const Descriptor& tick) {
  std::uint64_t count = 0;
  return read(tick.get(), &count, sizeof count) == sizeof count ? count : 0;
}

sockaddr_in address_of(const std::string& text, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, text.c_str(), &address.sin_addr) != 1) fail(text + " is no IPv4 address");
  return address;
}

}  // namespace xlb::probe
