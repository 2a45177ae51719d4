// SPDX-License-Identifier: Apache-2.0
#include "loader/lan_programs.hpp"

#include <bpf/bpf.h>
#include <linux/if_link.h>

#include <cerrno>
#include <optional>

#include "loader/bpf_link.hpp"
#include "loader/kernel_features.hpp"
#include "loader/program_facts.hpp"

namespace xlb {
namespace {

std::uint32_t flags_of(AttachMode mode) {
  return mode == AttachMode::generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
}

std::string driver_text(const InterfaceFacts& interface) {
  const std::string driver = driver_of(interface.name);
  return driver.empty() ? "the driver of " + interface.name : "driver " + driver;
}

std::string refusal_text(NetlinkSocket& socket, const InterfaceFacts& interface, AttachMode mode, int number) {
  const std::string driver = driver_text(interface);
  switch (number) {
    case EOPNOTSUPP:
      return driver + " has no " + attach_mode_text(mode) + " XDP";
    case EBUSY:
    case EEXIST: {
      auto there = xdp_programs(socket, interface.ifindex);
      const std::string who = there && there->any() != 0 ? program_facts(there->any()).text() : "another program";
      return who + " is at the XDP hook of " + interface.name;
    }
    case EINVAL:
    case ERANGE:
    case E2BIG:
      return driver + " refuses " + attach_mode_text(mode) + " XDP as it is set up (" + std::strerror(number) +
             "); an MTU of " + std::to_string(interface.mtu) + " may be too large for it";
    default:
      return driver + " refuses " + attach_mode_text(mode) + " XDP: " + std::strerror(number);
  }
}

}  // namespace

Result<void> put_lan_filters(NetlinkSocket& socket, const InterfaceFacts& interface, const Programs& programs) {
  for (const auto& [side, name] : {std::pair{Side::ingress, "xlb_lan_tc"}, std::pair{Side::egress, "xlb_egress"}}) {
    auto put = put_filter(socket, interface.ifindex, side, programs.get(name), name);
    if (!put) return put.error().in(interface.name);
  }
  return {};
}

Result<XdpInForce> put_xdp(NetlinkSocket& socket, const InterfaceFacts& interface, AttachMode mode,
                           const Strangers& strangers, const Pins& pins, const Programs& programs) {
  const std::string path = pins.xdp_link(interface.ifindex);
  const bool automatic = mode == AttachMode::automatic;
  auto before = xdp_mode(socket, interface.ifindex, path);
  if (!before) return before.error();
  if (!strangers.xdp.empty()) {
    if (automatic || mode == AttachMode::tc) {
      const std::string why = automatic ? "tc alone, because " : "tc, as asked; ";
      return XdpInForce{AttachMode::tc, why + strangers.xdp + " is at the XDP hook and sees packets first"};
    }
    return Error{interface.name + " has a foreign XDP program, " + strangers.xdp +
                 ": take it away (ip link set dev " + interface.name + " xdp off), or attach with --mode tc"};
  }
  std::string without;
  if (mode == AttachMode::tc) without = "tc, as asked";
  if (automatic && interface.kind == "veth") {
    // Frames that native XDP sends back on a veth vanish unless the far end runs XDP too, which cannot be asked.
    without = "tc alone, because a veth returns frames of native XDP only when its other end runs XDP too";
  }
  if (!without.empty()) {
    if (auto gone = remove_xdp(path); !gone) return gone.error();
    return XdpInForce{AttachMode::tc, without};
  }
  const AttachMode wanted = mode == AttachMode::generic ? AttachMode::generic : AttachMode::native;
  const std::string good = wanted == AttachMode::generic
                               ? "generic XDP, as asked: receive offload (GRO) is off for the whole NIC"
                               : driver_text(interface) + " has native XDP";
  const int program = programs.get("xlb_lan");
  if (*before == wanted) {
    if (auto updated = update_link(path, program); !updated) return updated.error().in(interface.name);
    return XdpInForce{wanted, good};
  }
  // A link keeps its mode, and the modes exclude each other.
  if (auto gone = remove_xdp(path); !gone) return gone.error();
  const std::optional<int> refused = pin_new_xdp_link(program, interface.ifindex, flags_of(wanted), path);
  if (!refused) return XdpInForce{wanted, good};
  const std::string why = refusal_text(socket, interface, wanted, *refused);
  if (automatic) return XdpInForce{AttachMode::tc, "tc alone, because " + why};
  if (*before != AttachMode::tc) {
    (void)pin_new_xdp_link(program, interface.ifindex, flags_of(*before), path);
  }
  return Error{why + ": attach with --mode tc, or without --mode"};
}

Result<void> remove_xdp(const std::string& pin) {
  if (!exists(pin)) return {};
  // Unpinning alone would detach later, in a worker of the kernel. A link whose interface has gone is detached
  // already.
  if (auto link = open_pin(pin)) (void)bpf_link_detach(link->get());
  return remove_pin(pin);
}

Result<AttachMode> xdp_mode(NetlinkSocket& socket, std::uint32_t ifindex, const std::string& pin) {
  if (!exists(pin)) return AttachMode::tc;
  auto link = open_pin(pin);
  if (!link) return link.error();
  auto facts = link_facts(link->get());
  if (!facts) return facts.error().in(pin);
  auto there = xdp_programs(socket, ifindex);
  if (!there) return there.error();
  if (facts->ifindex != ifindex || facts->program_id == 0) return AttachMode::tc;
  if (there->native == facts->program_id) return AttachMode::native;
  return there->generic == facts->program_id ? AttachMode::generic : AttachMode::tc;
}

Result<void> remove_filters(NetlinkSocket& socket, std::uint32_t ifindex, bool qdisc_is_ours) {
  bool empty = true;
  for (const Side side : {Side::ingress, Side::egress}) {
    auto filters = list_filters(socket, ifindex, side);
    if (!filters) return filters.error();
    for (const TcFilter& filter : *filters) {
      if (!filter.at_our_place() || !filter.name.starts_with("xlb_")) {
        empty = false;
        continue;
      }
      if (auto gone = remove_filter(socket, ifindex, side); !gone) return gone;
    }
  }
  return qdisc_is_ours && empty ? remove_clsact(socket, ifindex) : Result<void>();
}

}  // namespace xlb
