// SPDX-License-Identifier: Apache-2.0
// Who gets new flows: ready endpoints; when there is none, those that are terminating but still serve. Everybody else
// who is still listed *drains*: keeps the TCP connections that it has and gets no new one, as with kube-proxy, which
// forgets a connection only when the endpoint leaves the slice. A UDP flow has no end, so it is kept only while the
// endpoint serves.
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

// Why this node cannot send flows there; empty: it can.
std::string obstacle(const Endpoint& endpoint, const Address& address, const Machine& machine,
                     const std::set<Address>& vips, const Place& place) {
  if (!endpoint.node.empty() && endpoint.node != machine.node_name) {
    return "is on node " + endpoint.node + ", and flows are only given to backends on this node, " +
           machine.node_name;
  }
  if (vips.contains(address)) return "is a VIP itself";
  if (loopback(address)) return "is a loopback address, which no packet from the LAN can reach";
  if (address.unspecified()) return "is the unspecified address";
  if (place.kind == Place::Kind::absent) {
    return place.reason.empty() ? "is not found on this node" : "is not found on this node: " + place.reason;
  }
  return {};
}

struct Candidate {
  DesiredBackend backend;
  Standing standing = Standing::draining;
};

bool by_endpoint(const Candidate& a, const Candidate& b) {
  if (a.backend.address != b.backend.address) return a.backend.address < b.backend.address;
  if (a.backend.port != b.backend.port) return a.backend.port < b.backend.port;
  return a.standing < b.standing;  // listed twice: the better one counts
}

bool same_endpoint(const Candidate& a, const Candidate& b) {
  return a.backend.address == b.backend.address && a.backend.port == b.backend.port;
}

}  // namespace

SlicesByService slices_by_service(const std::vector<EndpointSlice>& slices) {
  SlicesByService result;
  for (const EndpointSlice& slice : slices) result[{slice.name.ns, slice.service}].push_back(&slice);
  return result;
}

PortBackends find_backends(const Service& service, const ServicePort& port, Family family,
                           const SlicesByService& slices, const Machine& machine, const std::set<Address>& vips) {
  PortBackends result;
  const auto own_slices = slices.find(service.name);
  if (own_slices == slices.end()) {
    result.empty_reason = "no EndpointSlice is labelled kubernetes.io/service-name: " + service.name.name;
    return result;
  }
  std::vector<Candidate> candidates;
  std::size_t listed = 0;
  bool port_found = false;
  for (const EndpointSlice* slice : own_slices->second) {
    const auto target = target_port(port, *slice);
    if (!target || *target == 0) continue;
    port_found = true;
    for (const Endpoint& endpoint : slice->endpoints) {
      const auto address = address_of(endpoint, family);
      if (!address) continue;
      ++listed;
      Candidate candidate;
      candidate.standing = standing_of(endpoint, service.publish_not_ready);
      const bool forgets = port.protocol == Protocol::udp && !endpoint.serving;
      if (candidate.standing == Standing::draining && forgets) continue;
      DesiredBackend& backend = candidate.backend;
      backend.address = *address;
      backend.port = *target;
      backend.protocol = port.protocol;
      backend.node = endpoint.node.empty() ? machine.node_name : endpoint.node;
      if (const auto place = machine.places.find(*address); place != machine.places.end())
        backend.place = place->second;
      if (const std::string why = obstacle(endpoint, *address, machine, vips, backend.place); !why.empty()) {
        result.left_out.push_back(address->text() + " " + why);
        continue;
      }
      const bool fast = backend.place.kind == Place::Kind::pod && backend.place.veth_ifindex != 0;
      backend.kernel_path = service.path == Path::kernel || (!fast && backend.place.kind != Place::Kind::host);
      candidates.push_back(std::move(candidate));
    }
  }
  std::sort(candidates.begin(), candidates.end(), by_endpoint);
  candidates.erase(std::unique(candidates.begin(), candidates.end(), same_endpoint), candidates.end());

  const auto have = [&](Standing standing) {
    return std::any_of(candidates.begin(), candidates.end(), [&](const auto& c) { return c.standing == standing; });
  };
  const Standing taking = have(Standing::ready) ? Standing::ready : Standing::serving;
  const bool any_takes = have(taking);
  for (Candidate& candidate : candidates) {
    candidate.backend.draining = candidate.standing != taking;
    result.backends.push_back(std::move(candidate.backend));
  }
  if (any_takes) return result;

  const std::string family_name = family == Family::ipv4 ? "IPv4" : "IPv6";
  if (!port_found) {
    result.empty_reason = "no EndpointSlice of it has a port for " + std::string(protocol_text(port.protocol)) + "/" +
                          std::to_string(port.port) + (port.name.empty() ? "" : " (" + port.name + ")");
  } else if (listed == 0) {
    result.empty_reason = "its EndpointSlices list no " + family_name + " endpoint";
  } else if (result.left_out.empty()) {
    result.empty_reason = "none of its " + std::to_string(listed) + " " + family_name + " endpoint(s) is ready";
  } else {
    result.empty_reason = result.left_out.front();
    if (result.left_out.size() > 1)
      result.empty_reason += " (and " + std::to_string(result.left_out.size() - 1) + " more)";
  }
  return result;
}

}  // namespace xlb
