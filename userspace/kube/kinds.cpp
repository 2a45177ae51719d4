// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/kinds.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "userspace/core/object_fields.hpp"
#include "userspace/kube/percent.hpp"

namespace xlb {

namespace {

constexpr const char* kCore = "/api/v1";
constexpr const char* kMetallb = "/apis/metallb.io/v1beta1";
constexpr std::string_view kOldPrefix = "metallb.universe.tf/";

const std::array<ApiKindInfo, kApiKinds>& table() {
  // What pods and nodes say of containers, images and volumes is most of what they say.
  static const std::array<ApiKindInfo, kApiKinds> kinds = {{
      {"Service", "services", "", kCore, false, false, {"metadata.managedFields"}},
      {"EndpointSlice",
       "endpointslices",
       "discovery.k8s.io",
       "/apis/discovery.k8s.io/v1",
       false,
       false,
       {"metadata.managedFields", "metadata.annotations", "metadata.ownerReferences"}},
      {"Node",
       "nodes",
       "",
       kCore,
       false,
       false,
       {"metadata.managedFields", "metadata.annotations", "status.images", "spec.taints", "spec.podCIDRs"}},
      {"Namespace", "namespaces", "", kCore, false, false, {"metadata.managedFields", "metadata.annotations"}},
      {"Pod",
       "pods",
       "",
       kCore,
       false,
       false,
       {"metadata.managedFields", "metadata.annotations", "spec.containers", "spec.initContainers", "spec.volumes",
        "spec.affinity", "spec.tolerations", "status.containerStatuses", "status.initContainerStatuses",
        "status.conditions"}},
      {"NetworkPolicy",
       "networkpolicies",
       "networking.k8s.io",
       "/apis/networking.k8s.io/v1",
       false,
       false,
       {"metadata.managedFields", "metadata.annotations", "spec.ingress", "spec.egress"}},
      {"IPAddressPool",
       "ipaddresspools",
       "metallb.io",
       kMetallb,
       true,
       true,
       {"metadata.managedFields", "metadata.annotations", "status"}},
      {"L2Advertisement",
       "l2advertisements",
       "metallb.io",
       kMetallb,
       true,
       true,
       {"metadata.managedFields", "metadata.annotations", "status"}},
      {"Lease",
       "leases",
       "coordination.k8s.io",
       "/apis/coordination.k8s.io/v1",
       true,
       false,
       {"metadata.managedFields"}},
      {"ServiceL2Status", "servicel2statuses", "metallb.io", kMetallb, true, true, {"metadata.managedFields"}},
  }};
  return kinds;
}

bool cluster_wide(ApiKind kind) {
  return kind == ApiKind::nodes || kind == ApiKind::namespaces;
}

ApiIdentity read_api_identity(const TreeNode& tree) {
  return {text_at(tree, {"metadata", "uid"}), text_at(tree, {"metadata", "resourceVersion"}),
          !text_at(tree, {"metadata", "deletionTimestamp"}).empty()};
}

// ---- Service
// --------------------------------------------------------------------------------------------------------

void read_ingress(const Field& list, ApiService& api) {
  for (const Field& entry : list.items()) {
    const std::string ip = entry["ip"].text();
    const std::string hostname = entry["hostname"].text();
    if (!hostname.empty()) api.hostnames.push_back(hostname);
    if (ip.empty()) continue;
    if (const auto address = read_address(entry["ip"])) api.ingress.push_back(*address);
    if (const std::string mode = entry["ipMode"].text(); !mode.empty() && mode != "VIP") api.vip_mode = false;
  }
}

void read_cluster_ips(const Field& spec, ApiService& api) {
  std::vector<Field> items = spec["clusterIPs"].items();
  if (items.empty()) items.push_back(spec["clusterIP"]);
  for (const Field& item : items) {
    const std::string text = item.text();
    if (text.empty()) continue;
    if (text == "None") {
      api.headless = true;
    } else if (const auto address = read_address(item)) {
      api.cluster_ips.push_back(*address);
    }
  }
}

// What a server knows of a Service beyond its declaration. A field of it that makes no sense reads as absent.
ApiService read_server_side(const TreeNode& tree, Reading& reading) {
  const Field root = reading.root();
  ApiService api;
  api.identity = read_api_identity(tree);
  read_ingress(root["status"]["loadBalancer"]["ingress"], api);
  read_cluster_ips(root["spec"], api);
  const Field annotations = root["metadata"]["annotations"];
  const std::string old_spelling = std::string(kOldPrefix) + "ip-allocated-from-pool";
  api.allocated_from = annotations[kAllocatedFromAnnotation].text(annotations[old_spelling].text());
  for (const auto& [key, field] : annotations.entries()) {
    if (key.starts_with(kOldPrefix)) api.deprecated.push_back(key);
  }
  std::sort(api.deprecated.begin(), api.deprecated.end());
  return api;
}

void read_api_service(const TreeNode& tree, Reading& reading, ReadObject& object) {
  Reading apart = reading.apart();
  auto read = std::make_shared<ReadService>();
  read->api = read_server_side(tree, apart);
  const bool wants = text_at(tree, {"spec", "type"}) == "LoadBalancer";
  // One that was a LoadBalancer may have something left of that.
  if (!wants && read->api.ingress.empty() && read->api.hostnames.empty() && read->api.allocated_from.empty()) return;
  read->service = read_service(object.name, reading, &read->api.contradiction);
  read->counts = !reading.error();
  if (reading.error()) {
    object.unreadable = reading.error()->text;
    read->api.contradiction = reading.sentence();
  } else if (apart.error()) {
    object.warnings.push_back(apart.error()->text);
  }
  // That a Service of another type gets no address is no news to a cluster, which is full of them.
  if (!wants) reading.warnings().clear();
  object.value = Read<ReadService>(std::move(read));
}

template <typename Value>
Read<Value> kept(Value value) {
  return std::make_shared<const Value>(std::move(value));
}

// ---- the others
// -----------------------------------------------------------------------------------------------------

void read_pod(Reading& reading, ReadObject& object) {
  const Field root = reading.root();
  // A pod in the node's own network is not what policies are about, and its address is the node's.
  if (root["spec"]["hostNetwork"].boolean(false)) return;
  // What has ended has given its address back.
  const std::string phase = root["status"]["phase"].text();
  if (phase == "Succeeded" || phase == "Failed") return;
  ReadPod pod;
  pod.labels = read_labels(root["metadata"]["labels"]);
  for (const Field& item : root["status"]["podIPs"].items()) {
    if (const auto address = read_address(item["ip"])) pod.addresses.push_back(*address);
  }
  const Field single = root["status"]["podIP"];
  if (pod.addresses.empty() && !single.text().empty()) {
    if (const auto address = read_address(single)) pod.addresses.push_back(*address);
  }
  if (!reading.error() && !pod.addresses.empty()) object.value = kept(std::move(pod));
}

ApiLease read_lease(const TreeNode& tree, Reading& reading) {
  const Field root = reading.root();
  const Field spec = root["spec"];
  ApiLease lease;
  lease.identity = read_api_identity(tree);
  lease.holder = spec["holderIdentity"].text();
  lease.duration_s = static_cast<std::uint32_t>(spec["leaseDurationSeconds"].integer(0, 0x7fffffff, 0));
  lease.renewed = spec["renewTime"].text();
  lease.transitions = static_cast<std::uint32_t>(spec["leaseTransitions"].integer(0, 0x7fffffff, 0));
  lease.annotations = read_labels(root["metadata"]["annotations"]);
  return lease;
}

// The labels say the same as the status, which is written in a second step and may not be there yet.
ApiL2Status read_l2_status(const TreeNode& tree, Reading& reading) {
  const Field root = reading.root();
  const Field labels = root["metadata"]["labels"];
  const Field status = root["status"];
  ApiL2Status read;
  read.identity = read_api_identity(tree);
  read.node = status["node"].text(labels["metallb.io/node"].text());
  read.service.ns = status["serviceNamespace"].text(labels["metallb.io/service-namespace"].text());
  read.service.name = status["serviceName"].text(labels["metallb.io/service-name"].text());
  for (const Field& item : status["interfaces"].items()) {
    if (std::string name = item["name"].text(); !name.empty()) read.interfaces.push_back(std::move(name));
  }
  return read;
}

ReadNamespace read_namespace(const std::string& name, Reading& reading) {
  ReadNamespace read{read_labels(reading.root()["metadata"]["labels"])};
  read.labels.emplace("kubernetes.io/metadata.name", name);
  return read;
}

void read_value(ApiKind kind, const TreeNode& tree, Reading& reading, ReadObject& object) {
  switch (kind) {
    case ApiKind::services:
      read_api_service(tree, reading, object);
      break;
    case ApiKind::slices:
      object.owner = text_at(tree, {"metadata", "labels", kServiceNameLabel});
      if (!object.owner.empty()) object.value = kept(read_slice(object.name, reading));
      break;
    case ApiKind::nodes:
      object.value = kept(read_node(object.name, reading));
      break;
    case ApiKind::namespaces:
      object.value = kept(read_namespace(object.name.name, reading));
      break;
    case ApiKind::pods:
      read_pod(reading, object);
      break;
    case ApiKind::policies:
      object.value = kept(ReadPolicy{read_selector(reading.root()["spec"]["podSelector"])});
      // Whom it means is not known: the slow path is right for everybody, the fast one only for those it does not
      // mean.
      if (reading.error()) object.value = kept(ReadPolicy{});
      break;
    case ApiKind::pools:
      object.value = kept(ReadPool{read_pool(object.name, reading), read_api_identity(tree)});
      break;
    case ApiKind::advertisements:
      object.value = kept(read_advertisement(object.name, reading));
      break;
    case ApiKind::leases:
      object.value = kept(read_lease(tree, reading));
      break;
    case ApiKind::l2_statuses:
      object.value = kept(read_l2_status(tree, reading));
      break;
  }
}

}  // namespace

const ApiKindInfo& about(ApiKind kind) {
  return table()[static_cast<std::size_t>(kind)];
}

std::string collection(ApiKind kind, const std::string& ns, const std::string& node) {
  const ApiKindInfo& info = about(kind);
  std::string path = info.root;
  if (info.ours) path += "/namespaces/" + percent_encoded(ns);
  path += std::string("/") + info.resource + "?";
  if (kind == ApiKind::pods && !node.empty()) {
    path += "fieldSelector=" + percent_encoded("spec.nodeName=" + node) + "&";
  }
  return path;
}

bool same(const ReadObject& left, const ReadObject& right) {
  if (left.name != right.name || left.owner != right.owner || left.unreadable != right.unreadable ||
      left.warnings != right.warnings || left.value.index() != right.value.index()) {
    return false;
  }
  return std::visit(
      [&]<typename Value>(const Value& value) {
        if constexpr (std::is_same_v<Value, std::monostate>)
          return true;
        else
          return *value == *std::get<Value>(right.value);
      },
      left.value);
}

Result<ReadObject> read_api_object(ApiKind kind, const TreeNode& tree) {
  const std::string name = text_at(tree, {"metadata", "name"});
  const std::string ns = text_at(tree, {"metadata", "namespace"});
  const std::string what = about(kind).kind;
  if (name.empty() || (ns.empty() && !cluster_wide(kind)))
    return Error{"an object of kind " + what + " without a name"};
  ReadObject object;
  object.name = {ns, name};
  Reading reading("", tree);
  reading.set_object(what + " " + (ns.empty() ? name : object.name.text()));
  reading.allow_unknown();
  read_value(kind, tree, reading, object);
  if (reading.error()) {
    object.unreadable = reading.error()->text;
    const bool kept = kind == ApiKind::services || kind == ApiKind::policies;
    if (!kept) object.value = std::monostate{};
  }
  for (std::string& warning : reading.warnings()) object.warnings.push_back(std::move(warning));
  return object;
}

}  // namespace xlb
