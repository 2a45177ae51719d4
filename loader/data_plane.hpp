// SPDX-License-Identifier: Apache-2.0
// The one door to the kernel's data plane. KernelDataPlane is the real one; tests of the daemon have a small one in memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "maps/abi.h"
#include "userspace/core/address.hpp"
#include "userspace/core/plan.hpp"
#include "userspace/core/result.hpp"
#include "userspace/core/table_sizes.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {

enum class AttachMode : std::uint8_t { automatic, native, tc, generic };
const char* attach_mode_text(AttachMode mode);  // "auto", "native", "tc", "generic"

struct AttachRequest {
  std::string interface;
  AttachMode mode = AttachMode::automatic;
  std::optional<std::chrono::nanoseconds> try_for;  // undo after this long unless attach is run again without it
  std::string cgroup;  // where the socket programs go; empty: "none"
  TableSizes table_sizes = {};  // of tables that this attach makes
};

struct AttachedLink {
  std::string interface;
  std::uint32_t ifindex = 0;
  AttachMode mode = AttachMode::tc;  // what is in force: native, generic or tc
  std::string reason;                // why this mode: "driver veth has native XDP"
  std::vector<std::string> programs; // "xlb_lan", "xlb_lan_tc", "xlb_egress"
};

struct ServiceCounters {
  std::uint32_t service_id = 0;
  lb_svc_stats stats{};
};

struct VipCounters {
  Address vip;
  lb_vip_stats stats{};
};

struct Counters {
  std::vector<lb_counter> verdicts;  // indexed by enum xlb_verdict, summed over CPUs
  std::vector<ServiceCounters> services;
  std::vector<VipCounters> vips;  // of which there is something to tell
};

struct FlowRow {
  lb_flow_key key{};
  lb_flow value{};
  bool half_open = false;
};

class DataPlane {
 public:
  virtual ~DataPlane() = default;

  // Loads and pins where needed, attaches, and reports what is in force. Idempotent. A failure leaves what was there.
  virtual Result<AttachedLink> attach(const AttachRequest& request) = 0;
  // Takes programs, qdiscs and table rows of one link away; the last link takes pins and cgroup programs with it.
  virtual Result<void> detach(const std::string& interface) = 0;
  virtual Result<void> detach_all() = 0;
  // New programs under the existing links, tables kept.
  virtual Result<void> upgrade() = 0;

  // Nothing attached: an empty list.
  virtual Result<std::vector<AttachedLink>> attached() = 0;
  virtual Result<lb_node> node() = 0;
  // One packet of `every` is sampled until then.
  virtual Result<void> set_trace(std::uint64_t until_mono_ns, std::uint32_t every) = 0;
  // Answers for its VIPs from now on without anybody who renews a lease: the node has no peers.
  virtual Result<void> give_lease_for_ever() = 0;
  virtual Result<Capacity> capacity() = 0;
  virtual Result<Tables> installed() = 0;
  // What the tables hold now, for the next installed(), which then does not read them all: nobody but the caller edits them,
  // until it says forget(). Peers and links are read all the same. Not believed for long: who has bpftool says nothing.
  virtual void keep(Tables tables) = 0;
  virtual void forget() = 0;
  // In order; stops at the first failure and says which edit and why. Running it again with a new plan mends the rest.
  virtual Result<void> apply(const Edits& edits) = 0;
  virtual Result<Counters> counters() = 0;
  virtual Result<std::vector<FlowRow>> flows() = 0;
};

}  // namespace xlb
