// SPDX-License-Identifier: Apache-2.0
#include "loader/netlink_socket.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace xlb {
namespace {

// Dumps come in parts of at most 32 KiB since kernel 4.x; a smaller buffer costs more calls, not data.
constexpr std::size_t kBuffer = 32768;

std::string words_of_the_kernel(const nlmsghdr& message, const nlmsgerr& error) {
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  std::size_t skip = sizeof(nlmsgerr);
  if ((message.nlmsg_flags & NLM_F_CAPPED) == 0) skip += error.msg.nlmsg_len - sizeof(nlmsghdr);
  const auto found = attributes<NLMSGERR_ATTR_MSG + 1>(message, skip);
  return read_text(found[NLMSGERR_ATTR_MSG]);
}

}  // namespace

Result<NetlinkSocket> NetlinkSocket::open(unsigned groups) {
  NetlinkSocket made;
  made.file_ = File(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (groups != 0 ? SOCK_NONBLOCK : 0), NETLINK_ROUTE));
  if (!made.file_) return system_error("open a netlink socket");
  const int on = 1;
  // Both are refinements: without them errors are numbers only, and a filter is ignored.
  (void)setsockopt(made.fd(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)setsockopt(made.fd(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  own.nl_groups = groups;
  if (bind(made.fd(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0)
    return system_error("bind a netlink socket");
  return made;
}

Result<std::optional<NetlinkRefusal>> NetlinkSocket::ask(NetlinkMessage& message, const Take& take) {
  nlmsghdr* request = message.get();
  const bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  if (!dump) request->nlmsg_flags |= NLM_F_ACK;
  request->nlmsg_seq = ++sequence_;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(fd(), request, request->nlmsg_len, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0)
    return system_error("ask netlink");
  std::vector<char> buffer(kBuffer);
  bool ended = false;
  std::optional<NetlinkRefusal> refusal;
  while (!ended) {
    const ssize_t got = recv(fd(), buffer.data(), buffer.size(), MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read from netlink");
    if (static_cast<std::size_t>(got) > buffer.size()) return system_error("read from netlink", EMSGSIZE);
    each_message({buffer.data(), static_cast<std::size_t>(got)}, [&](const nlmsghdr& answer) {
      if (answer.nlmsg_seq != sequence_) return true;
      if (answer.nlmsg_type == NLMSG_ERROR) {
        const auto& error = header_of<nlmsgerr>(answer);
        if (error.error != 0) {
          const int number = -error.error;
          const std::string words = words_of_the_kernel(answer, error);
          refusal = NetlinkRefusal{
              number, std::string(std::strerror(number)) + (words.empty() ? "" : " (the kernel says: " + words + ")")};
        }
        ended = true;
      } else if (answer.nlmsg_type == NLMSG_DONE) {
        ended = true;
      } else if (answer.nlmsg_type >= NLMSG_MIN_TYPE && take) {
        take(answer);
      }
      return !ended;
    });
  }
  return refusal;
}

Result<void> NetlinkSocket::must(NetlinkMessage& message, const Take& take) {
  auto refused = ask(message, take);
  if (!refused) return refused.error();
  if (*refused) return Error{(*refused)->text};
  return {};
}

void NetlinkSocket::hear(const Take& take, const std::function<void()>& lost) {
  std::vector<char> buffer(kBuffer);
  for (;;) {
    const ssize_t got = recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 && !(got < 0 && errno == ENOBUFS)) return;
    if (got < 0 || static_cast<std::size_t>(got) > buffer.size()) {
      lost();
      continue;
    }
    each_message({buffer.data(), static_cast<std::size_t>(got)}, [&](const nlmsghdr& message) {
      take(message);
      return true;
    });
  }
}

}  // namespace xlb
