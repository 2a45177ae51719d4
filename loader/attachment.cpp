// SPDX-License-Identifier: Apache-2.0
// Order of attaching: everything that can refuse comes first and changes nothing. Then tables and programs are loaded
// and pinned, the row of the link written, the filters put, the XDP program, the socket programs. Each step that
// makes something says how it is taken back, and a failure takes back in reverse. A trial's deadline is written
// before the first program runs and lifted after the last.
#include "loader/attachment.hpp"

#include <bpf/bpf.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <set>

#include "loader/attach_checks.hpp"
#include "loader/groups.hpp"
#include "loader/kernel_features.hpp"
#include "loader/lan_programs.hpp"
#include "loader/netlink_rows.hpp"
#include "loader/program_facts.hpp"
#include "loader/socket_programs.hpp"
#include "loader/tc_filter.hpp"

namespace xlb {
namespace {

std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * XLB_SECOND_NS + static_cast<std::uint64_t>(now.tv_nsec);
}

bool is_lan(const std::pair<const LinkKey, lb_link>& row) {
  return row.second.role == XLB_LINK_LAN;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    if (!part.empty()) text += (text.empty() ? "" : "; ") + part;
  }
  return text;
}

// Sizes that were asked for in vain, because the tables are older than the wish.
std::string kept_sizes(const TableSizes& there, const TableSizes& wanted) {
  TableSizes kept;
  for (const auto& [name, entries] : wanted) {
    if (there.at(name) != entries) kept.emplace(name, there.at(name));
  }
  if (kept.empty()) return {};
  return "the tables that are there keep their sizes, " + table_sizes_text(kept) +
         ": to have them made anew, xdp-lb detach --all, then attach again";
}

}  // namespace

class Attachment::Undo {
 public:
  Undo() = default;
  Undo(const Undo&) = delete;
  Undo& operator=(const Undo&) = delete;
  // What goes wrong while taking back cannot be mended here; the error on its way up is the first one.
  ~Undo() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) (*step)();
  }
  void add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void keep() { steps_.clear(); }

 private:
  std::vector<std::function<void()>> steps_;
};

Result<Attachment> Attachment::open(const Pins& pins, KeptLists& lists) {
  auto interfaces = lists.interfaces();
  if (!interfaces) return interfaces.error();
  return Attachment(pins, lists, std::move(*interfaces));
}

std::string Attachment::name_of(std::uint32_t ifindex) const {
  const auto found = interfaces_->find(ifindex);
  return found == interfaces_->end() ? "interface " + std::to_string(ifindex) : found->second.name;
}

// ---- attach
// ---------------------------------------------------------------------------------------------------------

Result<AttachedLink> Attachment::attach(const AttachRequest& request) {
  if (auto allowed = check_capabilities(); !allowed) return allowed.error();
  auto found = lan_interface(request.interface, *interfaces_);
  if (!found) return found.error();
  const InterfaceFacts interface = std::move(*found);
  File cgroup;
  if (!request.cgroup.empty()) {
    auto opened = open_cgroup(request.cgroup);
    if (!opened) return opened.error();
    cgroup = std::move(*opened);
  }
  auto cleared = refuse_other_abi();
  if (!cleared) return cleared.error();
  const bool had_tables = exists(pins_.tables());
  Ours ours;
  if (had_tables) {
    auto node = open_pin(pins_.tables() + "/xlb_node");
    if (!node) {
      return Error{node.error().text +
                   ": pins have been removed there; take the rest away with xdp-lb detach --all, then "
                   "attach again"};
    }
    ours.node_map = map_id(node->get());
    // What is wrong with the tables is said below, by who needs them.
    if (auto there = KernelTables::open(pins_.folder())) {
      const auto row = there->link({interface.ifindex, 0});
      ours.linked = row && row->has_value();
    }
  }
  auto strangers = look_for_strangers(socket_, interface, ours, pins_.xdp_link(interface.ifindex));
  if (!strangers) return strangers.error();
  const bool xdp_wanted = request.mode == AttachMode::native || request.mode == AttachMode::generic;
  if (xdp_wanted && !strangers->xdp.empty()) {
    return Error{interface.name + " has a foreign XDP program, " + strangers->xdp +
                 ": take it away (ip link set dev " + interface.name + " xdp off), or attach with --mode tc"};
  }

  Undo undo_pins;
  if (!had_tables) undo_pins.add([this] { (void)pins_.remove_all(); });
  auto mounted = pins_.prepare();
  if (!mounted) return mounted.error();
  const bool current = had_tables && Programs::pinned_are_current(pins_);
  auto programs = current ? Programs::open(pins_) : Programs::load(pins_, request.table_sizes);
  if (!programs) return programs.error();
  auto tables = KernelTables::open(pins_.folder());
  if (!tables) return tables.error();
  auto read = tables->links();
  if (!read) return read.error();
  Rows& rows = *read;
  if (auto gone = forget_gone_links(*tables, rows); !gone) return gone.error();

  auto node = tables->node_row();
  if (!node) return node.error();

  Undo undo;  // after everything that its steps use
  const LinkKey key{interface.ifindex, 0};
  const bool was_attached = rows.contains(key) && rows[key].role == XLB_LINK_LAN;
  if (rows.contains(key) && !was_attached) {
    return Error{interface.name + " is the way to a pod and carries xlb_return: attach to the interface of the LAN"};
  }
  const std::uint64_t try_before = node->read().try_mono_ns;
  if (request.try_for) {
    const auto other = std::find_if(rows.begin(), rows.end(), [&](const auto& row) {
      return is_lan(row) && row.first.ifindex != interface.ifindex;
    });
    if (other != rows.end() && try_before == 0) {
      return Error{"a trial counts for the whole node, and " + name_of(other->first.ifindex) +
                   " is attached for good: attach " + interface.name + " without --try"};
    }
    undo.add([&node, try_before] { node->set_try(try_before); });
    node->set_try(monotonic_ns() + static_cast<std::uint64_t>(std::max<std::int64_t>(request.try_for->count(), 1)));
  }
  if (!current) {
    if (auto swapped = swap(rows, *programs); !swapped) return swapped.error();
    if (auto pinned = programs->pin(pins_); !pinned) return pinned.error();
  }

  if (!was_attached) {
    undo.add([this, &tables, &rows, &interface] { (void)take_link_away(*tables, rows, interface.ifindex); });
  }
  if (auto written = write_rows(*tables, rows, interface); !written) return written.error();
  if (auto made = ensure_qdisc(*tables, interface.ifindex); !made) return made.error().in(interface.name);
  if (auto now = tables->link(key); now && *now) rows[key] = **now;  // whose the qdisc is
  if (auto put = put_lan_filters(socket_, interface, *programs); !put) return put.error();
  auto xdp = put_xdp(socket_, interface, request.mode, *strangers, pins_, *programs);
  if (!xdp) return xdp.error();
  const bool sends = xdp->mode == AttachMode::native && has_whole_frames(driver_of(interface.name));
  if (auto noted = note_sending(*tables, rows, interface, sends); !noted) return noted.error();

  std::string sockets;
  if (!cgroup || !programs->without_sockets().empty()) {
    if (auto gone = remove_socket_programs(pins_); !gone) return gone.error();
    if (cgroup) sockets = "no socket programs for clients on this node: " + programs->without_sockets();
  } else {
    if (!has_socket_programs(pins_)) undo.add([this] { (void)remove_socket_programs(pins_); });
    auto put = put_socket_programs(cgroup.get(), request.cgroup, pins_, *programs);
    if (!put) return put.error();
  }
  if (!request.try_for) node->set_try(0);

  undo.keep();
  undo_pins.keep();
  AttachedLink link{interface.name, interface.ifindex, xdp->mode, {}, {}};
  const bool vlans = std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
    return is_lan(row) && row.first.ifindex == interface.ifindex && row.first.vlan != 0;
  });
  // A NIC that takes the tag out of the frame hides it from XDP, which then sees frames of a VLAN as untagged ones.
  const std::string tags = xdp->mode != AttachMode::tc && vlans
                               ? "XDP may not see VLAN tags that the NIC takes out of the frame: ethtool -K " +
                                     interface.name + " rxvlan off"
                               : "";
  std::vector<std::string> said{xdp->reason, *mounted, *cleared, sockets, tags, kept_sizes(tables->sizes(), request.table_sizes)};
  said.insert(said.end(), strangers->notes.begin(), strangers->notes.end());
  link.reason = joined(said);
  if (xdp->mode != AttachMode::tc) link.programs.emplace_back("xlb_lan");
  link.programs.insert(link.programs.end(), {"xlb_lan_tc", "xlb_egress"});
  return link;
}

Result<bool> Attachment::anything_attached() {
  auto links = list_folder(pins_.links());
  if (!links) return links.error();
  if (!links->empty()) return true;
  for (const auto& [ifindex, facts] : *interfaces_) {
    for (const Side side : {Side::ingress, Side::egress}) {
      auto filters = list_filters(socket_, ifindex, side);
      if (!filters) return filters.error().in(facts.name);
      for (const TcFilter& filter : *filters) {
        if (filter.at_our_place() && filter.name.starts_with("xlb_")) return true;
      }
    }
  }
  return false;
}

Result<std::string> Attachment::refuse_other_abi() {
  auto others = pins_.other_abis();
  if (!others) return others.error();
  if (others->empty()) return std::string();
  auto used = anything_attached();
  if (!used) return used.error();
  const std::string where = pins_.folder() + "/" + others->front();
  if (*used) {
    return Error{
        "the tables in " + where + " have another layout than this xdp-lb's (v" + std::to_string(XLB_ABI_VERSION) +
        ") and are in use: take them away with xdp-lb detach --all, then attach again; connections are lost by that"};
  }
  for (const std::string& name : *others) {
    if (auto gone = remove_pin(pins_.folder() + "/" + name); !gone) return gone.error();
  }
  return "removed unused tables of another layout, " + where;
}

Result<void> Attachment::forget_gone_links(const KernelTables& tables, Rows& rows) {
  for (auto row = rows.begin(); row != rows.end();) {
    const auto above = interfaces_->find(row->second.l3_ifindex);
    const bool lives = interfaces_->contains(row->first.ifindex) && (!is_lan(*row) || above != interfaces_->end());
    if (lives) {
      ++row;
      continue;
    }
    if (auto gone = tables.apply(EditLink{row->first, std::nullopt}); !gone) return gone;
    if (row->first.vlan == 0) {
      if (auto gone = remove_xdp(pins_.xdp_link(row->first.ifindex)); !gone) return gone;
    }
    row = rows.erase(row);
  }
  return {};
}

Result<void> Attachment::write_rows(const KernelTables& tables, Rows& rows, const InterfaceFacts& interface) {
  std::vector<const InterfaceFacts*> levels{&interfaces_->at(interface.ifindex)};
  for (const auto& [ifindex, above] : *interfaces_) {
    if (above.kind == "vlan" && above.link == interface.ifindex && above.vlan != 0) levels.push_back(&above);
  }
  std::uint32_t taken = 0;
  for (const auto& row : rows) taken |= row.second.link_bit;
  for (const InterfaceFacts* l3 : levels) {
    const LinkKey key{interface.ifindex, l3->ifindex == interface.ifindex ? std::uint16_t{0} : l3->vlan};
    lb_link row{};
    if (const auto old = rows.find(key); old != rows.end()) row = old->second;
    row.role = XLB_LINK_LAN;
    row.l3_ifindex = l3->ifindex;
    std::copy(l3->mac.bytes.begin(), l3->mac.bytes.end(), row.mac);
    if (row.link_bit == 0) {
      if (taken == ~0u) return Error{"no more than 32 LAN links, VLANs included, can be attached"};
      row.link_bit = ~taken & (taken + 1);  // the lowest free bit
      taken |= row.link_bit;
    }
    if (auto written = tables.apply(EditLink{key, row}); !written) return written;
    rows[key] = row;
  }
  return {};
}

Result<void> Attachment::note_sending(const KernelTables& tables, Rows& rows, const InterfaceFacts& interface,
                                      bool sends) {
  for (auto& [key, row] : rows) {
    if (key.ifindex != interface.ifindex) continue;
    const std::uint32_t flags = sends ? row.flags | XLB_LINK_XDP_SENDS : row.flags & ~XLB_LINK_XDP_SENDS;
    if (flags == row.flags) continue;
    row.flags = flags;
    if (auto written = tables.apply(EditLink{key, row}); !written) return written;
  }
  return {};
}

Result<void> Attachment::ensure_qdisc(const KernelTables& tables, std::uint32_t ifindex) {
  auto kind = filter_qdisc(socket_, ifindex);
  if (!kind) return kind.error();
  if (!kind->empty()) return {};
  const LinkKey key{ifindex, 0};
  auto row = tables.link(key);
  if (!row) return row.error();
  if (!*row) return Error{"no row in xlb_links to note the qdisc in"};
  const lb_link before = **row;
  lb_link noted = before;
  noted.flags |= XLB_LINK_MADE_CLSACT;
  if (auto written = tables.apply(EditLink{key, noted}); !written) return written;
  auto made = make_clsact(socket_, ifindex);
  if (made && *made) return {};
  if (auto written = tables.apply(EditLink{key, before}); !written) return written;
  return made ? Result<void>() : made.error();
}

// ---- upgrade
// --------------------------------------------------------------------------------------------------------

Result<void> Attachment::swap(const Rows& rows, const Programs& programs) {
  for (const auto& row : rows) {
    const std::uint32_t ifindex = row.first.ifindex;
    if (row.first.vlan != 0 || !interfaces_->contains(ifindex)) continue;
    const char* ingress = is_lan(row) ? "xlb_lan_tc" : "xlb_return";
    for (const auto& [side, name] : {std::pair{Side::ingress, ingress}, std::pair{Side::egress, "xlb_egress"}}) {
      auto filters = list_filters(socket_, ifindex, side);
      if (!filters) return filters.error().in(name_of(ifindex));
      for (const TcFilter& filter : *filters) {
        if (!filter.at_our_place() || filter.name != name) continue;
        auto put = put_filter(socket_, ifindex, side, programs.get(name), name);
        if (!put) return put.error().in(name_of(ifindex));
      }
    }
    const std::string pin = pins_.xdp_link(ifindex);
    if (!is_lan(row) || !exists(pin)) continue;
    if (auto updated = update_link(pin, programs.get("xlb_lan")); !updated)
      return updated.error().in(name_of(ifindex));
  }
  return update_socket_programs(pins_, programs);
}

Result<void> Attachment::upgrade() {
  if (auto allowed = check_capabilities(); !allowed) return allowed.error();
  if (auto cleared = refuse_other_abi(); !cleared) return cleared.error();
  if (!exists(pins_.tables())) {
    return Error{"nothing is attached, so there is nothing to upgrade: attach first (xdp-lb attach INTERFACE)"};
  }
  auto programs = Programs::load(pins_);
  if (!programs) return programs.error();
  auto tables = KernelTables::open(pins_.folder());
  if (!tables) return tables.error();
  auto read = tables->links();
  if (!read) return read.error();
  if (auto swapped = swap(*read, *programs); !swapped) return swapped;
  return programs->pin(pins_);
}

// ---- detach
// ---------------------------------------------------------------------------------------------------------

Result<void> Attachment::detach(const std::string& interface) {
  if (auto allowed = check_capabilities(); !allowed) return allowed.error();
  if (!exists(pins_.tables())) return Error{interface + " is not attached; nothing is"};
  auto tables = KernelTables::open(pins_.folder());
  if (!tables) return tables.error();
  auto read = tables->links();
  if (!read) return read.error();
  Rows& rows = *read;
  if (auto gone = forget_gone_links(*tables, rows); !gone) return gone;
  std::uint32_t wanted = 0;
  std::string others;
  for (const auto& row : rows) {
    if (!is_lan(row) || row.first.vlan != 0) continue;
    const std::string name = name_of(row.first.ifindex);
    if (name == interface) {
      wanted = row.first.ifindex;
    } else {
      others += (others.empty() ? "" : ", ") + name;
    }
  }
  if (wanted == 0) {
    return Error{
        interface + " is not attached" +
        (others.empty() ? "; take what is left away with xdp-lb detach --all" : " (attached: " + others + ")")};
  }
  if (others.empty()) return take_everything_away();
  return take_link_away(*tables, rows, wanted);
}

Result<void> Attachment::take_link_away(const KernelTables& tables, const Rows& rows, std::uint32_t ifindex) {
  if (auto gone = remove_xdp(pins_.xdp_link(ifindex)); !gone) return gone;
  const auto main = rows.find({ifindex, 0});
  const bool qdisc_is_ours = main != rows.end() && (main->second.flags & XLB_LINK_MADE_CLSACT) != 0;
  if (auto gone = remove_filters(socket_, ifindex, qdisc_is_ours); !gone) return gone.error().in(name_of(ifindex));
  std::set<std::uint32_t> l3;
  for (const auto& row : rows) {
    if (is_lan(row) && row.first.ifindex == ifindex) l3.insert(row.second.l3_ifindex);
  }
  auto groups = joined_groups(socket_, l3);
  if (!groups) return groups.error();
  for (const Group& group : *groups) {
    if (auto left = leave_group(socket_, group); !left) return left;
  }
  for (const auto& row : rows) {
    if (row.first.ifindex != ifindex) continue;
    if (auto gone = tables.apply(EditLink{row.first, std::nullopt}); !gone) return gone;
  }
  return {};
}

Result<void> Attachment::take_everything_away() {
  // The XDP programs first: what they pass on finds its twin to the end. Then nobody on this node is steered any
  // more, then the links and the ways back.
  auto pinned = list_folder(pins_.links());
  if (!pinned) return pinned.error();
  for (const std::string& name : *pinned) {
    if (!name.starts_with("xdp-")) continue;
    if (auto gone = remove_xdp(pins_.links() + "/" + name); !gone) return gone;
  }
  if (auto gone = remove_socket_programs(pins_); !gone) return gone;
  // Tables that cannot be read (another layout, a pin removed by hand) must not keep anybody from getting rid of us.
  auto tables = KernelTables::open(pins_.folder());
  auto read = tables ? tables->links() : Result<Rows>(tables.error());
  if (read) {
    for (const auto& row : *read) {
      if (row.first.vlan != 0) continue;
      if (auto gone = take_link_away(*tables, *read, row.first.ifindex); !gone) return gone;
    }
  }
  auto others = pins_.other_abis();
  if (!others) return others.error();
  const bool qdiscs_unknown = !read && (exists(pins_.tables()) || !others->empty());
  if (auto gone = sweep_filters(qdiscs_unknown); !gone) return gone;
  return pins_.remove_all();
}

// Filters that no row tells of: left by a crash, by pins that somebody removed by hand, or by another ABI, whose rows
// cannot be read.
Result<void> Attachment::sweep_filters(bool qdisc_is_ours) {
  for (const auto& [ifindex, facts] : *interfaces_) {
    bool ours = false;
    for (const Side side : {Side::ingress, Side::egress}) {
      auto filters = list_filters(socket_, ifindex, side);
      if (!filters) return filters.error().in(facts.name);
      ours = ours || std::any_of(filters->begin(), filters->end(), [](const TcFilter& filter) {
               return filter.at_our_place() && filter.name.starts_with("xlb_");
             });
    }
    if (!ours) continue;
    if (auto gone = remove_filters(socket_, ifindex, qdisc_is_ours); !gone) return gone.error().in(facts.name);
    auto groups = joined_groups(socket_, {ifindex});
    if (!groups) return groups.error();
    for (const Group& group : *groups) {
      if (auto left = leave_group(socket_, group); !left) return left;
    }
  }
  return {};
}

Result<void> Attachment::detach_all() {
  if (auto allowed = check_capabilities(); !allowed) return allowed.error();
  return take_everything_away();
}

// ---- what is in force
// -----------------------------------------------------------------------------------------------

Result<std::vector<AttachedLink>> Attachment::attached() {
  std::vector<AttachedLink> links;
  auto tables = KernelTables::open(pins_.folder());
  if (!tables) return tables.error();
  auto read = tables->links();
  if (!read) return read.error();
  for (const auto& row : *read) {
    const auto found = interfaces_->find(row.first.ifindex);
    if (!is_lan(row) || row.first.vlan != 0 || found == interfaces_->end()) continue;
    const InterfaceFacts& interface = found->second;
    AttachedLink link{interface.name, interface.ifindex, AttachMode::tc, {}, {}};
    auto mode = lists_.xdp_mode(interface.ifindex, pins_.xdp_link(interface.ifindex));
    if (!mode) return mode.error().in(interface.name);
    link.mode = *mode;
    if (*mode != AttachMode::tc) link.programs.emplace_back("xlb_lan");
    std::vector<std::string> said{*mode == AttachMode::tc ? std::string("no XDP program of ours")
                                                          : "XDP by driver " + driver_of(interface.name)};
    for (const auto& [side, name] : {std::pair{Side::ingress, "xlb_lan_tc"}, std::pair{Side::egress, "xlb_egress"}}) {
      auto filters = lists_.filters(interface.ifindex, side);
      if (!filters) return filters.error().in(interface.name);
      const bool there = std::any_of((*filters)->begin(), (*filters)->end(), [&, program = name](const TcFilter& filter) {
        return filter.at_our_place() && filter.name == program;
      });
      if (there) {
        link.programs.emplace_back(name);
      } else {
        said.push_back(std::string(name) + " has been taken away by somebody: xdp-lb attach " + interface.name +
                       " puts it back");
      }
    }
    link.reason = joined(said);
    links.push_back(std::move(link));
  }
  return links;
}

// ---- the way back of pods
// -------------------------------------------------------------------------------------------

Result<void> Attachment::put_return(const KernelTables& tables, std::uint32_t veth) {
  if (!interfaces_->contains(veth)) return Error{"the veth has gone (interface " + std::to_string(veth) + ")"};
  auto program = open_pin(pins_.programs() + "/xlb_return");
  if (!program) return program.error();
  if (auto made = ensure_qdisc(tables, veth); !made) return made;
  auto filters = list_filters(socket_, veth, Side::ingress);
  if (!filters) return filters.error();
  auto node = open_pin(pins_.tables() + "/xlb_node");
  if (!node) return node.error();
  auto row = tables.link({veth, 0});
  if (!row) return row.error();
  const Ours ours{map_id(node->get()), row->has_value()};
  if (auto free = check_our_place(*filters, name_of(veth), Side::ingress, ours); !free) return free;
  return put_filter(socket_, veth, Side::ingress, program->get(), "xlb_return");
}

Result<void> Attachment::remove_return(const KernelTables& tables, std::uint32_t veth) {
  auto row = tables.link({veth, 0});
  if (!row) return row.error();
  return remove_filters(socket_, veth, *row && ((*row)->flags & XLB_LINK_MADE_CLSACT) != 0);
}

Result<std::set<std::uint32_t>> Attachment::returns_among(const std::set<std::uint32_t>& veths) {
  std::set<std::uint32_t> found;
  for (const std::uint32_t veth : veths) {
    auto filters = lists_.filters(veth, Side::ingress);
    if (!filters) return filters.error().in(name_of(veth));
    for (const TcFilter& filter : **filters) {
      if (filter.at_our_place() && filter.name == "xlb_return") found.insert(veth);
    }
  }
  return found;
}

}  // namespace xlb
