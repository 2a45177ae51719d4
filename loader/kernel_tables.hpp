// SPDX-License-Identifier: Apache-2.0
// The pinned tables as the core sees them: rows out as Tables, edits in. What sits beside the tables (programs on
// veths, groups) is not here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "loader/bpf_map.hpp"
#include "loader/data_plane.hpp"
#include "loader/node_row.hpp"
#include "loader/slot_array.hpp"
#include "maps/abi.h"
#include "userspace/core/plan.hpp"
#include "userspace/core/table_sizes.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {

// The folder of this build's tables. Nothing pinned, or only what a build of another ABI made, is an error that says
// so.
Result<std::string> tables_folder(const std::string& pin_dir);

class KernelTables {
 public:
  static Result<KernelTables> open(const std::string& pin_dir);

  Result<lb_node> node() const;
  Result<NodeRow> node_row() const;
  [[nodiscard]] Capacity capacity() const;
  [[nodiscard]] TableSizes sizes() const;

  // Everything but `returns` and `groups`, which live in no table. `known`: what may stand in xlb_slots; a stretch that does is
  // shared with it, instead of being read into memory anew.
  Result<Tables> read(const SlotStretches& known = {}) const;
  // Only what changes without an edit, too: the presence of peers, and whose the qdiscs of links are.
  Result<void> read_links_and_peers(Tables& tables) const;
  // Only the links: attaching and detaching need no more.
  Result<std::map<LinkKey, lb_link>> links() const;
  Result<std::optional<lb_link>> link(const LinkKey& key) const;

  // Safe to run again: what is already so stays so.
  Result<void> apply(const EditLink& edit) const;
  Result<void> apply(const EditPeer& edit) const;
  Result<void> apply(const EditPeerMac& edit) const;
  Result<void> apply(const EditVip& edit) const;
  Result<void> apply(const EditService& edit) const;
  Result<void> apply(const EditSlots& edit) const;
  Result<void> apply(const EditBackend& edit) const;
  Result<void> apply(const EditSource& edit) const;

  // Of every verdict, and of every service that is installed.
  Result<Counters> counters() const;
  Result<std::vector<FlowRow>> flows() const;

 private:
  struct Maps {
    BpfMap<std::uint32_t, lb_node> node;
    BpfMap<lb_link_key, lb_link> links;
    BpfMap<std::uint32_t, lb_peer> peers;
    BpfMap<lb_mac_key, std::uint32_t> peer_macs;
    BpfMap<lb_addr, lb_vip> vips;
    BpfMap<lb_service_key, lb_service> services;
    BpfMap<std::uint32_t, lb_slot> slots;
    BpfMap<std::uint32_t, lb_backend> backends;
    BpfMap<lb_source_key, lb_source> sources;
    BpfMap<lb_flow_key, lb_flow> flows;
    BpfMap<lb_flow_key, lb_flow> half_open;
    PerCpuArray<lb_counter> verdicts;
    PerCpuArray<lb_svc_stats> service_stats;
    PerCpuArray<lb_vip_stats> vip_stats;
  };
  explicit KernelTables(Maps maps) : maps_(std::move(maps)) {}
  Result<void> read_slots(Tables& tables, const SlotStretches& known) const;

  Maps maps_;
};

}  // namespace xlb
