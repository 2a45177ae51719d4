// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/migration.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "userspace/kube/json.hpp"
#include "userspace/kube/percent.hpp"

namespace xlb {
namespace {

using Json = nlohmann::json;
using Verb = ApiRequest::Verb;

constexpr const char* kApps = "/apis/apps/v1";
constexpr const char* kDefinitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

std::map<std::string, std::string> strings_at(const TreeNode& tree, std::initializer_list<std::string_view> path) {
  std::map<std::string, std::string> strings;
  const TreeNode* node = tree.find(path);
  if (node == nullptr) return strings;
  for (std::size_t i = 0; i < node->keys.size(); ++i) strings[node->keys[i]] = node->children[i].scalar;
  return strings;
}

// Of every container: what its image would add is not known here.
std::vector<std::string> arguments_at(const TreeNode& tree, std::initializer_list<std::string_view> path) {
  std::vector<std::string> arguments;
  const TreeNode* containers = tree.find(path);
  if (containers == nullptr) return arguments;
  for (const TreeNode& container : containers->children) {
    for (const char* part : {"command", "args"}) {
      const TreeNode* words = container.find(part);
      if (words == nullptr) continue;
      for (const TreeNode& word : words->children) arguments.push_back(word.scalar);
    }
  }
  return arguments;
}

std::string label(const std::map<std::string, std::string>& labels, const char* name) {
  const auto found = labels.find(name);
  return found == labels.end() ? std::string() : found->second;
}

std::string metallb_path(const std::string& ns, const std::string& resource, const std::string& name) {
  return "/apis/metallb.io/v1beta1/namespaces/" + percent_encoded(ns) + "/" + resource + (name.empty() ? "" : "/" + percent_encoded(name));
}

ApiRequest merge(std::string path, const Json& body) {
  ApiRequest request;
  request.verb = Verb::merge_patch;
  request.path = std::move(path);
  request.body = body.dump();
  return request;
}

ApiRequest scale(const Workload& controller, std::uint32_t replicas, const Json& note) {
  return merge(std::string(kApps) + "/namespaces/" + controller.name.ns + "/deployments/" + controller.name.name,
               {{"metadata",
                 {{"uid", controller.identity.uid},
                  {"resourceVersion", controller.identity.version},
                  {"annotations", {{kReplicasAnnotation, note}}}}},
                {"spec", {{"replicas", replicas}}}});
}

}  // namespace

std::string deployments_of(const std::string& ns) {
  return std::string(kApps) + "/namespaces/" + percent_encoded(ns) + "/deployments?";
}

std::string daemonsets_of(const std::string& ns) {
  if (ns.empty()) return std::string(kApps) + "/daemonsets?labelSelector=" + percent_encoded("app.kubernetes.io/name=xdp-lb") + "&";
  return std::string(kApps) + "/namespaces/" + percent_encoded(ns) + "/daemonsets?";
}

std::string pods_of(const std::string& ns, const std::string& selector) {
  return "/api/v1/namespaces/" + percent_encoded(ns) + "/pods?labelSelector=" + percent_encoded(selector) + "&";
}

std::string definition_named(const std::string& name) {
  return std::string(kDefinitions) + "?fieldSelector=" + percent_encoded("metadata.name=" + name) + "&";
}

std::string metallb_objects(const std::string& version, const std::string& ns, const std::string& resource) {
  return "/apis/metallb.io/" + version + "/namespaces/" + percent_encoded(ns) + "/" + resource + "?";
}

Workload read_workload(const TreeNode& tree) {
  Workload read;
  read.name = {text_at(tree, {"metadata", "namespace"}), text_at(tree, {"metadata", "name"})};
  read.identity = {text_at(tree, {"metadata", "uid"}), text_at(tree, {"metadata", "resourceVersion"}),
                   !text_at(tree, {"metadata", "deletionTimestamp"}).empty()};
  read.labels = strings_at(tree, {"metadata", "labels"});
  read.annotations = strings_at(tree, {"metadata", "annotations"});
  for (const auto& [name, value] : strings_at(tree, {"spec", "selector", "matchLabels"}))
    read.selector += (read.selector.empty() ? "" : ",") + name + "=" + value;
  const TreeNode* number = tree.find({"spec", "replicas"});
  const std::string replicas = number == nullptr ? std::string() : number->scalar;
  if (!replicas.empty() && replicas.size() < 5 && replicas.find_first_not_of("0123456789") == std::string::npos)
    read.replicas = static_cast<std::uint32_t>(std::stoul(replicas));
  read.arguments = arguments_at(tree, {"spec", "template", "spec", "containers"});
  return read;
}

MigratingPod read_migrating_pod(const TreeNode& tree) {
  MigratingPod read;
  read.name = text_at(tree, {"metadata", "name"});
  read.node = text_at(tree, {"spec", "nodeName"});
  read.arguments = arguments_at(tree, {"spec", "containers"});
  const TreeNode* conditions = tree.find({"status", "conditions"});
  if (conditions == nullptr || !text_at(tree, {"metadata", "deletionTimestamp"}).empty()) return read;
  read.ready = std::any_of(conditions->children.begin(), conditions->children.end(), [](const TreeNode& condition) {
    return text_at(condition, {"type"}) == "Ready" && scalar_is_true(text_at(condition, {"status"}));
  });
  return read;
}

Definition read_definition(const TreeNode& tree) {
  const auto annotations = strings_at(tree, {"metadata", "annotations"});
  const std::string release = label(annotations, "meta.helm.sh/release-name");
  return {text_at(tree, {"metadata", "name"}),
          release.empty() ? "" : label(annotations, "meta.helm.sh/release-namespace") + "/" + release,
          label(annotations, "helm.sh/resource-policy") == "keep"};
}

bool is_metallb(const Workload& workload, const std::string& component) {
  return (label(workload.labels, "app") == "metallb" && label(workload.labels, "component") == component) ||
         (label(workload.labels, "app.kubernetes.io/name") == "metallb" && label(workload.labels, "app.kubernetes.io/component") == component);
}

bool is_xdp_lb(const Workload& workload) {
  return label(workload.labels, "app.kubernetes.io/name") == "xdp-lb";
}

ApiRequest stop_controller(const Workload& controller) {
  return scale(controller, 0, std::to_string(controller.replicas));
}

ApiRequest start_controller(const Workload& controller, std::uint32_t replicas) {
  return scale(controller, replicas, nullptr);
}

ApiRequest keep_definition(const std::string& name, const std::string& release, const std::string& ns) {
  return merge(std::string(kDefinitions) + "/" + name, {{"metadata",
                                                         {{"annotations",
                                                           {{"helm.sh/resource-policy", "keep"},
                                                            {"meta.helm.sh/release-name", release},
                                                            {"meta.helm.sh/release-namespace", ns}}}}}});
}

ApiRequest read_metallb_object(const ObjectName& name, const std::string& resource) {
  ApiRequest request;
  request.path = metallb_path(name.ns, resource, name.name);
  return request;
}

ApiRequest copy_metallb_object(const std::string& body, const std::string& resource, const std::string& ns) {
  const Json object = Json::parse(body, nullptr, false);
  Json copy{{"apiVersion", "metallb.io/v1beta1"}};
  if (object.is_object()) {
    const Json metadata = object.value("metadata", Json::object());
    copy["kind"] = object.value("kind", "");
    copy["spec"] = object.value("spec", Json::object());
    copy["metadata"] = {{"name", metadata.value("name", "")}, {"namespace", ns}};
    if (metadata.contains("labels")) copy["metadata"]["labels"] = metadata["labels"];  // advertisements select pools by them
    copy["metadata"]["annotations"] = {{"xdp-lb.io/copied-from", metadata.value("namespace", "")}};
  }
  ApiRequest request;
  request.verb = Verb::create;
  request.path = metallb_path(ns, resource, {});
  request.body = copy.dump();
  return request;
}

}  // namespace xlb
