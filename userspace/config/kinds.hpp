// SPDX-License-Identifier: Apache-2.0
// The kinds that are understood, each between its YAML node and its value. Used by manifests.cpp only; the words and
// defaults are those of Kubernetes and MetalLB.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "userspace/config/fields.hpp"
#include "userspace/config/manifests.hpp"
#include "userspace/core/model.hpp"

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

// Each decoder reads an object whose identity has been read. Look at reading.error() afterwards.
Object read_object(const ObjectId& id, Reading& reading);
Pool read_pool(const ObjectId& id, Reading& reading);
L2Advertisement read_advertisement(const ObjectId& id, Reading& reading);
Service read_service(const ObjectId& id, Reading& reading);
EndpointSlice read_slice(const ObjectId& id, Reading& reading);
Node read_node(const ObjectId& id, Reading& reading);

// Parts.
Labels read_labels(const Field& mapping);
LabelSelector read_selector(const Field& field);
std::vector<LabelSelector> read_selectors(const Field& list);
Protocol read_protocol(const Field& field);
std::uint16_t read_port(const Field& field);
std::optional<Address> read_address(const Field& field);

YamlNode object_node(std::string_view api_version, std::string_view kind, const ObjectName& name,
                     const Labels& labels);
YamlNode labels_node(const Labels& labels);
YamlNode selectors_node(const std::vector<LabelSelector>& selectors);
YamlNode selector_node(const LabelSelector& selector);

}  // namespace xlb
