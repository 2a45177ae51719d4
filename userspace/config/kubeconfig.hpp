// SPDX-License-Identifier: Apache-2.0
// A kubeconfig, as kubectl has it and as k3s writes it (/etc/rancher/k3s/k3s.yaml).
#pragma once

#include <filesystem>
#include <string>

#include "userspace/core/api_credentials.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

// The cluster and user of `context`, or of its current-context. Files that it names are looked for beside it and are
// not opened here; what is embedded as base64 comes decoded. Programs that fetch credentials (exec, auth-provider)
// are refused: a load balancer that needs one to start does not start after a power cut.
Result<ApiCredentials> read_kubeconfig(const std::filesystem::path& file, const std::string& context = {});
Result<ApiCredentials> parse_kubeconfig(const std::string& yaml, const std::filesystem::path& file,
                                        const std::string& context = {});

}  // namespace xlb
