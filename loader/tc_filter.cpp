// SPDX-License-Identifier: Apache-2.0
#include "loader/tc_filter.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <optional>

namespace xlb {
namespace {

constexpr std::uint32_t kQdiscHandle = TC_H_CLSACT & TC_H_MAJ_MASK;

std::uint32_t parent_of(Side side) {
  return TC_H_MAKE(TC_H_CLSACT, side == Side::ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

tcmsg* put_header(NetlinkMessage& message, std::uint32_t ifindex, std::uint32_t parent, std::uint32_t handle) {
  auto* header = message.header<tcmsg>();
  header->tcm_ifindex = static_cast<int>(ifindex);
  header->tcm_parent = parent;
  header->tcm_handle = handle;
  return header;
}

void put_place(tcmsg& header) {
  header.tcm_info = TC_H_MAKE(kTcPriority << 16, htons(ETH_P_ALL));
}

bool gone(const NetlinkRefusal& refusal) {
  // ENODEV: no interface; EINVAL: no such qdisc, or one without classes; ENOENT: no such filter.
  return refusal.number == ENODEV || refusal.number == EINVAL || refusal.number == ENOENT;
}

std::optional<TcFilter> filter_row(const nlmsghdr& message) {
  const auto& header = header_of<tcmsg>(message);
  const auto found = attributes<TCA_OPTIONS + 1>(message, sizeof header);
  // A row with handle 0 stands for the priority itself, not for a filter.
  if (header.tcm_handle == 0 || found[TCA_KIND] == nullptr) return std::nullopt;
  TcFilter filter;
  filter.priority = header.tcm_info >> 16;
  filter.handle = header.tcm_handle;
  filter.kind = read_text(found[TCA_KIND]);
  if (filter.kind == "bpf" && found[TCA_OPTIONS] != nullptr) {
    const auto options = nested_attributes<TCA_BPF_ID + 1>(*found[TCA_OPTIONS]);
    if (options[TCA_BPF_NAME] != nullptr) filter.name = read_text(options[TCA_BPF_NAME]);
    if (options[TCA_BPF_ID] != nullptr) filter.program_id = read_u32(options[TCA_BPF_ID]);
  }
  return filter;
}

}  // namespace

const char* side_text(Side side) {
  return side == Side::ingress ? "ingress" : "egress";
}

Result<std::string> filter_qdisc(NetlinkSocket& socket, std::uint32_t ifindex) {
  NetlinkMessage request(RTM_GETQDISC, NLM_F_DUMP);
  put_header(request, ifindex, 0, 0);
  std::string kind;
  auto listed = socket.must(request, [&](const nlmsghdr& message) {
    const auto& header = header_of<tcmsg>(message);
    const auto found = attributes<TCA_KIND + 1>(message, sizeof header);
    if (header.tcm_ifindex != static_cast<int>(ifindex) || header.tcm_parent != TC_H_CLSACT) return;
    if (found[TCA_KIND] != nullptr) kind = read_text(found[TCA_KIND]);
  });
  if (!listed) return listed.error().in("list qdiscs");
  return kind;
}

Result<bool> make_clsact(NetlinkSocket& socket, std::uint32_t ifindex) {
  NetlinkMessage request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
  put_header(request, ifindex, TC_H_CLSACT, kQdiscHandle);
  request.put_text(TCA_KIND, "clsact");
  auto refused = socket.ask(request);
  if (!refused) return refused.error();
  if (!*refused) return true;
  if ((*refused)->number == EEXIST) return false;
  const bool lacking = (*refused)->number == ENOENT || (*refused)->number == EOPNOTSUPP;
  return Error{"make the clsact qdisc: " + (*refused)->text +
               (lacking ? " (is CONFIG_NET_SCH_INGRESS in this kernel?)" : "")};
}

Result<void> remove_clsact(NetlinkSocket& socket, std::uint32_t ifindex) {
  NetlinkMessage request(RTM_DELQDISC, 0);
  put_header(request, ifindex, TC_H_CLSACT, kQdiscHandle);
  auto refused = socket.ask(request);
  if (!refused) return refused.error();
  if (*refused && !gone(**refused)) return Error{"remove the clsact qdisc: " + (*refused)->text};
  return {};
}

Result<std::vector<TcFilter>> list_filters(NetlinkSocket& socket, std::uint32_t ifindex, Side side) {
  NetlinkMessage request(RTM_GETTFILTER, NLM_F_DUMP);
  put_header(request, ifindex, parent_of(side), 0);
  std::vector<TcFilter> filters;
  auto refused = socket.ask(request, [&](const nlmsghdr& message) {
    if (auto filter = filter_row(message)) filters.push_back(std::move(*filter));
  });
  if (!refused) return refused.error().in("list tc filters");
  if (*refused && !gone(**refused)) return Error{"list tc filters: " + (*refused)->text};
  return filters;
}

Result<void> put_filter(NetlinkSocket& socket, std::uint32_t ifindex, Side side, int program,
                        const std::string& name) {
  // Without NLM_F_EXCL an existing filter of this place gets the new program in one step.
  NetlinkMessage request(RTM_NEWTFILTER, NLM_F_CREATE);
  put_place(*put_header(request, ifindex, parent_of(side), kTcHandle));
  request.put_text(TCA_KIND, "bpf");
  nlattr* options = request.begin_nest(TCA_OPTIONS);
  request.put_u32(TCA_BPF_FD, static_cast<std::uint32_t>(program));
  request.put_text(TCA_BPF_NAME, name);
  request.put_u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  request.end_nest(options);
  if (auto done = socket.must(request); !done) {
    return done.error().in(std::string("put ") + name + " at tc " + side_text(side));
  }
  return {};
}

Result<void> remove_filter(NetlinkSocket& socket, std::uint32_t ifindex, Side side) {
  NetlinkMessage request(RTM_DELTFILTER, 0);
  put_place(*put_header(request, ifindex, parent_of(side), kTcHandle));
  request.put_text(TCA_KIND, "bpf");
  auto refused = socket.ask(request);
  if (!refused) return refused.error();
  if (*refused && !gone(**refused)) {
    return Error{std::string("remove the filter at tc ") + side_text(side) + ": " + (*refused)->text};
  }
  return {};
}

}  // namespace xlb
