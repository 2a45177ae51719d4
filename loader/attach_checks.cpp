// SPDX-License-Identifier: Apache-2.0
#include "loader/attach_checks.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <array>

#include "loader/pins.hpp"
#include "loader/program_facts.hpp"

namespace xlb {
namespace {

// Newer than the headers of Debian 12; numbers are ABI (6.6).
constexpr std::uint32_t kTcxIngress = 46, kTcxEgress = 47;

std::string filter_text(const TcFilter& filter) {
  if (filter.kind != "bpf") return "a " + filter.kind + " filter";
  ProgramFacts facts = program_facts(filter.program_id);
  if (facts.name.empty()) facts.name = filter.name;
  return facts.text();
}

void note_filters(const std::vector<TcFilter>& filters, Side side, std::vector<std::string>& notes) {
  for (const TcFilter& filter : filters) {
    if (filter.at_our_place()) continue;
    notes.push_back(filter_text(filter) + " runs at tc " + side_text(side) + ", priority " +
                    std::to_string(filter.priority) + ", " + (filter.priority <= kTcPriority ? "before" : "after") +
                    " ours");
  }
}

void note_tcx(std::uint32_t ifindex, std::uint32_t type, Side side, std::vector<std::string>& notes) {
  std::array<__u32, 64> ids{};
  LIBBPF_OPTS(bpf_prog_query_opts, query, .prog_ids = ids.data(), .prog_cnt = static_cast<__u32>(ids.size()));
  // A kernel without tcx says EINVAL: nobody is there.
  if (bpf_prog_query_opts(static_cast<int>(ifindex), static_cast<bpf_attach_type>(type), &query) != 0) return;
  for (std::size_t at = 0; at < query.prog_cnt && at < ids.size(); ++at) {
    notes.push_back(program_facts(ids[at]).text() + " runs at tcx " + side_text(side) + ", before ours");
  }
}

}  // namespace

Result<InterfaceFacts> lan_interface(const std::string& name,
                                     const std::map<std::uint32_t, InterfaceFacts>& interfaces) {
  for (const auto& [ifindex, facts] : interfaces) {
    if (facts.name != name) continue;
    if (facts.loopback) return Error{name + " is the loopback: attach to the interface that leads to the LAN"};
    if (facts.master != 0) {
      const bool bridge = facts.master_kind == "bridge";
      if (bridge || facts.master_kind == "bond" || facts.master_kind == "team") {
        return Error{name + " is a " + (bridge ? "port of the bridge " : "member of the " + facts.master_kind + " ") +
                     facts.master_name + ": attach to " + facts.master_name + " instead"};
      }
    }
    if (facts.kind == "vlan") {
      const auto below = interfaces.find(facts.link);
      const std::string lower = below == interfaces.end() ? "the interface below it" : below->second.name;
      return Error{name + " is a VLAN of " + lower + ": attach to " + lower + ", which serves its VLANs as well"};
    }
    if (!facts.up) return Error{name + " is down: bring it up first (ip link set " + name + " up)"};
    if (facts.mac == Mac{}) {
      return Error{name + " has no MAC address" + (facts.kind.empty() ? "" : " (it is a " + facts.kind + ")") +
                   ": VIPs need an Ethernet LAN"};
    }
    return facts;
  }
  std::string others;
  for (const auto& [ifindex, facts] : interfaces) {
    if (!facts.loopback && facts.master == 0 && facts.up && others.size() < 100) {
      others += (others.empty() ? "" : ", ") + facts.name;
    }
  }
  return Error{"there is no interface " + name + (others.empty() ? "" : " (there are: " + others + ")")};
}

Result<File> open_cgroup(const std::string& path) {
  File folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return system_error("open the control group " + path);
  struct statfs info {};
  if (fstatfs(folder.get(), &info) != 0) return system_error("look at the control group " + path);
  if (info.f_type != static_cast<decltype(info.f_type)>(CGROUP2_SUPER_MAGIC)) {
    return Error{path +
                 " is no control group of cgroup v2: name one (--cgroup), or leave local clients alone with "
                 "--cgroup none"};
  }
  return folder;
}

Result<void> check_our_place(const std::vector<TcFilter>& filters, const std::string& interface, Side side,
                             const Ours& ours) {
  for (const TcFilter& filter : filters) {
    if (!filter.at_our_place()) continue;
    ProgramFacts facts = program_facts(filter.program_id);
    const bool told = !facts.name.empty();
    if (!told) facts.name = filter.name;
    const std::string where = std::string("at tc ") + side_text(side) + " of " + interface + ", priority " +
                              std::to_string(kTcPriority) + " and handle " + std::to_string(kTcHandle);
    if (filter.kind != "bpf" || !facts.named_as_ours()) {
      return Error{filter_text(filter) + " is " + where +
                   ", where a program of xdp-lb belongs: give it another priority"};
    }
    if (told ? !facts.uses(ours.node_map) : !ours.linked) {
      return Error{facts.text() + " of another xdp-lb is " + where +
                   ": detach it with its own --pin-dir, or take what was left over away with xdp-lb detach --all"};
    }
  }
  return {};
}

Result<Strangers> look_for_strangers(NetlinkSocket& socket, const InterfaceFacts& interface, const Ours& ours,
                                     const std::string& xdp_path) {
  Strangers strangers;
  auto qdisc = filter_qdisc(socket, interface.ifindex);
  if (!qdisc) return qdisc.error().in(interface.name);
  if (*qdisc == "ingress") {
    return Error{interface.name +
                 " has an ingress qdisc of somebody else, which leaves no room at egress: replace it by "
                 "clsact, which does the same and more (tc qdisc replace dev " +
                 interface.name + " clsact)"};
  }
  for (const Side side : {Side::ingress, Side::egress}) {
    auto filters = list_filters(socket, interface.ifindex, side);
    if (!filters) return filters.error().in(interface.name);
    if (auto free = check_our_place(*filters, interface.name, side, ours); !free) return free.error();
    note_filters(*filters, side, strangers.notes);
    note_tcx(interface.ifindex, side == Side::ingress ? kTcxIngress : kTcxEgress, side, strangers.notes);
  }
  auto xdp = xdp_programs(socket, interface.ifindex);
  if (!xdp) return xdp.error().in(interface.name);
  if (xdp->any() == 0) return strangers;
  if (exists(xdp_path)) {
    auto link = open_pin(xdp_path);
    if (!link) return link.error();
    auto facts = link_facts(link->get());
    if (!facts) return facts.error().in(xdp_path);
    if (facts->ifindex == interface.ifindex && facts->program_id == xdp->any()) return strangers;
  }
  strangers.xdp = program_facts(xdp->any()).text();
  return strangers;
}

}  // namespace xlb
