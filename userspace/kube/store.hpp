// SPDX-License-Identifier: Apache-2.0
// All objects that lists and watches have brought, by kind, and the whole that they are together.
#pragma once

#include <array>
#include <map>

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
  };
  Shelf& shelf(ApiKind kind) { return shelves_[static_cast<std::size_t>(kind)]; }
  template <typename Value, typename Take>
  void each(ApiKind kind, ApiState& state, const Take& take);
  void put_services(ApiState& state);
  void put_slices(ApiState& state);
  void put_policed(ApiState& state);

  std::array<Shelf, kApiKinds> shelves_;
  bool changed_ = false;
};

}  // namespace xlb
