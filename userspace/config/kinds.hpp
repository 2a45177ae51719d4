// SPDX-License-Identifier: Apache-2.0
// The kinds that are understood, each between its YAML node and its value. Used by manifests.cpp only; the words and
// defaults are those of Kubernetes and MetalLB.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "userspace/config/manifests.hpp"
#include "userspace/config/yaml_tree.hpp"
#include "userspace/core/model.hpp"
#include "userspace/core/object_fields.hpp"

namespace xlb {

struct NamespaceLabels {
  std::string name;
  Labels labels;
  auto operator<=>(const NamespaceLabels&) const = default;
};

using Object = std::variant<Pool, L2Advertisement, Service, EndpointSlice, Node, NamespaceLabels>;

// kind, apiVersion and name, checked; the reading calls the object by it from now on. Absent: the reading has the
// error.
std::optional<ObjectId> read_identity(Reading& reading);

// The object of that identity. Look at reading.error() afterwards.
Object read_object(const ObjectId& id, Reading& reading);

TreeNode object_node(std::string_view api_version, std::string_view kind, const ObjectName& name,
                     const Labels& labels);
TreeNode labels_node(const Labels& labels);
TreeNode selectors_node(const std::vector<LabelSelector>& selectors);
TreeNode selector_node(const LabelSelector& selector);

}  // namespace xlb
