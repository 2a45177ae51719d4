// SPDX-License-Identifier: Apache-2.0
#include "tests/support/decode.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "tests/support/checksum.hpp"

namespace xlb::packet {
namespace {

std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char* pattern, ...) {
  char out[512];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(out, sizeof out, pattern, arguments);
  va_end(arguments);
  return out;
}

using View = std::span<const std::uint8_t>;

std::uint16_t get16(View bytes, std::size_t at) {
  return static_cast<std::uint16_t>((bytes[at] << 8) | bytes[at + 1]);
}

std::uint32_t get32(View bytes, std::size_t at) {
  return (static_cast<std::uint32_t>(get16(bytes, at)) << 16) | get16(bytes, at + 2);
}

IpAddress address4(View bytes, std::size_t at) {
  IpAddress out("0.0.0.0");
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 4, out.bytes.begin() + 12);
  return out;
}

IpAddress address6(View bytes, std::size_t at) {
  IpAddress out;
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 16, out.bytes.begin());
  return out;
}

MacAddress mac_at(View bytes, std::size_t at) {
  MacAddress out;
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 6, out.bytes.begin());
  return out;
}

Bytes copy(View bytes) {
  return Bytes(bytes.begin(), bytes.end());
}

void decode_arp(Decoded& out, View body) {
  if (body.size() < 28) {
    out.faults.push_back(format("ARP cut at %zu bytes", body.size()));
    return;
  }
  out.arp = Arp{.operation = get16(body, 6),
                .sender_mac = mac_at(body, 8),
                .sender = address4(body, 14),
                .target_mac = mac_at(body, 18),
                .target = address4(body, 24),
                .hardware = get16(body, 0),
                .protocol = get16(body, 2),
                .hardware_length = body[4],
                .protocol_length = body[5]};
  out.trailer = body.size() - 28;
}

// `whole`: nothing of the segment is missing, so that its checksum can be verified.
void verify(Decoded& out, View segment, bool whole, const char* name) {
  if (!whole) return;
  const bool pseudo = out.protocol != IPPROTO_ICMP;
  const std::uint64_t start = pseudo ? pseudo_header_sum(out.source.abi(), out.destination.abi(), out.protocol,
                                                         static_cast<std::uint32_t>(segment.size()))
                                     : 0;
  if (finish_checksum(sum_words(segment, start)) != 0) {
    // What it should be: the sum without the field itself.
    const std::uint16_t right = finish_checksum(sum_words(segment, start) + (~out.checksum & 0xffffu));
    out.faults.push_back(format("%s checksum is %04x, should be %04x", name, out.checksum, right));
  }
}

bool is_error(const Decoded& out) {
  if (out.ipv4) {
    return out.icmp_type == 3 || out.icmp_type == 4 || out.icmp_type == 5 || out.icmp_type == 11 ||
           out.icmp_type == 12;
  }
  return out.icmp_type < 128;
}

void decode_transport(Decoded& out, View body, bool cut, bool whole) {
  switch (out.protocol) {
    case IPPROTO_TCP: {
      if (body.size() < 20) {
        if (body.size() >= 4) {
          out.source_port = get16(body, 0);
          out.destination_port = get16(body, 2);
        }
        if (body.size() >= 8) out.sequence = get32(body, 4);
        if (!cut) out.faults.push_back(format("TCP header cut at %zu bytes", body.size()));
        out.payload = copy(body);
        return;
      }
      out.tcp = true;
      out.source_port = get16(body, 0);
      out.destination_port = get16(body, 2);
      out.sequence = get32(body, 4);
      out.acknowledgment = get32(body, 8);
      out.tcp_flags = body[13];
      out.window = get16(body, 14);
      out.checksum = get16(body, 16);
      const std::size_t header = static_cast<std::size_t>(body[12] >> 4) * 4;
      if (header < 20 || (header > body.size() && !cut)) {
        out.faults.push_back(format("TCP header length %zu of %zu bytes", header, body.size()));
        return;
      }
      verify(out, body, whole, "TCP");
      out.payload = copy(body.subspan(std::min(header, body.size())));
      return;
    }
    case IPPROTO_UDP: {
      if (body.size() < 8) {
        if (body.size() >= 4) {
          out.source_port = get16(body, 0);
          out.destination_port = get16(body, 2);
        }
        if (!cut) out.faults.push_back(format("UDP header cut at %zu bytes", body.size()));
        return;
      }
      out.udp = true;
      out.source_port = get16(body, 0);
      out.destination_port = get16(body, 2);
      out.checksum = get16(body, 6);
      const std::size_t length = get16(body, 4);
      if (whole && length != body.size()) {
        out.faults.push_back(format("UDP length %zu of %zu bytes", length, body.size()));
      }
      if (out.checksum != 0) {
        verify(out, body, whole && length == body.size(), "UDP");
      } else if (!out.ipv4 && !cut) {
        out.faults.push_back("UDP over IPv6 without checksum");
      }
      out.payload = copy(body.subspan(8));
      return;
    }
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6: {
      if ((out.protocol == IPPROTO_ICMP) != out.ipv4) {
        out.payload = copy(body);
        return;
      }
      if (body.size() < 8) {
        if (!cut) out.faults.push_back(format("ICMP header cut at %zu bytes", body.size()));
        return;
      }
      out.icmp = true;
      out.icmp_type = body[0];
      out.icmp_code = body[1];
      out.checksum = get16(body, 2);
      out.icmp_rest = get32(body, 4);
      verify(out, body, whole, "ICMP");
      out.payload = copy(body.subspan(8));
      if (is_error(out) && !cut) {
        out.inner = std::make_shared<Decoded>(decode_ip(out.payload, true));
      }
      return;
    }
    default:
      out.payload = copy(body);
  }
}

void decode_ipv4(Decoded& out, View packet, bool cut) {
  const std::size_t header = static_cast<std::size_t>(packet[0] & 0xf) * 4;
  if (header < 20 || packet.size() < header) {
    out.faults.push_back(format("IPv4 header of %zu in %zu bytes", header, packet.size()));
    return;
  }
  out.ipv4 = true;
  out.traffic_class = packet[1];
  out.ip_length = get16(packet, 2);
  out.ip_id = get16(packet, 4);
  const std::uint16_t flags = get16(packet, 6);
  out.dont_fragment = (flags & 0x4000) != 0;
  out.more_fragments = (flags & 0x2000) != 0;
  out.fragment_offset = static_cast<std::uint16_t>((flags & 0x1fff) * 8);
  out.fragment = out.more_fragments || out.fragment_offset != 0;
  out.hop_limit = packet[8];
  out.protocol = packet[9];
  out.source = address4(packet, 12);
  out.destination = address4(packet, 16);
  if (internet_checksum(packet.first(header)) != 0) {
    const std::uint16_t found = get16(packet, 10);
    const std::uint16_t right = finish_checksum(sum_words(packet.first(header)) + (~found & 0xffffu));
    out.faults.push_back(format("IPv4 checksum is %04x, should be %04x", found, right));
  }
  if (out.ip_length < header || (out.ip_length > packet.size() && !cut)) {
    out.faults.push_back(format("IPv4 total length %zu of %zu bytes", out.ip_length, packet.size()));
    return;
  }
  const bool complete = out.ip_length <= packet.size();
  if (complete) out.trailer = packet.size() - out.ip_length;
  const View body = packet.first(std::min(out.ip_length, packet.size())).subspan(header);
  if (out.fragment_offset != 0) {
    out.payload = copy(body);
    return;
  }
  decode_transport(out, body, cut || out.fragment, complete && !out.fragment);
}

void decode_ipv6(Decoded& out, View packet, bool cut) {
  if (packet.size() < 40) {
    out.faults.push_back(format("IPv6 header cut at %zu bytes", packet.size()));
    return;
  }
  out.traffic_class = static_cast<std::uint8_t>((get16(packet, 0) >> 4) & 0xff);
  out.ip_length = 40u + get16(packet, 4);
  out.hop_limit = packet[7];
  out.source = address6(packet, 8);
  out.destination = address6(packet, 24);
  if (out.ip_length > packet.size() && !cut) {
    out.faults.push_back(format("IPv6 length %zu of %zu bytes", out.ip_length, packet.size()));
    return;
  }
  const bool complete = out.ip_length <= packet.size();
  if (complete) out.trailer = packet.size() - out.ip_length;
  View body = packet.first(std::min(out.ip_length, packet.size())).subspan(40);
  std::uint8_t next = packet[6];
  while (next == 0 || next == 43 || next == 44 || next == 60) {
    if (body.size() < 8) {
      if (!cut) out.faults.push_back(format("IPv6 extension header %u cut", next));
      return;
    }
    const std::uint8_t kind = next;
    const std::size_t length = kind == 44 ? 8 : (static_cast<std::size_t>(body[1]) + 1) * 8;
    next = body[0];
    if (kind == 44) {
      out.fragment_offset = get16(body, 2) & 0xfff8;
      out.more_fragments = (body[3] & 1) != 0;
      out.fragment = true;
      out.ip_id = get32(body, 4);
    }
    if (body.size() < length) {
      if (!cut) out.faults.push_back(format("IPv6 extension header %u cut", kind));
      return;
    }
    body = body.subspan(length);
    if (kind == 44 && out.fragment_offset != 0) break;
  }
  out.protocol = next;
  if (out.fragment_offset != 0) {
    out.payload = copy(body);
    return;
  }
  const bool pieces = out.fragment && out.more_fragments;
  decode_transport(out, body, cut || pieces, complete && !pieces);
}

std::string flag_text(std::uint8_t flags) {
  std::string out;
  const char* names[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
  for (unsigned bit = 0; bit < 8; bit++) {
    if (flags & (1u << bit)) out += (out.empty() ? "" : "|") + std::string(names[bit]);
  }
  return out.empty() ? "no flags" : out;
}

}  // namespace

Decoded decode_ip(View packet, bool cut) {
  Decoded out;
  if (packet.empty()) {
    out.faults.push_back("no IP header");
    return out;
  }
  out.ip = true;
  if (packet[0] >> 4 == 4 && packet.size() >= 20) {
    decode_ipv4(out, packet, cut);
  } else if (packet[0] >> 4 == 6) {
    decode_ipv6(out, packet, cut);
  } else {
    out.faults.push_back(format("IP version %u in %zu bytes", packet[0] >> 4, packet.size()));
  }
  return out;
}

Decoded decode(View frame) {
  Decoded link;
  if (frame.size() < 14) {
    link.faults.push_back(format("frame of %zu bytes", frame.size()));
    return link;
  }
  link.destination_mac = mac_at(frame, 0);
  link.source_mac = mac_at(frame, 6);
  link.type = get16(frame, 12);
  View body = frame.subspan(14);
  while ((link.type == kTypeVlan || link.type == kTypeQinq) && body.size() >= 4) {
    link.vlans.push_back(get16(body, 0) & 0xfff);
    link.type = get16(body, 2);
    body = body.subspan(4);
  }
  if (link.type == kTypeArp) {
    decode_arp(link, body);
    return link;
  }
  if (link.type != kTypeIpv4 && link.type != kTypeIpv6) {
    link.payload = copy(body);
    return link;
  }
  Decoded out = decode_ip(body, false);
  out.destination_mac = link.destination_mac;
  out.source_mac = link.source_mac;
  out.vlans = link.vlans;
  out.type = link.type;
  if (out.ip && out.ipv4 != (link.type == kTypeIpv4)) {
    out.faults.push_back(format("Ethernet type %04x and IP version %s", link.type, out.ipv4 ? "4" : "6"));
  }
  return out;
}

std::string Decoded::text() const {
  std::string out = source_mac.text() + " > " + destination_mac.text();
  for (const std::uint16_t vlan : vlans) out += format(" vlan %u", vlan);
  if (arp) {
    out += format(" ARP op %u %s %s -> %s %s", arp->operation, arp->sender_mac.text().c_str(),
                  arp->sender.text().c_str(), arp->target_mac.text().c_str(), arp->target.text().c_str());
  } else if (ip) {
    out += format(" %s > %s ttl %u len %zu", source.text().c_str(), destination.text().c_str(), hop_limit, ip_length);
    if (fragment)
      out += format(" fragment id %x offset %u%s", ip_id, fragment_offset, more_fragments ? " more" : " last");
    if (tcp) {
      out += format(" TCP %u > %u %s seq %x ack %x win %u", source_port, destination_port,
                    flag_text(tcp_flags).c_str(), sequence, acknowledgment, window);
    } else if (udp) {
      out += format(" UDP %u > %u", source_port, destination_port);
    } else if (icmp) {
      out += format(" ICMP type %u code %u rest %x", icmp_type, icmp_code, icmp_rest);
    } else {
      out += format(" protocol %u", protocol);
    }
    out += format(" checksum %04x payload %zu", checksum, payload.size());
    if (trailer != 0) out += format(" trailer %zu", trailer);
    if (inner) out += " { " + inner->text() + " }";
  } else {
    out += format(" type %04x payload %zu", type, payload.size());
  }
  for (const std::string& fault : faults) out += " !! " + fault;
  return out;
}

namespace {

std::string hex_line(View bytes, std::size_t offset) {
  std::string out = format("%04zx ", offset);
  for (std::size_t i = offset; i < std::min(offset + 16, bytes.size()); i++) out += format(" %02x", bytes[i]);
  return out;
}

}  // namespace

std::string hex(View bytes) {
  std::string out;
  for (std::size_t offset = 0; offset < bytes.size(); offset += 16) out += hex_line(bytes, offset) + "\n";
  return out;
}

std::string difference(View expected, View got) {
  if (std::equal(expected.begin(), expected.end(), got.begin(), got.end())) return {};
  std::string out = "expected: " + decode(expected).text() + "\n     got: " + decode(got).text() + "\n";
  if (expected.size() != got.size()) out += format("length %zu, expected %zu\n", got.size(), expected.size());
  unsigned lines = 0;
  for (std::size_t offset = 0; offset < std::max(expected.size(), got.size()); offset += 16) {
    const std::string left = hex_line(expected, offset), right = hex_line(got, offset);
    if (left == right) continue;
    if (++lines > 12) {
      out += "…\n";
      break;
    }
    out += "  - " + left + "\n  + " + right + "\n";
  }
  return out;
}

}  // namespace xlb::packet
