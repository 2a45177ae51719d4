// SPDX-License-Identifier: Apache-2.0
// The kinds that are read from an API server: where they are, and one object of each as a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "userspace/core/api_objects.hpp"
#include "userspace/kube/json.hpp"

namespace xlb {

enum class ApiKind : std::uint8_t {
  services,
  slices,
  nodes,
  namespaces,
  pods,
  policies,
  pools,
  advertisements,
  leases,
  l2_statuses,
};
inline constexpr std::size_t kApiKinds = 10;

struct ApiKindInfo {
  const char* kind;      // "Service"
  const char* resource;  // "services"
  const char* group;     // "discovery.k8s.io"; empty: the core's
  const char* root;      // "/apis/discovery.k8s.io/v1"
  bool ours;             // looked for in our own namespace only
  bool custom;           // defined by MetalLB's CRDs: a server may not have it
  LeaveOut leave_out;
};
const ApiKindInfo& about(ApiKind kind);
// "/api/v1/pods?fieldSelector=…&" of these settings, ready for more of a query.
std::string collection(ApiKind kind, const std::string& ns, const std::string& node);

// ---- one object
// -----------------------------------------------------------------------------------------------------

struct ReadService {
  ApiService api;
  Service service;
  bool counts = true;  // false: it could not be read, `service` is of no use
  auto operator<=>(const ReadService&) const = default;
};
struct ReadPool {
  Pool pool;
  ApiIdentity identity;
  auto operator<=>(const ReadPool&) const = default;
};
struct ReadPod {
  Labels labels;
  std::vector<Address> addresses;
  auto operator<=>(const ReadPod&) const = default;
};
struct ReadPolicy {
  LabelSelector pods;
  auto operator<=>(const ReadPolicy&) const = default;
};
struct ReadNamespace {
  Labels labels;
  auto operator<=>(const ReadNamespace&) const = default;
};
// Nothing: an object that is none of our business, or cannot be read. What there are thousands of is shared with the states
// that are handed out, and costs no more than it needs.
template <typename Value>
using Read = std::shared_ptr<const Value>;
using ReadValue = std::variant<std::monostate, Read<ReadService>, Read<EndpointSlice>, Read<Node>, Read<ReadNamespace>,
                               Read<ReadPod>, Read<ReadPolicy>, Read<ReadPool>, Read<L2Advertisement>, Read<ApiLease>,
                               Read<ApiL2Status>>;

struct ReadObject {
  ObjectName name;
  ReadValue value;
  std::string owner;                  // of an EndpointSlice: the service that it belongs to
  std::string unreadable;             // why it does not count
  std::vector<std::string> warnings;  // it counts, but otherwise than the user may think
};
bool same(const ReadObject& left, const ReadObject& right);

// An object that has no name is an error; one that has, and is wrong, says so in `unreadable`.
Result<ReadObject> read_api_object(ApiKind kind, const TreeNode& tree);

}  // namespace xlb
