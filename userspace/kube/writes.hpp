// SPDX-License-Identifier: Apache-2.0
// What is written to the API server, as requests. Pure: names, times and versions come in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/core/api_allocator.hpp"
#include "userspace/core/api_request.hpp"

namespace xlb {

// Who writes: this node, and the Pod that this process is, where it is one.
struct ApiWriter {
  std::string ns;        // of Leases and reports
  std::string node;
  std::string pod_name;  // empty: not in a Pod, so nothing is owned by it
  std::string pod_uid;
};

// Microseconds since 1970 as "2026-11-26T18:15:57.123456Z", as Lease and Event want it.
std::string micro_time(std::uint64_t since_1970_us);

// Without identity it is made, else the version that it names is replaced.
ApiRequest write_lease(const ApiWriter& writer, const std::string& name, const ApiLease& lease, std::uint64_t now_us);
// Sets annotations of this version of the Lease; null is written for an empty one, which takes it away.
ApiRequest annotate_lease(const ApiWriter& writer, const std::string& name, const ApiIdentity& identity,
                          const std::map<std::string, std::string>& annotations);
ApiRequest remove_lease(const ApiWriter& writer, const std::string& name, const ApiIdentity& identity);

// ingress[] with ipMode VIP and the pool's annotation, together; nothing else of the Service is touched.
ApiRequest write_status(const StatusOrder& order);
ApiRequest read_service(const ObjectName& name);
// Is the Service that the answer is about (read_service) this one still, and of type LoadBalancer? Unknown counts as yes.
bool still_there(const ApiAnswer& answer, const std::string& uid);

ApiRequest write_event(const ApiWriter& writer, const ServiceNotice& notice, std::uint64_t now_us);

// metallb.io/v1beta1 ServiceL2Status; made first, then its status, which is a part of its own, is filled.
std::string l2_status_name(const ApiWriter& writer, const ObjectName& service);
ApiRequest make_l2_status(const ApiWriter& writer, const ObjectName& service);
ApiRequest fill_l2_status(const ApiWriter& writer, const ObjectName& service, const std::vector<std::string>& interfaces);
ApiRequest remove_l2_status(const ApiWriter& writer, const std::string& name, const ApiIdentity& identity);

// metallb.io/v1beta1 ConfigurationState: whether what is declared makes sense. One for each node, named as MetalLB's
// speaker names it, and one of whoever gives addresses out, as its controller. Both belong to the Pod that writes.
enum class Reporter : std::uint8_t { node, allocator };
std::string configuration_state_name(const ApiWriter& writer, Reporter reporter);
ApiRequest make_configuration_state(const ApiWriter& writer, Reporter reporter);
// `problem`: empty: none. `since_1970_us`: when that began.
ApiRequest fill_configuration_state(const ApiWriter& writer, Reporter reporter, const std::string& problem,
                                    std::uint64_t since_1970_us);

struct PoolCounts {
  std::uint64_t assigned4 = 0, assigned6 = 0, available4 = 0, available6 = 0;
  auto operator<=>(const PoolCounts&) const = default;
};
PoolCounts count(const Pool& pool, const Assignments& held);
ApiRequest write_pool_status(const ObjectName& pool, const PoolCounts& counts);

}  // namespace xlb
