// SPDX-License-Identifier: Apache-2.0
// The Internet checksum (RFC 1071), computed the slow and obvious way: the programs under test do it incrementally.
#pragma once

#include <cstdint>
#include <span>

#include "maps/abi.h"

namespace xlb::packet {

// One's complement sum of 16-bit big-endian words; an odd last byte counts as a high byte. Not folded into 16 bits.
std::uint64_t sum_words(std::span<const std::uint8_t> bytes, std::uint64_t start = 0);

// Folds a sum and complements it: the value of a checksum field, in host order.
std::uint16_t finish_checksum(std::uint64_t sum);

std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes);

// Pseudo-header of RFC 793 (IPv4) or RFC 8200, 8.1 (IPv6), taken from the addresses' family.
std::uint64_t pseudo_header_sum(const lb_addr& source, const lb_addr& destination, std::uint8_t protocol,
                                std::uint32_t length);

}  // namespace xlb::packet
