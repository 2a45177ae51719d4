// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/network.hpp"

#include <algorithm>

namespace xlb::sim {

double chance(Random& random) {
  return static_cast<double>(random() >> 11) * 0x1.0p-53;
}

Time between(Random& random, Time low, Time high) {
  if (high <= low) return low;
  return low + Time(static_cast<Time::rep>(random() % static_cast<std::uint64_t>((high - low).count() + 1)));
}

Network::Network(std::size_t hosts) : ports_(hosts), blocked_(hosts * hosts, false) {}

bool Network::path(Host from, Host to) const {
  const Port& out = ports_[from];
  const Port& in = ports_[to];
  return switch_on && out.sends && in.receives && out.segment == in.segment && !blocked_[from * ports_.size() + to];
}

Time Network::delay(Random& random) const {
  return between(random, std::chrono::microseconds(40), std::chrono::microseconds(40) + jitter);
}

void Network::cut(Host host, bool sending, bool receiving) {
  if (sending) ports_[host].sends = false;
  if (receiving) ports_[host].receives = false;
}

void Network::heal(Host host) {
  ports_[host].sends = ports_[host].receives = true;
}

void Network::block(Host from, Host to, bool blocked) {
  blocked_[from * ports_.size() + to] = blocked;
}

void Network::place(Host host, int segment) {
  ports_[host].segment = segment;
}

void Network::heal_all() {
  std::fill(ports_.begin(), ports_.end(), Port{});
  std::fill(blocked_.begin(), blocked_.end(), false);
  switch_on = true;
  loss = 0;
}

}  // namespace xlb::sim
