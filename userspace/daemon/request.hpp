// SPDX-License-Identifier: Apache-2.0
// A change asked of this node, and the words for it on the control socket (docs/control-socket.md): one JSON object a line.
// The command line builds the same request whether a daemon runs or not; execute() is what either does with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "userspace/core/table_sizes.hpp"
#include "userspace/daemon/cluster_view.hpp"
#include "userspace/daemon/reconciler.hpp"

namespace xlb {

struct ApplyRequest { std::vector<NamedText> documents; };
struct DeleteRequest { std::vector<ObjectId> objects; };
struct AttachWish {
  std::string interface;
  AttachMode mode = AttachMode::automatic;
  std::optional<std::chrono::milliseconds> try_for;
  TableSizes table_sizes = {};
};
struct DetachRequest { std::string interface; };  // empty: all
struct UpgradeRequest {};
struct TraceRequest { std::uint32_t every = 1; };
// Questions about the cluster, which only a running daemon knows; answered by a ClusterAnswer.
struct ClusterRequest {};
struct WhyRequest { Address vip; };
struct DrainRequest {
  bool for_cordon = false;  // ends by itself when the node is not cordoned any more
};
struct UndrainRequest {};

using Demand = std::variant<ApplyRequest, DeleteRequest, AttachWish, DetachRequest, UpgradeRequest, TraceRequest, ClusterRequest,
                            WhyRequest, DrainRequest, UndrainRequest>;

// Where the sender believes the node's files to be: a daemon that minds other folders refuses, instead of changing them.
struct Request {
  std::string config_dir;
  std::string pin_dir;
  std::string cgroup;
  Demand demand;
};

constexpr int kControlVersion = 1;
constexpr std::size_t kControlLineBytes = 8u << 20;  // manifests are at most 4 MiB and grow when escaped

Request make_request(const Settings& settings, Demand demand);
Result<void> same_node(const Request& request, const Settings& settings);

std::string encode(const Request& request);  // ends with a newline
Result<Request> decode_request(std::string_view line);

// A document of cluster_document.hpp. "null": this daemon knows no more than the tables say, because it keeps no peers or because
// there is no such VIP.
struct ClusterAnswer { std::string json; };

// Answers: an outcome, a document or an error ends a request; events come one by one until the sender closes.
std::string encode(const Outcome& outcome);
std::string encode(const ClusterAnswer& answer);
std::string encode(const Error& error);
std::string encode(const lb_event& event);
using Answer = std::variant<Outcome, Error, lb_event, ClusterAnswer>;
Result<Answer> decode_answer(std::string_view line);

const char* change_text(Change change);  // "created", "configured", "unchanged", "deleted"

// Changes. TraceRequest is a conversation, and what is asked of the cluster is for answer().
Result<Outcome> execute(const Request& request, Reconciler& reconciler, const PassOptions& options);
// Whether the demand is of the cluster, and what the daemon says to it. `cluster`: nullptr where no peers are kept.
bool asks_cluster(const Demand& demand);
Result<ClusterAnswer> answer(const Demand& demand, ClusterView* cluster);

}  // namespace xlb
