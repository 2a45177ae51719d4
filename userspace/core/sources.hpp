// SPDX-License-Identifier: Apache-2.0
// What is declared may come from manifests and from an API server at once. Here the two become one.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "userspace/core/model.hpp"

namespace xlb {

// What an API server brings to a pass.
struct ApiFacts {
  Objects objects;                            // in force
  Shared<Assignments> given;                  // by Service: its addresses; also those that have none (yet)
  std::map<ObjectName, std::string> waiting;  // why a Service has none
  Shared<std::set<Address>> policed;          // Machine::policed
  std::map<Address, TakenOver> taken_over;    // Machine::taken_over
  std::vector<std::string> warnings;
  auto operator<=>(const ApiFacts&) const = default;
};

struct BothSources {
  Objects objects;  // valid one by one and together
  std::vector<std::string> warnings;
};
// Manifests win: they are on this node, and work without a server. An object of the server that has the name of one of them,
// or that does not go together with them (a pool that overlaps, a node with the same address), does not count, and is told.
// Both sides are valid by themselves.
BothSources side_by_side(Objects manifests, const Objects& api);

// The pools and advertisements of an API server that are in force: the last ones that made sense. An invalid set, and all
// pools gone at once (CRDs deleted with a chart), change nothing until there is a valid one again.
class PoolsInForce {
 public:
  // Exchanges pools and advertisements of `objects` for those in force.
  void put_into(Objects& objects);
  // Empty: they are what the server has.
  [[nodiscard]] const std::string& stale() const { return stale_; }
  [[nodiscard]] bool loaded() const { return loaded_; }

 private:
  std::vector<Pool> pools_;
  std::vector<L2Advertisement> advertisements_;
  std::string stale_;
  bool loaded_ = false;
};

// Only Services of this class; empty: only those without one. Those of the class have none from here on, so that nobody
// further on takes them for another's.
class ServiceClass {
 public:
  explicit ServiceClass(std::string name) : name_(std::move(name)) {}
  void keep(Objects& objects);

 private:
  std::string name_;
  // What became of a Service, so that one that stays the same stays the same for those who come after.
  struct Kept {
    std::shared_ptr<const Service> declared, classless;
  };
  std::map<const Service*, Kept> kept_;
};

}  // namespace xlb
