// SPDX-License-Identifier: Apache-2.0
// Facts joined into the documents that `-o json` prints: the keys are a stable interface (docs/schema/). What is in force
// comes from the kernel's tables, names and reasons from the declarations.
#pragma once

#include <cstdint>
#include <string>

#include "userspace/cli/render.hpp"
#include "userspace/daemon/reconciler.hpp"

namespace xlb {

// `cluster`: what the daemon says of it (cluster_document.hpp), or null.
Json status_json(const Observation& seen, const Judgement& judged, const Json& cluster, std::uint64_t now_mono_ns);
// Declared peers and those that the daemon knows besides.
Json peers_json(const Objects& objects, const std::string& own_name, const Json& cluster);
// As much of `why` as one node knows by itself; null: no such VIP.
Json why_json(const Observation& seen, const Judgement& judged, const Address& vip);
Json services_json(const Observation& seen, const Judgement& judged);
Json pools_json(const Observation& seen);
Json pool_json(const Observation& seen, const Pool& pool);
Json stats_json(const Observation& seen, const Judgement& judged, const Counters& counters);

struct FlowFilter {
  std::optional<Address> vip;
  std::optional<Address> client;
  bool all = false;  // also those whose lifetime is over, which the table has not reused yet
};
Json flows_json(const Observation& seen, const Judgement& judged, const std::vector<FlowRow>& rows,
                const FlowFilter& filter, std::uint64_t now_mono_ns);

// `wall_minus_mono_ns`: what to add to a stamp of the programs to get the time of day.
Json event_json(const lb_event& event, std::int64_t wall_minus_mono_ns, const std::string& interface);
std::string event_line(const Json& event);

}  // namespace xlb
