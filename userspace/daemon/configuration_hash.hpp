// SPDX-License-Identifier: Apache-2.0
// A number for what is declared: pools, advertisements and services. Nodes tell different configurations apart by it; order and
// spelling of the manifests do not matter, and endpoints change too often to be compared.
#pragma once

#include <cstdint>

#include "userspace/core/model.hpp"

namespace xlb {

class ConfigurationHash {
 public:
  // Reckoned anew only when something has changed.
  std::uint64_t of(const Objects& objects);

 private:
  Objects last_;
  std::uint64_t hash_ = 0;
};

}  // namespace xlb
