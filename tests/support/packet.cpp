// SPDX-License-Identifier: Apache-2.0
#include "tests/support/packet.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "tests/support/checksum.hpp"

namespace xlb::packet {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

constexpr std::uint8_t kNextFragment = 44;

void put16(Bytes& to, std::uint16_t value) {
  to.push_back(static_cast<std::uint8_t>(value >> 8));
  to.push_back(static_cast<std::uint8_t>(value));
}

void put32(Bytes& to, std::uint32_t value) {
  put16(to, static_cast<std::uint16_t>(value >> 16));
  put16(to, static_cast<std::uint16_t>(value));
}

void put(Bytes& to, const Bytes& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
void put(Bytes& to, const MacAddress& mac) {
  to.insert(to.end(), mac.bytes.begin(), mac.bytes.end());
}
void put_ipv4(Bytes& to, const IpAddress& address) {
  to.insert(to.end(), address.bytes.begin() + 12, address.bytes.end());
}
void put_ipv6(Bytes& to, const IpAddress& address) {
  to.insert(to.end(), address.bytes.begin(), address.bytes.end());
}

void set16(Bytes& in, std::size_t at, std::uint16_t value) {
  in[at] = static_cast<std::uint8_t>(value >> 8);
  in[at + 1] = static_cast<std::uint8_t>(value);
}

Bytes padded(Bytes bytes, std::size_t multiple) {
  while (bytes.size() % multiple != 0) bytes.push_back(0);
  return bytes;
}

// What a layer wants the layer before it to announce.
std::uint16_t ether_type_of(const Layer* next) {
  if (next == nullptr) return 0;
  if (const auto* vlan = std::get_if<Vlan>(next)) return vlan->tag_type;
  if (std::holds_alternative<Arp>(*next)) return kTypeArp;
  if (std::holds_alternative<Ipv4>(*next)) return kTypeIpv4;
  if (std::holds_alternative<Ipv6>(*next)) return kTypeIpv6;
  return 0x88b5;  // IEEE local experimental
}

std::uint8_t protocol_of(const Layer* next) {
  if (next == nullptr) return IPPROTO_NONE;
  if (std::holds_alternative<Tcp>(*next)) return IPPROTO_TCP;
  if (std::holds_alternative<Udp>(*next)) return IPPROTO_UDP;
  if (std::holds_alternative<Icmp>(*next)) return IPPROTO_ICMP;
  if (std::holds_alternative<Icmp6>(*next)) return IPPROTO_ICMPV6;
  if (std::holds_alternative<Ipv6Fragment>(*next)) return kNextFragment;
  if (const auto* extension = std::get_if<Ipv6Extension>(next)) return extension->kind;
  if (std::holds_alternative<Ipv4>(*next)) return IPPROTO_IPIP;
  if (std::holds_alternative<Ipv6>(*next)) return IPPROTO_IPV6;
  return 253;  // for experimentation, RFC 3692
}

struct Ends {
  lb_addr source{};
  lb_addr destination{};
};

// Writes one layer in front of `inner`. `ends` are the addresses of the IP layer that encloses this one.
struct Writer {
  const Layer* next;
  const Bytes& inner;
  Ends ends;

  Bytes operator()(const Ethernet& layer) const {
    Bytes out;
    put(out, layer.destination);
    put(out, layer.source);
    put16(out, layer.type.value_or(ether_type_of(next)));
    put(out, inner);
    return out;
  }

  Bytes operator()(const Vlan& layer) const {
    Bytes out;
    put16(out, static_cast<std::uint16_t>((layer.priority << 13) | (layer.id & 0xfff)));
    put16(out, layer.type.value_or(ether_type_of(next)));
    put(out, inner);
    return out;
  }

  Bytes operator()(const Arp& layer) const {
    Bytes out;
    put16(out, layer.hardware);
    put16(out, layer.protocol);
    out.push_back(layer.hardware_length);
    out.push_back(layer.protocol_length);
    put16(out, layer.operation);
    put(out, layer.sender_mac);
    put_ipv4(out, layer.sender);
    put(out, layer.target_mac);
    put_ipv4(out, layer.target);
    put(out, inner);
    return out;
  }

  Bytes operator()(const Ipv4& layer) const {
    const Bytes options = padded(layer.options, 4);
    const std::size_t header = 20 + options.size();
    const std::uint16_t flags = static_cast<std::uint16_t>(
        (layer.dont_fragment ? 0x4000 : 0) | (layer.more_fragments ? 0x2000 : 0) | (layer.fragment_offset / 8));
    Bytes out;
    out.push_back(
        static_cast<std::uint8_t>(0x40 | (layer.header_words.value_or(static_cast<std::uint8_t>(header / 4)) & 0xf)));
    out.push_back(layer.tos);
    put16(out, layer.total_length.value_or(static_cast<std::uint16_t>(header + inner.size())));
    put16(out, layer.id);
    put16(out, flags);
    out.push_back(layer.ttl);
    out.push_back(layer.protocol.value_or(protocol_of(next)));
    put16(out, 0);
    put_ipv4(out, layer.source);
    put_ipv4(out, layer.destination);
    put(out, options);
    set16(out, 10, layer.checksum.value_or(internet_checksum(out)));
    put(out, inner);
    return out;
  }

  Bytes operator()(const Ipv6& layer) const {
    Bytes out;
    put32(out, 0x60000000u | (static_cast<std::uint32_t>(layer.traffic_class) << 20) | (layer.flow_label & 0xfffff));
    put16(out, layer.payload_length.value_or(static_cast<std::uint16_t>(inner.size())));
    out.push_back(layer.next_header.value_or(protocol_of(next)));
    out.push_back(layer.hop_limit);
    put_ipv6(out, layer.source);
    put_ipv6(out, layer.destination);
    put(out, inner);
    return out;
  }

  Bytes operator()(const Ipv6Extension& layer) const {
    Bytes body = layer.body;
    const std::size_t missing = (8 - (body.size() + 2) % 8) % 8;
    if (missing == 1) {
      body.push_back(0);  // Pad1
    } else if (missing > 1) {
      body.push_back(1);  // PadN
      body.push_back(static_cast<std::uint8_t>(missing - 2));
      body.insert(body.end(), missing - 2, 0);
    }
    Bytes out;
    out.push_back(layer.next_header.value_or(protocol_of(next)));
    out.push_back(static_cast<std::uint8_t>((body.size() + 2) / 8 - 1));
    put(out, body);
    put(out, inner);
    return out;
  }

  Bytes operator()(const Ipv6Fragment& layer) const {
    Bytes out;
    out.push_back(layer.next_header.value_or(protocol_of(next)));
    out.push_back(0);
    put16(out, static_cast<std::uint16_t>(layer.offset | (layer.more ? 1 : 0)));
    put32(out, layer.id);
    put(out, inner);
    return out;
  }

  Bytes operator()(const Tcp& layer) const {
    const Bytes options = padded(layer.options, 4);
    Bytes out;
    put16(out, layer.source_port);
    put16(out, layer.destination_port);
    put32(out, layer.sequence);
    put32(out, layer.acknowledgment);
    out.push_back(static_cast<std::uint8_t>(
        layer.header_words.value_or(static_cast<std::uint8_t>((20 + options.size()) / 4)) << 4));
    out.push_back(layer.flags);
    put16(out, layer.window);
    put16(out, 0);
    put16(out, layer.urgent);
    put(out, options);
    put(out, inner);
    set16(out, 16, layer.checksum.value_or(transport_checksum(out, IPPROTO_TCP)));
    return out;
  }

  Bytes operator()(const Udp& layer) const {
    Bytes out;
    put16(out, layer.source_port);
    put16(out, layer.destination_port);
    put16(out, layer.length.value_or(static_cast<std::uint16_t>(8 + inner.size())));
    put16(out, 0);
    put(out, inner);
    const std::uint16_t computed = transport_checksum(out, IPPROTO_UDP);
    set16(out, 6, layer.checksum.value_or(computed == 0 ? 0xffff : computed));  // RFC 768: 0 means "none"
    return out;
  }

  Bytes operator()(const Icmp& layer) const {
    Bytes out{layer.type, layer.code, 0, 0};
    put32(out, layer.rest);
    put(out, inner);
    set16(out, 2, layer.checksum.value_or(internet_checksum(out)));
    return out;
  }

  Bytes operator()(const Icmp6& layer) const {
    Bytes out{layer.type, layer.code, 0, 0};
    put32(out, layer.rest);
    put(out, inner);
    set16(out, 2, layer.checksum.value_or(transport_checksum(out, IPPROTO_ICMPV6)));
    return out;
  }

  Bytes operator()(const Payload& layer) const {
    Bytes out = layer.bytes;
    put(out, inner);
    return out;
  }

 private:
  [[nodiscard]] std::uint16_t transport_checksum(const Bytes& segment, std::uint8_t protocol) const {
    return finish_checksum(sum_words(segment, pseudo_header_sum(ends.source, ends.destination, protocol,
                                                                static_cast<std::uint32_t>(segment.size()))));
  }
};

Ends enclosing(const std::vector<Layer>& layers, std::size_t before) {
  for (std::size_t i = before; i-- > 0;) {
    if (const auto* v4 = std::get_if<Ipv4>(&layers[i])) return {v4->source.abi(), v4->destination.abi()};
    if (const auto* v6 = std::get_if<Ipv6>(&layers[i])) return {v6->source.abi(), v6->destination.abi()};
  }
  return {};
}

Bytes write(const std::vector<Layer>& layers, std::size_t from) {
  Bytes bytes;
  for (std::size_t i = layers.size(); i-- > from;) {
    const Layer* next = i + 1 < layers.size() ? &layers[i + 1] : nullptr;
    bytes = std::visit(Writer{next, bytes, enclosing(layers, i)}, layers[i]);
  }
  return bytes;
}

}  // namespace

MacAddress::MacAddress(std::string_view text) {
  unsigned part[6];
  char end = 0;
  const std::string copy(text);
  if (std::sscanf(copy.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &part[0], &part[1], &part[2], &part[3], &part[4],
                  &part[5], &end) != 6) {
    throw std::invalid_argument("not a MAC address: " + copy);
  }
  for (std::size_t i = 0; i < 6; i++) bytes[i] = static_cast<std::uint8_t>(part[i]);
}

std::string MacAddress::text() const {
  char out[18];
  std::snprintf(out, sizeof out, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                bytes[5]);
  return out;
}

IpAddress::IpAddress(std::string_view text) {
  const std::string copy(text);
  if (inet_pton(AF_INET6, copy.c_str(), bytes.data()) == 1) return;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
  if (inet_pton(AF_INET, copy.c_str(), bytes.data() + 12) != 1)
    throw std::invalid_argument("not an address: " + copy);
}

IpAddress::IpAddress(const lb_addr& address) {
  std::memcpy(bytes.data(), &address, bytes.size());
}

bool IpAddress::is_ipv4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
}

lb_addr IpAddress::abi() const {
  lb_addr out{};
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

std::string IpAddress::text() const {
  char out[INET6_ADDRSTRLEN];
  return is_ipv4() ? inet_ntop(AF_INET, bytes.data() + 12, out, sizeof out)
                   : inet_ntop(AF_INET6, bytes.data(), out, sizeof out);
}

MacAddress multicast_mac(const IpAddress& group) {
  MacAddress mac;
  mac.bytes = {0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]};
  return mac;
}

IpAddress solicited_node(const IpAddress& address) {
  IpAddress group("ff02::1:ff00:0");
  std::copy(address.bytes.begin() + 13, address.bytes.end(), group.bytes.begin() + 13);
  return group;
}

Payload Payload::of_size(std::size_t count, std::uint8_t seed) {
  Payload payload;
  payload.bytes.reserve(count);
  for (std::size_t i = 0; i < count; i++) {
    // 251 is the largest prime below 256: the pattern repeats at no power of two.
    payload.bytes.push_back(static_cast<std::uint8_t>((i + seed) % 251));
  }
  return payload;
}

Bytes Packet::bytes() const {
  return write(layers_, 0);
}

Bytes link_layer_option(std::uint8_t kind, const MacAddress& mac) {
  Bytes out{kind, 1};
  put(out, mac);
  return out;
}

namespace {

Packet neighbor_message(std::uint8_t type, std::uint32_t flags, const IpAddress& target, std::uint8_t option,
                        const std::optional<MacAddress>& mac) {
  Bytes body;
  put_ipv6(body, target);
  if (mac) put(body, link_layer_option(option, *mac));
  return Icmp6{.type = type, .rest = flags} / Payload(body);
}

}  // namespace

Packet neighbor_solicitation(const IpAddress& target, std::optional<MacAddress> source_link) {
  return neighbor_message(135, 0, target, 1, source_link);
}

Packet neighbor_advertisement(const IpAddress& target, std::uint32_t flags, std::optional<MacAddress> target_link) {
  return neighbor_message(136, flags, target, 2, target_link);
}

std::vector<Packet> fragments(const Packet& whole, std::size_t size) {
  if (size == 0 || size % 8 != 0) throw std::invalid_argument("fragments carry a multiple of 8 bytes");
  const std::vector<Layer>& layers = whole.layers();
  const auto found = std::find_if(layers.begin(), layers.end(), [](const Layer& layer) {
    return std::holds_alternative<Ipv4>(layer) || std::holds_alternative<Ipv6>(layer);
  });
  if (found == layers.end()) throw std::invalid_argument("fragments: there is no IP layer");
  const std::size_t at = static_cast<std::size_t>(found - layers.begin());
  const Layer* next = at + 1 < layers.size() ? &layers[at + 1] : nullptr;
  const Bytes content = write(layers, at + 1);

  std::vector<Packet> pieces;
  for (std::size_t offset = 0; offset < content.size(); offset += size) {
    const std::size_t end = std::min(content.size(), offset + size);
    const bool more = end < content.size();
    Packet piece;
    for (std::size_t i = 0; i < at; i++) piece.layers().push_back(layers[i]);
    if (const auto* v4 = std::get_if<Ipv4>(&layers[at])) {
      Ipv4 header = *v4;
      header.protocol = v4->protocol.value_or(protocol_of(next));
      header.dont_fragment = false;
      header.more_fragments = more;
      header.fragment_offset = static_cast<std::uint16_t>(offset);
      piece.layers().push_back(header);
    } else {
      piece.layers().push_back(std::get<Ipv6>(layers[at]));
      piece.layers().push_back(
          Ipv6Fragment{.offset = static_cast<std::uint16_t>(offset), .more = more, .next_header = protocol_of(next)});
    }
    piece.layers().push_back(Payload(Bytes(content.begin() + static_cast<std::ptrdiff_t>(offset),
                                           content.begin() + static_cast<std::ptrdiff_t>(end))));
    pieces.push_back(piece);
  }
  return pieces;
}

}  // namespace xlb::packet
