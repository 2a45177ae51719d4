// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/kinds.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "userspace/core/text.hpp"

namespace xlb {

namespace {

struct Kind {
  std::string_view name;
  std::string_view api_version;
  std::string_view ns;  // of an object that names none; empty: the kind has no namespace
};

constexpr std::array<Kind, 6> kKinds = {{
    {"IPAddressPool", "metallb.io/v1beta1", "metallb-system"},
    {"L2Advertisement", "metallb.io/v1beta1", "metallb-system"},
    {"Service", "v1", "default"},
    {"EndpointSlice", "discovery.k8s.io/v1", "default"},
    {"Node", "v1", ""},
    {"Namespace", "v1", ""},
}};

// RFC 1123, 2.1, in lower case as Kubernetes wants it; with dots a subdomain.
bool is_dns_name(std::string_view name, bool dots, std::size_t longest) {
  if (name.empty() || name.size() > longest) return false;
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  char before = '.';
  for (const char c : name) {
    if (!alphanumeric(c) && c != '-' && !(dots && c == '.')) return false;
    if ((c == '.' || c == '-') && before == '.') return false;
    if (c == '.' && before == '-') return false;
    before = c;
  }
  return alphanumeric(before);
}

std::string unknown_kind(std::string_view kind) {
  if (kind == "AddressPool") {
    return "kind AddressPool is of an old MetalLB: write an IPAddressPool and an L2Advertisement "
           "(metallb.io/v1beta1)";
  }
  std::vector<std::string_view> names;
  for (const Kind& known : kKinds) names.push_back(known.name);
  names.push_back("List");
  std::string sentence = "unknown kind " + in_quotes(kind) + ": ";
  if (const std::string_view meant = nearest(kind, names); !meant.empty()) {
    return sentence + "did you mean " + std::string(meant) + "?";
  }
  sentence += "remove the document; understood are";
  for (const std::string_view name : names) sentence += (name == names.front() ? " " : ", ") + std::string(name);
  return sentence;
}

}  // namespace

std::optional<ObjectId> read_identity(Reading& reading) {
  const Field root = reading.root();
  if (!root.mapping()) return std::nullopt;
  const std::string kind = root["kind"].required_text("every object has one, as in kind: IPAddressPool");
  if (reading.error()) return std::nullopt;
  const auto known = std::find_if(kKinds.begin(), kKinds.end(), [&](const Kind& k) { return k.name == kind; });
  if (known == kKinds.end()) {
    root["kind"].fail(unknown_kind(kind));
    return std::nullopt;
  }
  reading.set_object(kind);
  const Field metadata = root["metadata"];
  const Field name = metadata["name"];
  const std::string written = name.text();
  const std::string ns = known->ns.empty() ? "" : metadata["namespace"].text(known->ns);
  const bool good_name = is_dns_name(written, true, 253);
  const bool good_ns = known->ns.empty() || is_dns_name(ns, false, 63);
  if (good_name && good_ns) reading.set_object(ObjectId{kind, {ns, written}}.text());
  const std::string advice = "write apiVersion: " + std::string(known->api_version);
  const std::string api_version = root["apiVersion"].required_text(advice);
  if (!reading.error() && api_version != known->api_version) {
    root["apiVersion"].fail("unknown apiVersion " + in_quotes(std::string_view(api_version)) +
                            " of this kind: " + advice);
  }
  if (written.empty()) {
    name.fail(kind == "IPAddressPool" ? "missing pool name" : "missing: every object has a name");
  } else if (!good_name) {
    name.fail("invalid name " + in_quotes(std::string_view(written)) +
              ": use small letters, digits, '-' and '.', beginning and ending with a letter or digit");
  }
  if (!good_ns) {
    metadata["namespace"].fail("invalid namespace " + in_quotes(std::string_view(ns)) +
                               ": use at most 63 small letters, digits and '-'");
  }
  if (reading.error()) return std::nullopt;
  return ObjectId{kind, {ns, written}};
}

Object read_object(const ObjectId& id, Reading& reading) {
  if (id.kind == "IPAddressPool") return read_pool(id.name, reading);
  if (id.kind == "L2Advertisement") return read_advertisement(id.name, reading);
  if (id.kind == "Service") return read_service(id.name, reading);
  if (id.kind == "EndpointSlice") return read_slice(id.name, reading);
  if (id.kind == "Node") return read_node(id.name, reading);
  NamespaceLabels labels{id.name.name, read_labels(reading.root()["metadata"]["labels"])};
  // The API server puts this label on every namespace; selectors by name rely on it.
  labels.labels.emplace("kubernetes.io/metadata.name", labels.name);
  return labels;
}

TreeNode labels_node(const Labels& labels) {
  TreeNode node = yaml_mapping();
  for (const auto& [key, value] : labels) yaml_set(node, key, yaml_string(value));
  return node;
}

TreeNode object_node(std::string_view api_version, std::string_view kind, const ObjectName& name,
                     const Labels& labels) {
  TreeNode root = yaml_mapping();
  yaml_set(root, "apiVersion", yaml_string(std::string(api_version)));
  yaml_set(root, "kind", yaml_string(std::string(kind)));
  TreeNode& metadata = yaml_set(root, "metadata", yaml_mapping());
  yaml_set(metadata, "name", yaml_string(name.name));
  if (!name.ns.empty()) yaml_set(metadata, "namespace", yaml_string(name.ns));
  if (!labels.empty()) yaml_set(metadata, "labels", labels_node(labels));
  return root;
}

// matchLabels as far as the selector can be said by them: read_selector() puts them first, in their order.
TreeNode selector_node(const LabelSelector& selector) {
  constexpr std::array<const char*, 4> operators = {"In", "NotIn", "Exists", "DoesNotExist"};
  TreeNode node = yaml_mapping();
  TreeNode equal = yaml_mapping();
  TreeNode expressions = yaml_sequence();
  for (const LabelRequirement& requirement : selector.requirements) {
    const bool by_label = requirement.op == LabelRequirement::Operator::in && requirement.values.size() == 1 &&
                          expressions.children.empty() && equal.find(requirement.key) == nullptr;
    if (by_label) {
      yaml_set(equal, requirement.key, yaml_string(requirement.values.front()));
      continue;
    }
    TreeNode expression = yaml_mapping();
    yaml_set(expression, "key", yaml_string(requirement.key));
    yaml_set(expression, "operator", yaml_string(operators[static_cast<std::size_t>(requirement.op)]));
    if (!requirement.values.empty()) yaml_set(expression, "values", yaml_strings(requirement.values));
    expressions.children.push_back(std::move(expression));
  }
  if (!equal.keys.empty()) yaml_set(node, "matchLabels", std::move(equal));
  if (!expressions.children.empty()) yaml_set(node, "matchExpressions", std::move(expressions));
  return node;
}

TreeNode selectors_node(const std::vector<LabelSelector>& selectors) {
  TreeNode node = yaml_sequence();
  for (const LabelSelector& selector : selectors) node.children.push_back(selector_node(selector));
  return node;
}

}  // namespace xlb
