// SPDX-License-Identifier: Apache-2.0
// What `xdp-lb migrate` asks the API server and writes there, besides what the daemon does: Deployments, DaemonSets, Pods,
// definitions; as values of userspace/core/migration.hpp. Pure.
#pragma once

#include <string>

#include "userspace/core/api_request.hpp"
#include "userspace/core/migration.hpp"
#include "userspace/core/tree.hpp"

namespace xlb {

// Collections, ready for more of a query.
std::string deployments_of(const std::string& ns);
std::string daemonsets_of(const std::string& ns);                           // empty: those of xdp-lb, in all namespaces
std::string pods_of(const std::string& ns, const std::string& selector);
std::string definition_named(const std::string& name);
std::string metallb_objects(const std::string& version, const std::string& ns, const std::string& resource);

Workload read_workload(const TreeNode& tree);
MigratingPod read_migrating_pod(const TreeNode& tree);
Definition read_definition(const TreeNode& tree);
// As MetalLB's chart and its manifests label it; `component`: controller, speaker.
bool is_metallb(const Workload& workload, const std::string& component);
bool is_xdp_lb(const Workload& workload);

// To 0 with a note of what it was, or back to that without the note.
ApiRequest stop_controller(const Workload& controller);
ApiRequest start_controller(const Workload& controller, std::uint32_t replicas);
// helm leaves it alone from now on, whoever is uninstalled; it is counted to that release.
ApiRequest keep_definition(const std::string& name, const std::string& release, const std::string& ns);
ApiRequest read_metallb_object(const ObjectName& name, const std::string& resource);
// The object of the answer, anew in another namespace.
ApiRequest copy_metallb_object(const std::string& body, const std::string& resource, const std::string& ns);

}  // namespace xlb
