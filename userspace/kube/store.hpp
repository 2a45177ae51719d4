// SPDX-License-Identifier: Apache-2.0
// All objects that lists and watches have brought, by kind, and the whole that they are together.
//
// A state costs what has changed since the last one: a kind in which nothing has changed is in both the same, and so is
// each Service and each EndpointSlice. What no load balancer has to do with makes no state at all: in a cluster of
// thousands of Services that is most of what is going on.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "userspace/kube/kinds.hpp"

namespace xlb {

class Store {
 public:
  // A list comes in pieces and counts when its last piece is there: until then what the list before it said holds.
  void listed(ApiKind kind, ReadObject object);
  void forget_listed(ApiKind kind);
  void commit_listed(ApiKind kind);
  // The server does not know the kind: as good as an empty list.
  void absent(ApiKind kind);

  void put(ApiKind kind, ReadObject object);
  void remove(ApiKind kind, const ObjectName& name);

  [[nodiscard]] bool whole() const;                        // each kind was listed, or is absent
  [[nodiscard]] bool changed() const { return changed_; }  // since the last state()
  ApiState state();

 private:
  using Objects = std::map<ObjectName, ReadObject>;
  struct Shelf {
    Objects objects;
    Objects listed;
    bool known = false;
    bool absent = false;
    bool stale = true;  // it is otherwise than state_ has it
    // As of state_.
    std::vector<std::string> unreadable;
    std::vector<std::string> warnings;
  };
  Shelf& shelf(ApiKind kind) { return shelves_[static_cast<std::size_t>(kind)]; }
  [[nodiscard]] const Shelf& shelf(ApiKind kind) const { return shelves_[static_cast<std::size_t>(kind)]; }
  void touch(ApiKind kind);
  void other_services();
  [[nodiscard]] bool shows(ApiKind kind, const ReadObject& object) const;
  [[nodiscard]] bool of_load_balancer(const ReadObject& slice) const;
  [[nodiscard]] bool has_policy(const std::string& ns) const;
  bool refresh(ApiKind kind);
  void note(ApiKind kind, const ReadObject& object);
  template <typename Value, typename Take>
  void each(ApiKind kind, const Take& take);
  void put_services();
  void put_slices();
  void put_nodes();
  void put_namespaces();
  void put_policed();
  void put_pools();
  void put_advertisements();
  void put_leases();
  void put_l2_statuses();

  std::array<Shelf, kApiKinds> shelves_;
  std::map<ObjectName, const ReadObject*> slices_;  // of Services that are in the state
  bool slices_known_ = false;                       // slices_ is as shelves_ are
  ApiState state_;                                  // the last one
  bool changed_ = false;
};

}  // namespace xlb
