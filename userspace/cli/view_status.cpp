// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <arpa/inet.h>

#include "userspace/cli/view.hpp"
#include "userspace/core/allocator.hpp"

namespace xlb {

namespace {

using BackendKey = std::tuple<Address, std::uint16_t, std::uint8_t>;

std::map<BackendKey, lb_backend> installed_backends(const Tables& installed) {
  std::map<BackendKey, lb_backend> result;
  for (const auto& [id, backend] : installed.backends)
    if (backend.flags & XLB_BACKEND_LIVE)
      result[{Address::from_abi(backend.address), ntohs(backend.port), backend.protocol}] = backend;
  return result;
}

const char* path_text(const lb_backend& backend) {
  if (!(backend.flags & XLB_BACKEND_LOCAL)) return "peer";
  if (backend.flags & XLB_BACKEND_HOST) return "host";
  if ((backend.flags & XLB_BACKEND_KERNEL) || backend.veth_ifindex == 0) return "kernel";
  return "fast";
}

const char* planned_path_text(const DesiredBackend& backend) {
  switch (backend.place.kind) {
    case Place::Kind::host: return "host";
    case Place::Kind::routed: return "kernel";
    case Place::Kind::pod: return backend.kernel_path ? "kernel" : "fast";
    case Place::Kind::absent: return "none";
  }
  return "none";
}

bool nothing_attached(const Observation& seen) { return seen.attached.empty(); }

// New flows pass it over, whatever its EndpointSlice says.
bool lost_peer(const lb_backend& backend, const Observation& seen) {
  if (backend.node_id == 0) return false;
  const auto peer = seen.installed.peers.find(backend.node_id);
  return peer == seen.installed.peers.end() || !(peer->second.flags & XLB_PEER_ALIVE);
}

Json backend_json(const DesiredBackend& backend, const Observation& seen,
                  const std::map<BackendKey, lb_backend>& installed) {
  const auto row = installed.find({backend.address, backend.port, static_cast<std::uint8_t>(backend.protocol)});
  const bool in_force = row != installed.end();
  const bool lost = in_force && lost_peer(row->second, seen);
  const bool healthy = nothing_attached(seen) ? backend.place.kind != Place::Kind::absent && !backend.draining
                                              : in_force && !(row->second.flags & XLB_BACKEND_DRAINING) && !lost;
  const std::string& found = backend.ill.empty() ? backend.place.reason : backend.ill;
  const std::string reason = lost ? "node " + backend.node + " is lost" : found;
  return {{"address", backend.address.text()},
          {"port", backend.port},
          {"protocol", protocol_text(backend.protocol)},
          {"node", backend.node.empty() ? seen.machine.node_name : backend.node},
          {"path", in_force ? path_text(row->second) : planned_path_text(backend)},
          {"healthy", healthy},
          {"draining", backend.draining},
          {"interface", backend.place.veth_name},
          {"reason", reason}};
}

Json service_json(const DesiredService& service, const Observation& seen,
                  const std::map<BackendKey, lb_backend>& installed) {
  Json ports = Json::array(), backends = Json::array();
  std::string reason;
  for (const DesiredPort& port : service.ports) {
    ports.push_back({{"port", port.port}, {"protocol", protocol_text(port.protocol)}, {"reason", port.empty_reason}});
    if (reason.empty()) reason = port.empty_reason;
    for (const DesiredBackend& backend : port.backends) {
      Json entry = backend_json(backend, seen, installed);
      if (std::find(backends.begin(), backends.end(), entry) == backends.end()) backends.push_back(std::move(entry));
    }
  }
  return {{"name", service.name.text()}, {"vip", service.vip.text()}, {"ports", ports}, {"backends", backends},
          {"reason", reason}};
}

// Declared, but without an address: no DesiredService speaks of it.
Json refused_json(const ObjectName& name, const std::string& refusal, const Objects& objects) {
  Json ports = Json::array();
  for (const Service& service : objects.services)
    if (service.name == name)
      for (const ServicePort& port : service.ports)
        ports.push_back({{"port", port.port}, {"protocol", protocol_text(port.protocol)}, {"reason", ""}});
  return {{"name", name.text()}, {"vip", ""}, {"ports", ports}, {"backends", Json::array()}, {"reason", refusal}};
}

// Of a VIP that another node may have: who, and why not this one.
void add_owner(Json& vip, const Json& cluster) {
  if (cluster.is_null() || vip.at("owned").get<bool>()) return;
  for (const Json& told : cluster.at("vips")) {
    if (told.at("vip") != vip.at("address")) continue;
    vip["owner"] = told.at("owner");
    vip["reason"] = told.at("reason");
  }
}

// As the tables say: it is what they hold that keeps the other one silent.
void add_taken_over(Json& vip, const lb_vip* row) {
  const bool taken = row != nullptr && (row->flags & XLB_VIP_TAKEN_OVER) != 0;
  vip["taken_over"] = taken;
  if (!taken) return;
  const auto reason = vip.at("reason").get<std::string>();
  vip["reason"] = (reason.empty() ? "" : reason + "; ") + "taken over from MetalLB, which is kept silent about it";
}

Json vips_json(const Observation& seen, const Judgement& judged, const Json& cluster) {
  Json vips = Json::array();
  std::set<Address> declared;
  const auto owned_now = [&](const Address& address) {
    const auto row = seen.installed.vips.find(address);
    return row != seen.installed.vips.end() && row->second.owned_epoch == seen.node.epoch && !nothing_attached(seen);
  };
  for (const DesiredVip& vip : judged.desired.vips) {
    declared.insert(vip.address);
    const bool owned = owned_now(vip.address);
    Json services = Json::array();
    for (const ObjectName& name : vip.services) services.push_back(name.text());
    vips.push_back({{"address", vip.address.text()},
                    {"pool", vip.pool},
                    {"owner", owned ? seen.machine.node_name : ""},
                    {"owned", owned},
                    {"services", services},
                    {"links", vip.links},
                    {"reason", vip.reason}});
    add_owner(vips.back(), cluster);
    const auto row = seen.installed.vips.find(vip.address);
    add_taken_over(vips.back(), row == seen.installed.vips.end() ? nullptr : &row->second);
  }
  for (const auto& [address, row] : seen.installed.vips) {
    if (declared.contains(address)) continue;
    const bool owned = owned_now(address);
    vips.push_back({{"address", address.text()},
                    {"pool", ""},
                    {"owner", owned ? seen.machine.node_name : ""},
                    {"owned", owned},
                    {"services", Json::array()},
                    {"links", Json::array()},
                    {"reason", "in the tables, but no declared service holds it"}});
    add_taken_over(vips.back(), &row);
  }
  return vips;
}

}  // namespace

Json services_json(const Observation& seen, const Judgement& judged) {
  const auto installed = installed_backends(seen.installed);
  Json services = Json::array();
  for (const DesiredService& service : judged.desired.services) services.push_back(service_json(service, seen, installed));
  for (const auto& [name, refusal] : judged.desired.refusals)
    services.push_back(refused_json(name, refusal, seen.objects));
  return services;
}

Json status_json(const Observation& seen, const Judgement& judged, const Json& cluster, std::uint64_t now_mono_ns) {
  Json links = Json::array();
  for (const AttachedLink& link : seen.attached)
    links.push_back({{"name", link.interface},
                     {"mode", attach_mode_text(link.mode)},
                     {"programs", link.programs},
                     {"reason", link.reason}});
  Json conflicts = Json::array();
  for (const auto& [address, who] : seen.state.conflicts)
    conflicts.push_back({{"address", address.text()}, {"reason", who}});
  Json attempt = nullptr;
  if (!nothing_attached(seen) && seen.node.try_mono_ns != 0) {
    const bool over = seen.node.try_mono_ns <= now_mono_ns;
    attempt = {{"over", over}, {"seconds_left", over ? 0 : (seen.node.try_mono_ns - now_mono_ns) / XLB_SECOND_NS}};
  }
  Json warnings = judged.warnings;
  if (seen.state_damage) warnings.push_back(*seen.state_damage);
  const Edits behind = nothing_attached(seen) ? Edits{} : plan(seen.installed, judged.wanted, seen.capacity);
  return {{"node", seen.machine.node_name},
          {"links", links},
          {"draining", !cluster.is_null() && cluster.at("draining").get<bool>()},
          {"vips", vips_json(seen, judged, cluster)},
          {"services", services_json(seen, judged)},
          {"peers", peers_json(seen.objects, seen.machine.node_name, cluster)},
          {"conflicts", conflicts},
          {"try", attempt},
          {"pending_edits", behind.size()},
          {"warnings", warnings}};
}

Json pool_json(const Observation& seen, const Pool& pool) {
  const PoolUsage used = usage(pool, seen.state.held);
  Json addresses = Json::array();
  for (const AddressRange& range : pool.ranges) addresses.push_back(range.text);
  Json holders = Json::array();
  for (const auto& [name, assignment] : seen.state.held) {
    if (assignment.pool != pool.name.name) continue;
    for (const Address& address : assignment.addresses)
      holders.push_back({{"address", address.text()}, {"service", name.text()}});
  }
  return {{"name", pool.name.name},     {"namespace", pool.name.ns},   {"addresses", addresses},
          {"total", used.total},        {"assigned", used.assigned},   {"available", used.available},
          {"auto_assign", pool.auto_assign}, {"avoid_buggy_ips", pool.avoid_buggy_ips}, {"holders", holders}};
}

Json pools_json(const Observation& seen) {
  Json pools = Json::array();
  for (const Pool& pool : seen.objects.pools) pools.push_back(pool_json(seen, pool));
  return pools;
}

}  // namespace xlb
