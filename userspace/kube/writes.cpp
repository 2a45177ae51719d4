// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/writes.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

#include "userspace/core/pool.hpp"

namespace xlb {
namespace {

using Json = nlohmann::json;
using Verb = ApiRequest::Verb;

constexpr const char* kComponent = "xdp-lb";
constexpr const char* kLeases = "/apis/coordination.k8s.io/v1/namespaces/";
constexpr const char* kMetalLb = "/apis/metallb.io/v1beta1/namespaces/";
// The server counts in signed 64 bits.
constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();

std::string lease_path(const ApiWriter& writer, const std::string& name) {
  return kLeases + writer.ns + "/leases" + (name.empty() ? "" : "/" + name);
}

std::string l2_path(const ApiWriter& writer, const std::string& name) {
  return kMetalLb + writer.ns + "/servicel2statuses" + (name.empty() ? "" : "/" + name);
}

constexpr std::size_t kLongestName = 253, kLongestLabel = 63, kLongestMessage = 32768;

// Names of nodes may be longer than a label's value.
void add_label(Json& metadata, const char* key, const std::string& value) {
  if (value.size() <= kLongestLabel) metadata["labels"][key] = value;
}

void owned_by_pod(Json& metadata, const ApiWriter& writer) {
  if (!writer.pod_uid.empty())
    metadata["ownerReferences"] = {{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", writer.pod_name}, {"uid", writer.pod_uid}}};
}

std::string service_path(const ObjectName& name) {
  return "/api/v1/namespaces/" + name.ns + "/services/" + name.name;
}

ApiRequest request(Verb verb, std::string path, const Json& body = {}) {
  ApiRequest made;
  made.verb = verb;
  made.path = std::move(path);
  // Sentences may quote what users wrote, whatever it was.
  if (!body.is_null()) made.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  return made;
}

ApiRequest removal(std::string path, const ApiIdentity& identity) {
  ApiRequest made = request(Verb::remove, std::move(path));
  made.only_uid = identity.uid;
  made.only_version = identity.version;
  return made;
}

// FNV-1a: a name is to be the same again, not hard to guess.
std::string short_hash(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(hash));
  return digits.data();
}

}  // namespace

std::string micro_time(std::uint64_t since_1970_us) {
  const auto seconds = static_cast<std::time_t>(since_1970_us / 1'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text.data() + length, text.size() - length, ".%06uZ", static_cast<unsigned>(since_1970_us % 1'000'000));
  return text.data();
}

namespace {

// As metav1.Time has it.
std::string second_time(std::uint64_t since_1970_us) {
  const std::string micro = micro_time(since_1970_us);
  return micro.substr(0, micro.find('.')) + "Z";
}

}  // namespace

ApiRequest write_lease(const ApiWriter& writer, const std::string& name, const ApiLease& lease, std::uint64_t now_us) {
  const bool create = lease.identity.version.empty();
  Json metadata{{"name", name}, {"namespace", writer.ns}, {"labels", {{"app.kubernetes.io/managed-by", kComponent}}}};
  if (!lease.annotations.empty()) metadata["annotations"] = lease.annotations;
  if (!create) {
    metadata["resourceVersion"] = lease.identity.version;
    metadata["uid"] = lease.identity.uid;
  }
  Json spec{{"holderIdentity", lease.holder}};
  if (lease.duration_s != 0) {
    spec["leaseDurationSeconds"] = lease.duration_s;
    spec["renewTime"] = micro_time(now_us);
    spec["leaseTransitions"] = lease.transitions;
  }
  const Json body{{"apiVersion", "coordination.k8s.io/v1"}, {"kind", "Lease"}, {"metadata", metadata}, {"spec", spec}};
  return create ? request(Verb::create, lease_path(writer, {}), body) : request(Verb::replace, lease_path(writer, name), body);
}

ApiRequest annotate_lease(const ApiWriter& writer, const std::string& name, const ApiIdentity& identity,
                          const std::map<std::string, std::string>& annotations) {
  Json written = Json::object();
  for (const auto& [annotation, text] : annotations) written[annotation] = text.empty() ? Json() : Json(text);
  return request(Verb::merge_patch, lease_path(writer, name),
                 {{"metadata", {{"uid", identity.uid}, {"resourceVersion", identity.version}, {"annotations", written}}}});
}

ApiRequest remove_lease(const ApiWriter& writer, const std::string& name, const ApiIdentity& identity) {
  return removal(lease_path(writer, name), identity);
}

ApiRequest write_status(const StatusOrder& order) {
  Json metadata{{"resourceVersion", order.identity.version}, {"uid", order.identity.uid}};
  Json balancer{{"ingress", nullptr}};
  if (order.ingress.empty()) {
    metadata["annotations"] = {{"metallb.io/ip-allocated-from-pool", nullptr}, {"metallb.universe.tf/ip-allocated-from-pool", nullptr}};
  } else {
    Json ingress = Json::array();
    for (const Address& address : order.ingress) ingress.push_back({{"ip", address.text()}, {"ipMode", "VIP"}});
    metadata["annotations"] = {{"metallb.io/ip-allocated-from-pool", order.pool}};
    balancer["ingress"] = ingress;
  }
  return request(Verb::merge_patch, service_path(order.service) + "/status", {{"metadata", metadata}, {"status", {{"loadBalancer", balancer}}}});
}

ApiRequest read_service(const ObjectName& name) {
  return request(Verb::get, service_path(name));
}

bool still_there(const ApiAnswer& answer, const std::string& uid) {
  if (answer.gone()) return false;
  if (!answer.good()) return true;
  const Json service = Json::parse(answer.body, nullptr, false);
  const auto text = [&service](const char* part, const char* field) -> std::string {
    const auto found = service.find(part);
    if (found == service.end() || !found->is_object()) return {};
    const auto value = found->find(field);
    return value == found->end() || !value->is_string() ? std::string() : value->get<std::string>();
  };
  if (!service.is_object() || text("metadata", "uid").empty()) return true;
  return text("metadata", "uid") == uid && text("spec", "type") == "LoadBalancer";
}

ApiRequest write_event(const ApiWriter& writer, const ServiceNotice& notice, std::uint64_t now_us) {
  const std::string now = micro_time(now_us);
  const std::string seconds = second_time(now_us);
  const Json body{
      {"apiVersion", "v1"},
      {"kind", "Event"},
      {"metadata",
       {{"name", notice.service.name.substr(0, 200) + "." + short_hash(notice.message + notice.uid + now)}, {"namespace", notice.service.ns}}},
      {"involvedObject",
       {{"apiVersion", "v1"}, {"kind", "Service"}, {"namespace", notice.service.ns}, {"name", notice.service.name}, {"uid", notice.uid}}},
      {"type", notice.warning ? "Warning" : "Normal"},
      {"reason", notice.reason},
      {"message", notice.message.substr(0, 1024)},
      {"source", {{"component", kComponent}, {"host", writer.node}}},
      {"reportingComponent", kComponent},
      {"reportingInstance", writer.pod_name.empty() ? writer.node : writer.pod_name},
      {"firstTimestamp", seconds},
      {"lastTimestamp", seconds},
      {"count", 1}};
  return request(Verb::create, "/api/v1/namespaces/" + notice.service.ns + "/events", body);
}

std::string l2_status_name(const ApiWriter& writer, const ObjectName& service) {
  return "l2-" + short_hash(writer.node + "#" + service.text());
}

ApiRequest make_l2_status(const ApiWriter& writer, const ObjectName& service) {
  Json metadata{{"name", l2_status_name(writer, service)}, {"namespace", writer.ns}};
  add_label(metadata, "metallb.io/node", writer.node);
  add_label(metadata, "metallb.io/service-name", service.name);
  add_label(metadata, "metallb.io/service-namespace", service.ns);
  owned_by_pod(metadata, writer);
  return request(Verb::create, l2_path(writer, {}),
                 {{"apiVersion", "metallb.io/v1beta1"}, {"kind", "ServiceL2Status"}, {"metadata", metadata}, {"spec", Json::object()}});
}

ApiRequest fill_l2_status(const ApiWriter& writer, const ObjectName& service, const std::vector<std::string>& interfaces) {
  Json status{{"node", writer.node}, {"serviceName", service.name}, {"serviceNamespace", service.ns}};
  if (!interfaces.empty()) {
    Json list = Json::array();
    for (const std::string& name : interfaces) list.push_back({{"name", name}});
    status["interfaces"] = list;
  }
  return request(Verb::merge_patch, l2_path(writer, l2_status_name(writer, service)) + "/status", {{"status", status}});
}

ApiRequest remove_l2_status(const ApiWriter& writer, const std::string& name, const ApiIdentity& identity) {
  ApiRequest made = removal(l2_path(writer, name), identity);
  made.only_version.clear();  // its status is filled after it was made; whichever it is, it goes
  return made;
}

std::string configuration_state_name(const ApiWriter& writer, Reporter reporter) {
  if (reporter == Reporter::allocator) return "controller";
  const std::string name = "speaker-" + writer.node;
  return name.size() <= kLongestName ? name : "speaker-" + short_hash(writer.node);
}

namespace {

std::string configuration_path(const ApiWriter& writer, Reporter reporter) {
  return kMetalLb + writer.ns + "/configurationstates/" + configuration_state_name(writer, reporter);
}

Json configuration_state(const Json& metadata) {
  return {{"apiVersion", "metallb.io/v1beta1"}, {"kind", "ConfigurationState"}, {"metadata", metadata}};
}

}  // namespace

// By server-side apply: whoever leads next takes it over as it is, its owner included.
ApiRequest make_configuration_state(const ApiWriter& writer, Reporter reporter) {
  Json metadata{{"name", configuration_state_name(writer, reporter)}, {"namespace", writer.ns}};
  add_label(metadata, "metallb.io/component-type", reporter == Reporter::allocator ? "controller" : "speaker");
  if (reporter == Reporter::node) add_label(metadata, "metallb.io/node-name", writer.node);
  owned_by_pod(metadata, writer);
  return request(Verb::apply_patch, configuration_path(writer, reporter), configuration_state(metadata));
}

ApiRequest fill_configuration_state(const ApiWriter& writer, Reporter reporter, const std::string& problem,
                                    std::uint64_t since_1970_us) {
  const bool valid = problem.empty();
  const std::string message = problem.substr(0, kLongestMessage);
  Json body = configuration_state({{"name", configuration_state_name(writer, reporter)}, {"namespace", writer.ns}});
  body["status"] = {{"result", valid ? "Valid" : "Invalid"},
                    {"conditions",
                     {{{"type", reporter == Reporter::allocator ? "poolReconcilerValid" : "configReconcilerValid"},
                       {"status", valid ? "True" : "False"},
                       {"reason", valid ? "Reconciled" : "ConfigurationInvalid"},
                       {"message", message},
                       {"lastTransitionTime", second_time(since_1970_us)}}}}};
  if (!valid) body["status"]["errorSummary"] = message;
  return request(Verb::apply_patch, configuration_path(writer, reporter) + "/status", body);
}

PoolCounts count(const Pool& pool, const Assignments& held) {
  PoolCounts counts;
  std::set<Address> assigned;  // one shared by several counts once
  for (const auto& [name, assignment] : held)
    for (const Address& address : assignment.addresses)
      if (holds(pool, address)) assigned.insert(address);
  for (const Address& address : assigned) ++(address.family() == Family::ipv4 ? counts.assigned4 : counts.assigned6);
  std::uint64_t total4 = 0, total6 = 0;
  for (const AddressRange& range : pool.ranges) {
    std::uint64_t& total = range.first.family() == Family::ipv4 ? total4 : total6;
    total = std::min(kMost, total + std::min(kMost, range.size()));
  }
  counts.available4 = total4 - std::min(total4, counts.assigned4);
  counts.available6 = total6 - std::min(total6, counts.assigned6);
  return counts;
}

ApiRequest write_pool_status(const ObjectName& pool, const PoolCounts& counts) {
  return request(Verb::merge_patch, std::string(kMetalLb) + pool.ns + "/ipaddresspools/" + pool.name + "/status",
                 {{"status",
                   {{"assignedIPv4", counts.assigned4},
                    {"assignedIPv6", counts.assigned6},
                    {"availableIPv4", counts.available4},
                    {"availableIPv6", counts.available6}}}});
}

}  // namespace xlb
