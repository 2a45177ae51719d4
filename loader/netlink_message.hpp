// SPDX-License-Identifier: Apache-2.0
// Netlink messages as bytes: a header, a fixed part, attributes (linux/netlink.h); each part begins at a multiple of 4.
#pragma once

#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace xlb {

constexpr std::size_t netlink_aligned(std::size_t size) {
  return (size + NLMSG_ALIGNTO - 1) & ~std::size_t{NLMSG_ALIGNTO - 1};
}

// ---- writing ------------------------------------------------------------------------------------------------------

// One message under construction. 4 KiB hold every request of this room.
class NetlinkMessage {
 public:
  NetlinkMessage(std::uint16_t type, std::uint16_t flags);

  // The fixed part, zeroed; comes before the attributes.
  template <typename Header>
  Header* header() {
    return reinterpret_cast<Header*>(grow(sizeof(Header)));
  }
  void put(std::uint16_t type, const void* bytes, std::size_t size);
  void put_u32(std::uint16_t type, std::uint32_t value) { put(type, &value, sizeof value); }
  void put_text(std::uint16_t type, const std::string& text) { put(type, text.c_str(), text.size() + 1); }
  // What is put until end_nest() lies inside the attribute.
  nlattr* begin_nest(std::uint16_t type);
  void end_nest(nlattr* nest);

  nlmsghdr* get() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }

 private:
  // Room at the end; what does not fit is a mistake in this program, and ends it.
  char* grow(std::size_t size);

  alignas(nlmsghdr) std::array<char, 4096> buffer_{};
};

// ---- reading ------------------------------------------------------------------------------------------------------

template <typename Header>
const Header& header_of(const nlmsghdr& message) {
  return *reinterpret_cast<const Header*>(reinterpret_cast<const char*>(&message) + NLMSG_HDRLEN);
}

inline std::span<const std::uint8_t> payload(const nlattr& attribute) {
  return {reinterpret_cast<const std::uint8_t*>(&attribute) + NLA_HDRLEN,
          static_cast<std::size_t>(attribute.nla_len - NLA_HDRLEN)};
}

// 0 when the attribute is absent or shorter.
template <typename Number>
Number read_number(const nlattr* attribute) {
  Number number = 0;
  if (attribute == nullptr || payload(*attribute).size() < sizeof number) return 0;
  std::memcpy(&number, payload(*attribute).data(), sizeof number);
  return number;
}
inline std::uint16_t read_u16(const nlattr* attribute) { return read_number<std::uint16_t>(attribute); }
inline std::uint32_t read_u32(const nlattr* attribute) { return read_number<std::uint32_t>(attribute); }
// Up to the terminating zero; empty when absent.
std::string read_text(const nlattr* attribute);

// Attributes by number, those of the numbers below Size; absent ones are null.
template <std::size_t Size>
std::array<const nlattr*, Size> attributes_in(std::span<const std::uint8_t> bytes) {
  std::array<const nlattr*, Size> found{};
  while (bytes.size() >= NLA_HDRLEN) {
    const auto* attribute = reinterpret_cast<const nlattr*>(bytes.data());
    if (attribute->nla_len < NLA_HDRLEN || attribute->nla_len > bytes.size()) break;
    const std::size_t type = attribute->nla_type & NLA_TYPE_MASK;
    if (type < Size) found[type] = attribute;
    if (netlink_aligned(attribute->nla_len) >= bytes.size()) break;
    bytes = bytes.subspan(netlink_aligned(attribute->nla_len));
  }
  return found;
}
// Of a message whose fixed part is so long.
template <std::size_t Size>
std::array<const nlattr*, Size> attributes(const nlmsghdr& message, std::size_t header) {
  const std::span whole(reinterpret_cast<const std::uint8_t*>(&message), message.nlmsg_len);
  const std::size_t begin = NLMSG_HDRLEN + netlink_aligned(header);
  return begin >= whole.size() ? std::array<const nlattr*, Size>{} : attributes_in<Size>(whole.subspan(begin));
}
template <std::size_t Size>
std::array<const nlattr*, Size> nested_attributes(const nlattr& nest) {
  return attributes_in<Size>(payload(nest));
}

// The messages of what was received, while visit(message) is true.
template <typename Visit>
void each_message(std::span<const char> received, const Visit& visit) {
  while (received.size() >= NLMSG_HDRLEN) {
    const auto* message = reinterpret_cast<const nlmsghdr*>(received.data());
    if (message->nlmsg_len < NLMSG_HDRLEN || message->nlmsg_len > received.size() || !visit(*message)) break;
    if (netlink_aligned(message->nlmsg_len) >= received.size()) break;
    received = received.subspan(netlink_aligned(message->nlmsg_len));
  }
}

}  // namespace xlb
