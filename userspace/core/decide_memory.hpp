// SPDX-License-Identifier: Apache-2.0
// What decide() found out about services the last time. One that is declared as it was, has the EndpointSlices that it had, and
// sees the same world around, has the backends that it had; so a change costs as much as the services that it touches. With it
// and without it decide() says the same.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "userspace/core/decide.hpp"

namespace xlb {

// A service behind one VIP.
struct Served {
  std::shared_ptr<const DesiredService> desired;
  std::string unserved;                // why no backend of it takes flows; empty: one does
  std::vector<std::string> warnings;   // about it
};

class DecideMemory {
 public:
  using ServicePointer = std::shared_ptr<const Service>;
  using Slices = std::span<const std::shared_ptr<const EndpointSlice>>;

  // To be called first: what differs from the world before is forgotten.
  void see(const Machine& machine, const std::set<Address>& vips, const std::vector<DesiredPeer>& peers);
  // Null: not known, or not so any more.
  const Served* find(const ServicePointer& service, const Address& vip, Slices slices);
  const Served& keep(const ServicePointer& service, const Address& vip, Slices slices, Served served);
  // To be called last: who was not asked for is forgotten.
  void forget_unused();
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    ServicePointer service;  // these two: held, so that nobody else gets their addresses
    std::vector<std::shared_ptr<const EndpointSlice>> slices;
    Served served;
    bool used = true;
  };
  // Of a peer that is all that matters here.
  using Peer = std::pair<std::string, bool>;  // name, can be reached
  struct World {
    std::string node;
    Places places;
    std::map<HealthTarget, std::string> ill;
    std::set<Address> policed;
    std::set<Address> vips;
    std::vector<Peer> peers;
  };
  [[nodiscard]] bool elsewhere(const Entry& entry) const;

  World world_;
  std::set<Address> moved_;  // of which something is otherwise than in the world before: of its place, its health, …
  std::map<std::pair<const Service*, Address>, Entry> entries_;
};

}  // namespace xlb
