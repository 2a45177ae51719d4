// SPDX-License-Identifier: Apache-2.0
#include "loader/bpf_link.hpp"

#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "loader/pins.hpp"
#include "loader/program_facts.hpp"

namespace xlb {
namespace {

std::optional<int> pin_new_link(int program, int target, bpf_attach_type type, const bpf_link_create_opts& options,
                                const std::string& path) {
  const File link(bpf_link_create(program, target, type, &options));
  if (!link) return errno;
  if (bpf_obj_pin(link.get(), path.c_str()) != 0) return errno;
  return std::nullopt;
}

}  // namespace

Result<LinkFacts> link_facts(int link) {
  bpf_link_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(link, &info, &size) != 0) return system_error("ask about a BPF link");
  LinkFacts facts;
  facts.program_id = info.prog_id;
  if (info.type == BPF_LINK_TYPE_XDP) facts.ifindex = info.xdp.ifindex;
  if (info.type == BPF_LINK_TYPE_CGROUP) facts.cgroup_id = info.cgroup.cgroup_id;
  return facts;
}

Result<XdpPrograms> xdp_programs(NetlinkSocket& socket, std::uint32_t ifindex) {
  NetlinkMessage request(RTM_GETLINK, 0);
  request.header<ifinfomsg>()->ifi_index = static_cast<int>(ifindex);
  XdpPrograms programs;
  auto asked = socket.must(request, [&](const nlmsghdr& message) {
    const auto found = attributes<IFLA_XDP + 1>(message, sizeof(ifinfomsg));
    if (found[IFLA_XDP] == nullptr) return;
    const auto xdp = nested_attributes<IFLA_XDP_HW_PROG_ID + 1>(*found[IFLA_XDP]);
    programs = {read_u32(xdp[IFLA_XDP_DRV_PROG_ID]), read_u32(xdp[IFLA_XDP_SKB_PROG_ID]),
                read_u32(xdp[IFLA_XDP_HW_PROG_ID])};
  });
  if (!asked) return asked.error().in("ask for XDP programs");
  return programs;
}

std::optional<int> pin_new_xdp_link(int program, std::uint32_t ifindex, std::uint32_t flags,
                                    const std::string& path) {
  LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
  return pin_new_link(program, static_cast<int>(ifindex), BPF_XDP, options, path);
}

std::optional<int> pin_new_cgroup_link(int program, int cgroup, std::uint32_t attach_type, const std::string& path) {
  LIBBPF_OPTS(bpf_link_create_opts, options);
  return pin_new_link(program, cgroup, static_cast<bpf_attach_type>(attach_type), options, path);
}

Result<void> update_link(const std::string& path, int program) {
  auto link = open_pin(path);
  if (!link) return link.error();
  if (bpf_link_update(link->get(), program, nullptr) != 0) return system_error("put the new program under " + path);
  return {};
}

}  // namespace xlb
