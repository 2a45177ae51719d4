// SPDX-License-Identifier: Apache-2.0
// SHA-256, and what is made of it: a node's rank for a VIP, and the id of a sender. Libraries stay out of the core.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace/core/address.hpp"

namespace xlb {

using Digest = std::array<std::uint8_t, 32>;

Digest sha256(std::string_view text);

// Rank::digest: sha256(node + "#" + address), MetalLB's order, so that a cluster that moves over keeps its
// placements. `first`: the first address of the service's status; both families of a service follow it.
Digest rank_digest(const std::string& node, const Address& first);

}  // namespace xlb
