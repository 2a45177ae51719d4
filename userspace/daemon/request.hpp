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

#include "userspace/daemon/reconciler.hpp"

namespace xlb {

struct ApplyRequest { std::vector<NamedText> documents; };
struct DeleteRequest { std::vector<ObjectId> objects; };
struct AttachWish {
  std::string interface;
  AttachMode mode = AttachMode::automatic;
  std::optional<std::chrono::milliseconds> try_for;
};
struct DetachRequest { std::string interface; };  // empty: all
struct UpgradeRequest {};
struct TraceRequest { std::uint32_t every = 1; };

using Demand = std::variant<ApplyRequest, DeleteRequest, AttachWish, DetachRequest, UpgradeRequest, TraceRequest>;

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

// Answers: an outcome or an error ends a request; events come one by one until the sender closes.
std::string encode(const Outcome& outcome);
std::string encode(const Error& error);
std::string encode(const lb_event& event);
using Answer = std::variant<Outcome, Error, lb_event>;
Result<Answer> decode_answer(std::string_view line);

const char* change_text(Change change);  // "created", "configured", "unchanged", "deleted"

// Everything but TraceRequest, which is a conversation and not a change.
Result<Outcome> execute(const Request& request, Reconciler& reconciler, const PassOptions& options);

}  // namespace xlb
