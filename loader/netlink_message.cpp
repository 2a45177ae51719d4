// SPDX-License-Identifier: Apache-2.0
#include "loader/netlink_message.hpp"

#include <algorithm>
#include <cstdlib>

namespace xlb {

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags) {
  get()->nlmsg_len = NLMSG_HDRLEN;
  get()->nlmsg_type = type;
  get()->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

char* NetlinkMessage::grow(std::size_t size) {
  const std::size_t at = get()->nlmsg_len;
  if (netlink_aligned(size) > buffer_.size() - at) std::abort();
  get()->nlmsg_len += static_cast<std::uint32_t>(netlink_aligned(size));
  return buffer_.data() + at;
}

void NetlinkMessage::put(std::uint16_t type, const void* bytes, std::size_t size) {
  auto* attribute = reinterpret_cast<nlattr*>(grow(NLA_HDRLEN + size));
  attribute->nla_type = type;
  attribute->nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + size);
  std::memcpy(reinterpret_cast<char*>(attribute) + NLA_HDRLEN, bytes, size);
}

nlattr* NetlinkMessage::begin_nest(std::uint16_t type) {
  auto* nest = reinterpret_cast<nlattr*>(grow(NLA_HDRLEN));
  nest->nla_type = static_cast<std::uint16_t>(type | NLA_F_NESTED);
  return nest;
}

void NetlinkMessage::end_nest(nlattr* nest) {
  const char* end = buffer_.data() + get()->nlmsg_len;
  nest->nla_len = static_cast<std::uint16_t>(end - reinterpret_cast<char*>(nest));
}

std::string read_text(const nlattr* attribute) {
  if (attribute == nullptr) return {};
  const auto bytes = payload(*attribute);
  return {bytes.begin(), std::find(bytes.begin(), bytes.end(), 0)};
}

}  // namespace xlb
