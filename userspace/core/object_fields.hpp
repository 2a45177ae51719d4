// SPDX-License-Identifier: Apache-2.0
// The kinds that are understood, from the fields of a tree to their values. The words, rules and defaults are those
// of Kubernetes and MetalLB, and the same whether the tree came from a file or from an API server.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "userspace/core/fields.hpp"
#include "userspace/core/model.hpp"

namespace xlb {

inline constexpr std::string_view kIpsAnnotation = "metallb.io/loadBalancerIPs";
inline constexpr std::string_view kPoolAnnotation = "metallb.io/address-pool";
inline constexpr std::string_view kSharingAnnotation = "metallb.io/allow-shared-ip";
inline constexpr std::string_view kAllocatedFromAnnotation = "metallb.io/ip-allocated-from-pool";
inline constexpr std::string_view kPathAnnotation = "xdp-lb.io/path";
inline constexpr std::string_view kUnknownPortsAnnotation = "xdp-lb.io/unknown-ports";
inline constexpr std::string_view kHealthAnnotation = "xdp-lb.io/health";
inline constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";

// Each reads an object whose name is known already. Look at reading.error() afterwards: with one the value is of no
// use.
Pool read_pool(const ObjectName& name, Reading& reading);
L2Advertisement read_advertisement(const ObjectName& name, Reading& reading);
// `contradiction`: where given, what is wrong with the addresses that it asks for goes there, in MetalLB's words, and
// the service asks for none.
Service read_service(const ObjectName& name, Reading& reading, std::string* contradiction = nullptr);
EndpointSlice read_slice(const ObjectName& name, Reading& reading);
Node read_node(const ObjectName& name, Reading& reading);

// Parts.
Labels read_labels(const Field& mapping);
LabelSelector read_selector(const Field& field);
std::vector<LabelSelector> read_selectors(const Field& list);
Protocol read_protocol(const Field& field);
std::uint16_t read_port(const Field& field);
std::optional<Address> read_address(const Field& field);

}  // namespace xlb
