// SPDX-License-Identifier: Apache-2.0
// Reads a frame back into fields, verifies every length and checksum on the way, also those of the packet inside an
// ICMP error, and says in one line what it saw. What is wrong ends up in `faults`, never in an exception.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/support/packet.hpp"

namespace xlb::packet {

struct Decoded {
  MacAddress destination_mac, source_mac;
  std::vector<std::uint16_t> vlans;  // ids, outermost first
  std::uint16_t type = 0;            // after the tags

  std::optional<Arp> arp;
  bool ip = false;
  bool ipv4 = false;
  IpAddress source, destination;
  std::uint8_t hop_limit = 0;
  std::uint8_t traffic_class = 0;
  std::uint8_t protocol = 0;  // after extension headers
  std::uint32_t ip_id = 0;
  bool fragment = false;
  bool more_fragments = false;
  bool dont_fragment = false;
  std::uint16_t fragment_offset = 0;  // bytes
  std::size_t ip_length = 0;          // header and payload, as the header says

  std::uint16_t source_port = 0, destination_port = 0;
  bool tcp = false;
  std::uint32_t sequence = 0, acknowledgment = 0;
  std::uint8_t tcp_flags = 0;
  std::uint16_t window = 0;
  bool udp = false;
  std::uint16_t checksum = 0;  // of TCP, UDP or ICMP, as found
  bool icmp = false;           // ICMP or ICMPv6
  std::uint8_t icmp_type = 0, icmp_code = 0;
  std::uint32_t icmp_rest = 0;

  Bytes payload;                   // after the innermost header that was understood
  std::shared_ptr<Decoded> inner;  // the packet that an ICMP error speaks of; may be cut short without fault
  std::size_t trailer = 0;         // bytes after the IP packet: Ethernet padding
  std::vector<std::string> faults;

  [[nodiscard]] bool sound() const { return faults.empty() && (inner == nullptr || inner->faults.empty()); }
  [[nodiscard]] std::string text() const;
};

Decoded decode(std::span<const std::uint8_t> frame);
// Starts at the IP header; `cut` says that the end may be missing (packet inside an ICMP error).
Decoded decode_ip(std::span<const std::uint8_t> packet, bool cut);

// Hex, 16 bytes a line with offsets.
std::string hex(std::span<const std::uint8_t> bytes);

// Both packets in words, and the hex lines that differ; empty when they are equal.
std::string difference(std::span<const std::uint8_t> expected, std::span<const std::uint8_t> got);

}  // namespace xlb::packet
