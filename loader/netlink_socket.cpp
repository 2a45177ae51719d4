// SPDX-License-Identifier: Apache-2.0
#include "loader/netlink_socket.hpp"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <vector>

#include "loader/file.hpp"

namespace xlb {
namespace {

// Dumps come in parts of at most 32 KiB since kernel 4.x; a smaller buffer costs more calls, not data.
constexpr std::size_t kBuffer = 32768;

std::string words_of_the_kernel(const nlmsghdr& message, const nlmsgerr& error) {
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  std::size_t skip = sizeof(nlmsgerr);
  if ((message.nlmsg_flags & NLM_F_CAPPED) == 0) skip += error.msg.nlmsg_len - sizeof(nlmsghdr);
  const auto found = attributes<NLMSGERR_ATTR_MSG + 1>(message, skip);
  const nlattr* text = found[NLMSGERR_ATTR_MSG];
  return text == nullptr ? std::string() : mnl_attr_get_str(text);
}

}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags)
    : message_(mnl_nlmsg_put_header(buffer_.data())) {
  message_->nlmsg_type = type;
  message_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

Result<NetlinkSocket> NetlinkSocket::open(unsigned groups) {
  NetlinkSocket made;
  made.socket_.reset(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | (groups != 0 ? SOCK_NONBLOCK : 0)));
  if (!made.socket_) return system_error("open a netlink socket");
  const int on = 1;
  // Both are refinements: without them errors are numbers only, and a filter is ignored.
  (void)mnl_socket_setsockopt(made.socket_.get(), NETLINK_EXT_ACK, const_cast<int*>(&on), sizeof on);
  (void)mnl_socket_setsockopt(made.socket_.get(), NETLINK_GET_STRICT_CHK, const_cast<int*>(&on), sizeof on);
  if (mnl_socket_bind(made.socket_.get(), groups, MNL_SOCKET_AUTOPID) != 0)
    return system_error("bind a netlink socket");
  return made;
}

Result<std::optional<NetlinkRefusal>> NetlinkSocket::ask(NetlinkMessage& message, const Take& take) {
  nlmsghdr* request = message.get();
  const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  if (!dump) request->nlmsg_flags |= NLM_F_ACK;
  request->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) return system_error("ask netlink");
  std::vector<char> buffer(kBuffer);
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read from netlink");
    int left = static_cast<int>(got);
    for (const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(answer, left);
         answer = mnl_nlmsg_next(answer, &left)) {
      if (answer->nlmsg_seq != sequence_) continue;
      if (answer->nlmsg_type == NLMSG_ERROR) {
        const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(answer));
        if (error->error == 0) return std::optional<NetlinkRefusal>();
        const int number = -error->error;
        const std::string words = words_of_the_kernel(*answer, *error);
        return std::optional(NetlinkRefusal{
            number, std::string(std::strerror(number)) + (words.empty() ? "" : " (the kernel says: " + words + ")")});
      }
      if (answer->nlmsg_type == NLMSG_DONE) return std::optional<NetlinkRefusal>();
      if (answer->nlmsg_type >= NLMSG_MIN_TYPE && take) take(*answer);
    }
  }
}

Result<void> NetlinkSocket::must(NetlinkMessage& message, const Take& take) {
  auto refused = ask(message, take);
  if (!refused) return refused.error();
  if (*refused) return Error{(*refused)->text};
  return {};
}

}  // namespace xlb
