// SPDX-License-Identifier: Apache-2.0
// Service (v1) with the annotations of MetalLB and our own.
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "userspace/core/object_fields.hpp"
#include "userspace/core/text.hpp"

namespace xlb {

namespace {

constexpr std::uint32_t kDefaultAffinity_s = 10800;  // of Kubernetes: three hours
constexpr std::uint32_t kMaxAffinity_s = 86400;

// The annotation, or its spelling of before MetalLB 0.15, under metallb.universe.tf.
Field annotation(const Field& annotations, std::string_view key) {
  const Field now = annotations[key];
  std::string_view old_key;
  if (key == kIpsAnnotation) old_key = "metallb.universe.tf/loadBalancerIPs";
  if (key == kPoolAnnotation) old_key = "metallb.universe.tf/address-pool";
  if (key == kSharingAnnotation) old_key = "metallb.universe.tf/allow-shared-ip";
  const Field old = annotations[old_key];
  if (!old.present()) return now;
  if (now.present()) {
    old.warn("deprecated spelling, and ignored because " + std::string(key) + " is there too: remove it");
    return now;
  }
  old.warn("deprecated spelling: write " + std::string(key));
  return old;
}

void check_annotation_names(const Field& annotations) {
  const std::vector<std::string_view> ours = {kHealthAnnotation, kPathAnnotation, kUnknownPortsAnnotation};
  const std::vector<std::string_view> metallb = {kIpsAnnotation, kPoolAnnotation, kSharingAnnotation,
                                                 kAllocatedFromAnnotation};
  for (const auto& [key, field] : annotations.entries()) {
    const bool own = key.starts_with("xdp-lb.io/");
    const auto& known = own ? ours : metallb;
    if (!own && !key.starts_with("metallb.io/")) continue;
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string_view meant = nearest(key, known);
    const std::string advice = meant.empty() ? "" : ": did you mean " + std::string(meant) + "?";
    if (own && !field.reading().allows_unknown()) {
      field.fail("unknown annotation" +
                 (advice.empty() ? ": known are " + std::string(kHealthAnnotation) + ", " +
                                       std::string(kPathAnnotation) + " and " + std::string(kUnknownPortsAnnotation)
                                 : advice));
    } else {
      field.warn("unknown annotation, ignored" + advice);
    }
  }
}

std::vector<Address> read_annotated_ips(const Field& field) {
  const std::string text = field.text();
  std::vector<Address> out;
  if (text.empty()) return out;
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    parts.emplace_back(trimmed(std::string_view(text).substr(begin, comma - begin)));
    begin = comma + 1;
  }
  for (const std::string& part : parts) {
    const Result<Address> address = parse_address(part);
    if (!address) {
      field.fail("invalid " + std::string(kIpsAnnotation) + ": " + in_quotes(std::string_view(text)) +
                 ": write one address, or one of each family with a comma between them");
      return {};
    }
    out.push_back(*address);
  }
  if (out.size() > 2) {
    field.fail("more than two addresses " + in_quotes(parts) + ": keep one of each family");
  } else if (out.size() == 2 && out[0].family() == out[1].family()) {
    field.fail(in_quotes(std::string_view(parts[0])) + " " + in_quotes(std::string_view(parts[1])) +
               " has the same family: keep one of them");
  }
  return out;
}

std::vector<Address> read_requested(const Field& annotations, const Field& spec) {
  const Field annotated = annotation(annotations, kIpsAnnotation);
  const Field field = spec["loadBalancerIP"];
  const std::string text = field.text();
  if (text.empty()) return read_annotated_ips(annotated);
  if (!annotated.text().empty()) {
    annotated.fail(
        "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP: keep the annotation");
    return {};
  }
  const Result<Address> address = parse_address(text);
  if (!address) {
    field.fail("invalid spec.loadBalancerIP " + in_quotes(std::string_view(text)) + ": write one address");
    return {};
  }
  return {*address};
}

// IANA service name (RFC 6335, 5.1).
bool is_port_name(std::string_view name) {
  if (name.empty() || name.size() > 15 || name.front() == '-' || name.back() == '-') return false;
  bool letter = false;
  char before = ' ';
  for (const char c : name) {
    const bool small = c >= 'a' && c <= 'z';
    if (!small && !(c >= '0' && c <= '9') && c != '-') return false;
    if (c == '-' && before == '-') return false;
    letter = letter || small;
    before = c;
  }
  return letter;
}

std::string read_target(const Field& field) {
  if (!field.present()) return {};
  if (field.number()) return std::to_string(field.integer(1, 65535, 1));
  std::string name = field.text();
  if (!is_port_name(name)) {
    const bool digits = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
    field.fail("invalid target port " + in_quotes(std::string_view(name)) +
               (digits ? ": remove the quotes"
                       : ": write a number, or the name of a port: at most 15 small letters, digits and '-'"));
  }
  return name;
}

std::vector<ServicePort> read_ports(const Field& list) {
  std::vector<ServicePort> ports;
  const std::vector<Field> items = list.items();
  std::set<std::string> names;
  std::set<std::pair<Protocol, std::uint16_t>> taken;
  for (const Field& item : items) {
    ServicePort port;
    port.name = item["name"].text();
    port.protocol = read_protocol(item["protocol"]);
    port.port = read_port(item["port"]);
    port.target = read_target(item["targetPort"]);
    if (items.size() > 1 && port.name.empty()) {
      item["name"].fail("missing: each port of a Service with several has a name");
    }
    if (!port.name.empty() && !names.insert(port.name).second) {
      item["name"].fail("the name " + in_quotes(std::string_view(port.name)) +
                        " stands on another port of this Service: change one");
    }
    if (!taken.insert({port.protocol, port.port}).second) {
      item["port"].fail("port " + std::to_string(port.port) + "/" + (port.protocol == Protocol::tcp ? "TCP" : "UDP") +
                        " is listed twice: remove one");
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

std::vector<Prefix> read_source_ranges(const Field& list) {
  std::vector<Prefix> ranges;
  for (const Field& item : list.items()) {
    const std::string text = item.required_text("an entry of loadBalancerSourceRanges is a CIDR");
    if (text.empty()) continue;
    bool masked = false;
    const Result<Prefix> prefix = parse_prefix(trimmed(text), &masked);
    if (!prefix) {
      item.fail("invalid CIDR " + in_quotes(std::string_view(text)) +
                ": write 192.168.0.0/24, or /32 for one address");
      continue;
    }
    if (masked) item.warn(in_quotes(std::string_view(text)) + " is the whole of " + prefix->text());
    ranges.push_back(*prefix);
  }
  return ranges;
}

void read_families(const Field& spec, Service& service) {
  for (const Field& item : spec["ipFamilies"].items()) {
    const Family family = item.word({"IPv4", "IPv6"}, 0) == 0 ? Family::ipv4 : Family::ipv6;
    if (std::find(service.families.begin(), service.families.end(), family) != service.families.end()) {
      item.fail("this family is listed twice: remove one");
    }
    service.families.push_back(family);
  }
  const Field policy = spec["ipFamilyPolicy"];
  service.family_policy =
      static_cast<FamilyPolicy>(policy.word({"SingleStack", "PreferDualStack", "RequireDualStack"}, 0));
  if (service.families.size() > 1 && service.family_policy == FamilyPolicy::single) {
    policy.fail("two ipFamilies need PreferDualStack or RequireDualStack here");
  }
}

void read_affinity(const Field& spec, Service& service) {
  if (spec["sessionAffinity"].word({"None", "ClientIP"}, 0) == 0) return;
  const Field timeout = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
  service.affinity_s = static_cast<std::uint32_t>(timeout.integer(1, kMaxAffinity_s, kDefaultAffinity_s));
}

}  // namespace

Service read_service(const ObjectName& name, Reading& reading, std::string* contradiction) {
  const Field root = reading.root();
  const Field spec = root["spec"];
  const Field annotations = root["metadata"]["annotations"];
  check_annotation_names(annotations);
  Service service;
  service.name = name;
  service.labels = read_labels(root["metadata"]["labels"]);
  constexpr std::array<const char*, 4> types = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
  const Field type = spec["type"];
  service.type = types[type.word({"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}, 0)];
  if (service.type != "LoadBalancer") {
    type.warn((type.present() ? "a Service of type " + service.type
                              : std::string("missing, which means ClusterIP: such a Service")) +
              " gets no address: write type: LoadBalancer");
  }
  service.load_balancer_class = spec["loadBalancerClass"].text();
  service.ports = read_ports(spec["ports"]);
  if (service.ports.empty() && service.type == "LoadBalancer")
    spec["ports"].fail("missing: a Service has at least one port");
  service.selector = read_labels(spec["selector"]);
  if (contradiction == nullptr) {
    service.requested = read_requested(annotations, spec);
  } else {
    Reading apart = reading.apart();
    service.requested = read_requested(apart.root()["metadata"]["annotations"], apart.root()["spec"]);
    *contradiction = apart.sentence();
    if (apart.error()) service.requested.clear();
    for (std::string& warning : apart.warnings()) reading.warnings().push_back(std::move(warning));
  }
  service.pool = annotation(annotations, kPoolAnnotation).text();
  service.sharing_key = annotation(annotations, kSharingAnnotation).text();
  read_families(spec, service);
  service.policy = spec["externalTrafficPolicy"].word({"Cluster", "Local"}, 0) == 0 ? TrafficPolicy::cluster
                                                                                    : TrafficPolicy::local;
  read_affinity(spec, service);
  service.source_ranges = read_source_ranges(spec["loadBalancerSourceRanges"]);
  const Field path = annotations[kPathAnnotation];
  if (path.present()) service.path = path.word({"fast", "kernel"}, 0) == 0 ? Path::fast : Path::kernel;
  service.unknown_ports =
      static_cast<UnknownPorts>(annotations[kUnknownPortsAnnotation].word({"reject", "drop", "fallback"}, 0));
  service.publish_not_ready = spec["publishNotReadyAddresses"].boolean(false);
  service.health_check_port = static_cast<std::uint16_t>(spec["healthCheckNodePort"].integer(0, 65535, 0));
  if (const Field health = annotations[kHealthAnnotation]; health.present()) {
    auto check = parse_health_check(health.text());
    if (check)
      service.health = std::move(*check);
    else
      health.fail(check.error().text);
  }
  return service;
}

}  // namespace xlb
