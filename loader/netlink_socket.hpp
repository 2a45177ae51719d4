// SPDX-License-Identifier: Apache-2.0
// One rtnetlink socket: dumps, single answers and acknowledged commands. The kernel's own words for an error
// (extended acknowledgement) become part of the sentence.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "loader/file.hpp"
#include "loader/netlink_message.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

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

  // Of a socket with groups: all that is queued, without waiting. `lost`: some of it never came in.
  void hear(const Take& take, const std::function<void()>& lost);

  [[nodiscard]] int fd() const { return file_.get(); }

 private:
  File file_;
  std::uint32_t sequence_ = 1;
};

}  // namespace xlb
