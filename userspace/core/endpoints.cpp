// SPDX-License-Identifier: Apache-2.0
// Who gets new flows: ready endpoints; when there is none, those that are terminating but still serve. Everybody else
// who is still listed *drains*: keeps the TCP connections that it has and gets no new one, as with kube-proxy. Who is not
// listed any more does so while its pod runs (tables.cpp). A UDP flow has no end, so it is kept only while the endpoint
// serves. With policy Local each node has but its own, so it is asked of those whether one is ready: a node whose last
// pod is terminating keeps the address, and the connections to that pod, until the pod has gone.
//
// An endpoint that names another node is reached through that node, when it is a peer: its own programs find the pod.
#include "userspace/core/endpoints.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace xlb {
namespace {

std::optional<std::uint16_t> number(const std::string& text) {
  std::uint16_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A slice names its ports as the service does. A slice written by hand may instead name them as targetPort does, or
// have a port with the number of targetPort (of the service's port when that is absent). One without ports stands for
// all.
std::optional<std::uint16_t> target_port(const ServicePort& port, const EndpointSlice& slice) {
  const std::optional<std::uint16_t> wanted = port.target.empty() ? port.port : number(port.target);
  const auto find = [&](const auto& suits) -> std::optional<std::uint16_t> {
    std::optional<std::uint16_t> found;
    for (const EndpointPort& candidate : slice.ports) {
      if (candidate.protocol != port.protocol || !suits(candidate)) continue;
      if (!found || candidate.port == wanted) found = candidate.port;
    }
    return found;
  };
  if (slice.ports.empty()) return wanted;
  if (const auto found = find([&](const EndpointPort& candidate) { return candidate.name == port.name; }))
    return found;
  if (!wanted) return find([&](const EndpointPort& candidate) { return candidate.name == port.target; });
  return find([&](const EndpointPort& candidate) { return candidate.port == *wanted; });
}

enum class Standing : std::uint8_t { ready, serving, draining };

Standing standing_of(const Endpoint& endpoint, bool publish_not_ready) {
  if (publish_not_ready || (endpoint.ready && !endpoint.terminating)) return Standing::ready;
  return endpoint.serving && endpoint.terminating ? Standing::serving : Standing::draining;
}

std::optional<Address> address_of(const Endpoint& endpoint, Family family) {
  for (const Address& address : endpoint.addresses) {
    if (address.family() == family) return address;
  }
  return std::nullopt;
}

bool loopback(const Address& address) {
  if (address.family() == Family::ipv4) return address.bytes[12] == 127;
  Address one;
  one.bytes[15] = 1;
  return address == one;
}

// Why flows cannot be handed to that node; empty: they can.
std::string obstacle_of_node(const std::string& node, const std::vector<DesiredPeer>& peers) {
  const auto peer = std::find_if(peers.begin(), peers.end(), [&](const DesiredPeer& one) { return one.name == node; });
  if (peer == peers.end()) return "is on node " + node + ", which is no peer of this node";
  if (peer->macs.empty()) return "is on node " + node + ", which has not been heard of yet";
  return {};
}

// Why this node cannot send flows there; empty: it can. `node`: empty for this one.
std::string obstacle(const std::string& node, const Address& address, const std::vector<DesiredPeer>& peers,
                     const std::set<Address>& vips, const Place& place) {
  if (vips.contains(address)) return "is a VIP itself";
  if (loopback(address)) return "is a loopback address, which no packet from the LAN can reach";
  if (address.unspecified()) return "is the unspecified address";
  if (!node.empty()) return obstacle_of_node(node, peers);
  if (place.kind == Place::Kind::absent) {
    return place.reason.empty() ? "is not found on this node" : "is not found on this node: " + place.reason;
  }
  return {};
}

const Place no_place;
const std::string not_ill;

// Small, because there are many and they are sorted: what it points to stays where it was declared and found.
struct Candidate {
  Address address;
  std::uint16_t port = 0;
  Standing standing = Standing::draining;
  bool here = false;  // on this node
  bool kernel_path = false;
  const std::string* node = nullptr;
  const Place* place = &no_place;
  const std::string* ill = &not_ill;

  [[nodiscard]] DesiredBackend backend(Protocol protocol, Standing taking) const {
    return {address, port, protocol, *place, kernel_path, standing != taking, *ill, *node};
  }
};

// What one pass over the slices of a service finds for one of its ports.
struct Found {
  std::vector<Candidate> candidates;
  std::vector<std::string> left_out;
  std::vector<std::string> ill;
  std::size_t listed = 0;  // endpoints of the VIP's family
  bool has_port = false;   // some slice has the port
};

bool by_endpoint(const Candidate& a, const Candidate& b) {
  if (a.address != b.address) return a.address < b.address;
  if (a.port != b.port) return a.port < b.port;
  return a.standing < b.standing;  // listed twice: the better one counts
}

bool same_endpoint(const Candidate& a, const Candidate& b) {
  return a.address == b.address && a.port == b.port;
}

class Search {
 public:
  Search(const Service& service, const ServicePort& port, Family family, const Machine& machine,
         const std::set<Address>& vips, const std::vector<DesiredPeer>& peers)
      : service_(service), port_(port), family_(family), machine_(machine), vips_(vips), peers_(peers) {}

  Found run(std::span<const std::shared_ptr<const EndpointSlice>> slices) {
    for (const auto& slice : slices) {
      const auto target = target_port(port_, *slice);
      if (!target || *target == 0) continue;
      found_.has_port = true;
      found_.candidates.reserve(found_.candidates.size() + slice->endpoints.size());
      for (const Endpoint& endpoint : slice->endpoints) consider(endpoint, *target);
    }
    if (!std::is_sorted(found_.candidates.begin(), found_.candidates.end(), by_endpoint))
      std::sort(found_.candidates.begin(), found_.candidates.end(), by_endpoint);
    const auto end = std::unique(found_.candidates.begin(), found_.candidates.end(), same_endpoint);
    found_.candidates.erase(end, found_.candidates.end());
    return std::move(found_);
  }

 private:
  void consider(const Endpoint& endpoint, std::uint16_t target) {
    const auto address = address_of(endpoint, family_);
    if (!address) return;
    ++found_.listed;
    Candidate candidate;
    candidate.standing = standing_of(endpoint, service_.publish_not_ready);
    if (service_.health) {
      const auto ill = machine_.ill.find(health_target(*service_.health, *address, target));
      if (ill != machine_.ill.end()) {
        // As an endpoint that says of itself that it is not ready.
        candidate.standing = Standing::draining;
        candidate.ill = &ill->second;
        found_.ill.push_back(ill->second);
      }
    }
    const bool never_ends = port_.protocol == Protocol::udp && (!endpoint.serving || !candidate.ill->empty());
    if (candidate.standing == Standing::draining && never_ends) return;
    candidate.address = *address;
    candidate.port = target;
    candidate.node = endpoint.node.empty() ? &machine_.node_name : &endpoint.node;
    const bool here = *candidate.node == machine_.node_name;
    if (here) {
      if (const auto place = machine_.places.find(*address); place != machine_.places.end()) candidate.place = &place->second;
    }
    const Place& place = *candidate.place;
    if (const std::string why = obstacle(here ? "" : *candidate.node, *address, peers_, vips_, place); !why.empty()) {
      found_.left_out.push_back(address->text() + " " + why);
      return;
    }
    candidate.here = here;
    const bool fast = place.kind == Place::Kind::pod && place.veth_ifindex != 0;
    const bool policed = service_.path == Path::automatic && machine_.policed->contains(*address);
    candidate.kernel_path = here && (service_.path == Path::kernel || policed || (!fast && place.kind != Place::Kind::host));
    found_.candidates.push_back(candidate);
  }

  const Service& service_;
  const ServicePort& port_;
  Family family_;
  const Machine& machine_;
  const std::set<Address>& vips_;
  const std::vector<DesiredPeer>& peers_;
  Found found_;
};

std::string why_nobody_takes_flows(const Found& found, const ServicePort& port, Family family) {
  const std::string family_name = family == Family::ipv4 ? "IPv4" : "IPv6";
  if (!found.has_port) {
    return "no EndpointSlice of it has a port for " + std::string(protocol_text(port.protocol)) + "/" +
           std::to_string(port.port) + (port.name.empty() ? "" : " (" + port.name + ")");
  }
  if (found.listed == 0) return "its EndpointSlices list no " + family_name + " endpoint";
  if (!found.ill.empty() && found.ill.size() + found.left_out.size() == found.listed) {
    const std::size_t more = found.listed - 1;
    return found.ill.front() + (more == 0 ? "" : " (and " + std::to_string(more) + " more that take no flows)");
  }
  if (found.left_out.empty())
    return "none of its " + std::to_string(found.listed) + " " + family_name + " endpoint(s) is ready";
  const std::size_t more = found.left_out.size() - 1;
  return found.left_out.front() + (more == 0 ? "" : " (and " + std::to_string(more) + " more)");
}

}  // namespace

SlicesByService::SlicesByService(const SharedList<EndpointSlice>& slices) : slices_(slices.pointers()) {
  const auto by_service = [](const auto& a, const auto& b) { return key_of(*a) < key_of(*b); };
  if (!std::is_sorted(slices_.begin(), slices_.end(), by_service)) std::stable_sort(slices_.begin(), slices_.end(), by_service);
}

std::span<const std::shared_ptr<const EndpointSlice>> SlicesByService::of(const ObjectName& service) const {
  struct Order {
    bool operator()(const std::shared_ptr<const EndpointSlice>& slice, const Key& key) const { return key_of(*slice) < key; }
    bool operator()(const Key& key, const std::shared_ptr<const EndpointSlice>& slice) const { return key < key_of(*slice); }
  };
  const auto [first, last] = std::equal_range(slices_.begin(), slices_.end(), Key(service.ns, service.name), Order());
  return {first, last};
}

PortBackends find_backends(const Service& service, const ServicePort& port, Family family,
                           const SlicesByService& slices, const Machine& machine, const std::set<Address>& vips,
                           const std::vector<DesiredPeer>& peers) {
  PortBackends result;
  const auto own_slices = slices.of(service.name);
  if (own_slices.empty()) {
    result.empty_reason = "no EndpointSlice is labelled kubernetes.io/service-name: " + service.name.name;
    return result;
  }
  Found found = Search(service, port, family, machine, vips, peers).run(own_slices);
  const auto have = [&](Standing standing, bool only_here) {
    return std::any_of(found.candidates.begin(), found.candidates.end(), [&](const Candidate& candidate) {
      return candidate.standing == standing && (candidate.here || !only_here);
    });
  };
  const bool local = service.policy == TrafficPolicy::local;
  const Standing taking = have(Standing::ready, false) ? Standing::ready : Standing::serving;
  const Standing taking_here = local ? (have(Standing::ready, true) ? Standing::ready : Standing::serving) : taking;
  if (!have(taking, false)) {
    result.empty_reason = why_nobody_takes_flows(found, port, family);
  } else if (local && !have(taking_here, true)) {
    result.empty_reason = "none of its endpoints that take flows is on this node, as externalTrafficPolicy Local asks";
  }
  result.backends.reserve(found.candidates.size());
  for (const Candidate& candidate : found.candidates)
    result.backends.push_back(candidate.backend(port.protocol, candidate.here ? taking_here : taking));
  result.left_out = std::move(found.left_out);
  return result;
}

}  // namespace xlb
