// SPDX-License-Identifier: Apache-2.0
// ARP and neighbour discovery frames that this node sends: announcements of VIPs and the duplicate-address probe.
// Builders are pure; sending goes by a packet socket on the attach interface (packet_socket.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

using Frame = std::vector<std::uint8_t>;

// Where frames to an IPv6 group go: 33:33 and its last four bytes (RFC 2464, 7).
Mac multicast_mac(const Address& group);

// RFC 826, RFC 5227: gratuitous request (target protocol = sender) and reply (target hardware = sender hardware).
// IPv6: unsolicited NA to ff02::1, override set (RFC 4861, 7.2.6). `to`: broadcast/all-nodes when absent.
std::vector<Frame> announcement(const Address& vip, const Mac& mac, std::uint16_t vlan,
                                const std::optional<Mac>& to = std::nullopt);
// ARP probe (sender protocol 0.0.0.0) or DAD solicitation (source ::, RFC 4862, 5.4.2).
Frame probe(const Address& vip, const Mac& mac, std::uint16_t vlan);

// When to announce after an address was taken: 0, 50, 200 ms, then every 1.1 s until 5 s, then every 60 s. The first
// of these moments that is later than `since_taken`.
std::optional<std::chrono::milliseconds> next_announcement(std::chrono::milliseconds since_taken);

}  // namespace xlb
