// SPDX-License-Identifier: Apache-2.0
// One rtnetlink socket: dumps, single answers and acknowledged commands. The kernel's own words for an error
// (extended acknowledgement) become part of the sentence.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "userspace/core/result.hpp"

namespace xlb {

// One message under construction. 4 KiB hold every request of this room.
class NetlinkMessage {
 public:
  NetlinkMessage(std::uint16_t type, std::uint16_t flags);
  template <typename Header>
  Header* header() {
    return static_cast<Header*>(mnl_nlmsg_put_extra_header(message_, sizeof(Header)));
  }
  nlmsghdr* get() { return message_; }

 private:
  alignas(nlmsghdr) std::array<char, 4096> buffer_{};
  nlmsghdr* message_;
};

struct NetlinkRefusal {
  int number = 0;  // errno
  std::string text;
};

class NetlinkSocket {
 public:
  // groups: bits of RTMGRP_…; 0: requests only.
  static Result<NetlinkSocket> open(unsigned groups = 0);

  using Take = std::function<void(const nlmsghdr&)>;
  // Sends and hands over every answer until the dump is done or the command acknowledged. A refusal by the kernel is
  // a value of its own: many callers expect ENOENT, EEXIST or ENODEV.
  Result<std::optional<NetlinkRefusal>> ask(NetlinkMessage& message, const Take& take = {});
  // The same for callers to whom every refusal is an error.
  Result<void> must(NetlinkMessage& message, const Take& take = {});

  [[nodiscard]] int fd() const { return mnl_socket_get_fd(socket_.get()); }

 private:
  struct Close {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  std::unique_ptr<mnl_socket, Close> socket_;
  std::uint32_t sequence_ = 1;
};

// Attributes of a message by number; absent ones are null. `header`: size of the fixed part.
template <std::size_t Size>
std::array<const nlattr*, Size> attributes(const nlmsghdr& message, std::size_t header) {
  std::array<const nlattr*, Size> found{};
  mnl_attr_parse(
      &message, static_cast<unsigned>(header),
      [](const nlattr* attribute, void* into) {
        const std::uint16_t type = mnl_attr_get_type(attribute);
        if (type < Size) (*static_cast<std::array<const nlattr*, Size>*>(into))[type] = attribute;
        return MNL_CB_OK;
      },
      &found);
  return found;
}
template <std::size_t Size>
std::array<const nlattr*, Size> nested_attributes(const nlattr& nest) {
  std::array<const nlattr*, Size> found{};
  mnl_attr_parse_nested(
      &nest,
      [](const nlattr* attribute, void* into) {
        const std::uint16_t type = mnl_attr_get_type(attribute);
        if (type < Size) (*static_cast<std::array<const nlattr*, Size>*>(into))[type] = attribute;
        return MNL_CB_OK;
      },
      &found);
  return found;
}

}  // namespace xlb
