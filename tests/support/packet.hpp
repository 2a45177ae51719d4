// SPDX-License-Identifier: Apache-2.0
// Packets that read like a sentence:
//
//   const Bytes frame = Ethernet{.source = client_mac, .destination = own_mac} / Vlan{.id = 7}
//                       / Ipv4{.source = client, .destination = vip} / Tcp{.source_port = 4711, .destination_port =
//                       80} / Payload("GET /");
//
// Lengths, protocol numbers and checksums are computed from what follows a layer, innermost first; a field that is
// given is written as given, so that wrong ones can be made too. An ICMP error is followed by the packet it speaks
// of.
#pragma once

#include <array>
#include <compare>
#include <concepts>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "maps/abi.h"

namespace xlb::packet {

using Bytes = std::vector<std::uint8_t>;

inline constexpr std::uint16_t kTypeIpv4 = 0x0800;
inline constexpr std::uint16_t kTypeArp = 0x0806;
inline constexpr std::uint16_t kTypeVlan = 0x8100;
inline constexpr std::uint16_t kTypeQinq = 0x88a8;
inline constexpr std::uint16_t kTypeIpv6 = 0x86dd;

inline constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10, kUrg = 0x20;

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};

  MacAddress() = default;
  MacAddress(std::string_view text);  // NOLINT: "02:00:00:00:00:01" reads as what it is; throws std::invalid_argument
  MacAddress(const char* text) : MacAddress(std::string_view(text)) {}  // NOLINT: as above
  [[nodiscard]] std::string text() const;
  auto operator<=>(const MacAddress&) const = default;
};

inline const MacAddress kBroadcast{"ff:ff:ff:ff:ff:ff"};

struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};  // network order, IPv4 as ::ffff:a.b.c.d

  IpAddress() = default;
  IpAddress(std::string_view text);  // NOLINT: as above; throws std::invalid_argument
  IpAddress(const char* text) : IpAddress(std::string_view(text)) {}  // NOLINT: as above
  IpAddress(const lb_addr& address);                                  // NOLINT: the same thing in the contract's form
  [[nodiscard]] bool is_ipv4() const;
  [[nodiscard]] lb_addr abi() const;
  [[nodiscard]] std::string text() const;
  auto operator<=>(const IpAddress&) const = default;
};

// 33:33:xx:xx:xx:xx of an IPv6 group (RFC 2464, 7) and the solicited-node group of an address (RFC 4291, 2.7.1).
MacAddress multicast_mac(const IpAddress& group);
IpAddress solicited_node(const IpAddress& address);

struct Ethernet {
  MacAddress source{"02:00:00:00:00:01"};
  MacAddress destination{"02:00:00:00:00:02"};
  std::optional<std::uint16_t> type{};
};

struct Vlan {
  std::uint16_t id = 1;
  std::uint8_t priority = 0;
  std::optional<std::uint16_t> type{};  // of what follows
  std::uint16_t tag_type = kTypeVlan;   // written into the layer before
};

struct Arp {
  std::uint16_t operation = 1;
  MacAddress sender_mac{};
  IpAddress sender{};
  MacAddress target_mac{};
  IpAddress target{};
  std::uint16_t hardware = 1;
  std::uint16_t protocol = kTypeIpv4;
  std::uint8_t hardware_length = 6;
  std::uint8_t protocol_length = 4;
};

struct Ipv4 {
  IpAddress source{};
  IpAddress destination{};
  std::uint8_t ttl = 64;
  std::uint8_t tos = 0;
  std::uint16_t id = 0x4242;
  bool dont_fragment = true;
  bool more_fragments = false;
  std::uint16_t fragment_offset = 0;  // bytes, a multiple of 8
  Bytes options{};                    // padded to a multiple of 4 with zeros
  std::optional<std::uint8_t> protocol{};
  std::optional<std::uint16_t> total_length{};
  std::optional<std::uint16_t> checksum{};
  std::optional<std::uint8_t> header_words{};
};

struct Ipv6 {
  IpAddress source{};
  IpAddress destination{};
  std::uint8_t hop_limit = 64;
  std::uint8_t traffic_class = 0;
  std::uint32_t flow_label = 0;
  std::optional<std::uint8_t> next_header{};
  std::optional<std::uint16_t> payload_length{};
};

// Hop-by-hop options (0), routing (43), destination options (60).
struct Ipv6Extension {
  std::uint8_t kind = 60;
  Bytes body{};  // after the two first bytes; padded with a PadN option to a multiple of 8
  std::optional<std::uint8_t> next_header{};
};

struct Ipv6Fragment {
  std::uint32_t id = 0x42424242;
  std::uint16_t offset = 0;  // bytes, a multiple of 8
  bool more = false;
  std::optional<std::uint8_t> next_header{};
};

struct Tcp {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint32_t sequence = 0x10203040;
  std::uint32_t acknowledgment = 0;
  std::uint8_t flags = kSyn;
  std::uint16_t window = 64240;
  std::uint16_t urgent = 0;
  Bytes options{};  // padded to a multiple of 4 with zeros
  std::optional<std::uint8_t> header_words{};
  std::optional<std::uint16_t> checksum{};
};

struct Udp {
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::optional<std::uint16_t> length{};
  std::optional<std::uint16_t> checksum{};  // 0: none
};

// `rest` is the second word of the header: identifier and sequence of an echo, MTU of "packet too big", flags of an
// NA.
struct Icmp {
  std::uint8_t type = 8;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;
  std::optional<std::uint16_t> checksum{};
};

struct Icmp6 {
  std::uint8_t type = 128;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;
  std::optional<std::uint16_t> checksum{};
};

struct Payload {
  Bytes bytes{};

  Payload() = default;
  Payload(Bytes content) : bytes(std::move(content)) {}  // NOLINT: implicit by intent
  explicit Payload(std::string_view text) : bytes(text.begin(), text.end()) {}
  explicit Payload(const char* text) : Payload(std::string_view(text)) {}
  // `count` bytes that differ from one another, so that a shifted byte shows.
  static Payload of_size(std::size_t count, std::uint8_t seed = 1);
};

using Layer =
    std::variant<Ethernet, Vlan, Arp, Ipv4, Ipv6, Ipv6Extension, Ipv6Fragment, Tcp, Udp, Icmp, Icmp6, Payload>;

template <typename L, typename Variant>
inline constexpr bool is_alternative = false;
template <typename L, typename... Kinds>
inline constexpr bool is_alternative<L, std::variant<Kinds...>> = (std::same_as<L, Kinds> || ...);
template <typename L>
concept IsLayer = is_alternative<L, Layer>;

class Packet {
 public:
  Packet() = default;
  template <IsLayer L>
  Packet(L layer) : layers_{Layer(std::move(layer))} {}  // NOLINT: a layer is a packet

  Packet& operator/=(const Packet& inner) {
    layers_.insert(layers_.end(), inner.layers_.begin(), inner.layers_.end());
    return *this;
  }
  [[nodiscard]] Bytes bytes() const;
  operator Bytes() const { return bytes(); }  // NOLINT: a packet is used as its bytes
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  [[nodiscard]] std::vector<Layer>& layers() { return layers_; }

  // The first layer of that kind; throws std::out_of_range if there is none.
  template <typename L>
  [[nodiscard]] L& get() {
    for (Layer& layer : layers_) {
      if (auto* found = std::get_if<L>(&layer)) return *found;
    }
    throw std::out_of_range("no such layer in this packet");
  }

 private:
  std::vector<Layer> layers_;
};

template <typename L>
concept Stackable = std::same_as<L, Packet> || IsLayer<L>;

template <Stackable Outer, Stackable Inner>
Packet operator/(Outer outer, Inner inner) {
  Packet packet(std::move(outer));
  packet /= Packet(std::move(inner));
  return packet;
}

// Options of neighbour discovery (RFC 4861, 4.6.1): 1 source, 2 target link-layer address.
Bytes link_layer_option(std::uint8_t kind, const MacAddress& mac);

// Neighbour solicitation and advertisement after their ICMPv6 header's first word.
Packet neighbor_solicitation(const IpAddress& target, std::optional<MacAddress> source_link);
Packet neighbor_advertisement(const IpAddress& target, std::uint32_t flags, std::optional<MacAddress> target_link);

// The IP packet inside, cut into frames that carry at most `size` bytes (a multiple of 8) of IP payload each.
std::vector<Packet> fragments(const Packet& whole, std::size_t size);

}  // namespace xlb::packet
