// SPDX-License-Identifier: Apache-2.0
// Where this node's files live. All of it can be moved by options and environment variables, so that several nodes fit into
// namespaces of one machine.
#pragma once

#include <filesystem>
#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

// MetalLB's port, so that scrape configurations go on working; on this machine alone unless somebody says otherwise.
constexpr const char* kMetrics = "127.0.0.1:7472";

struct Settings {
  std::string node;  // name of this node
  std::filesystem::path config_dir = "/etc/xdp-lb";
  std::filesystem::path run_dir = "/run/xdp-lb";
  std::string pin_dir = "/sys/fs/bpf/xdp-lb";
  std::string metrics;  // ADDRESS:PORT of /metrics, "off", or empty: kMetrics, where it is free
  std::string cgroup;  // a folder of cgroup2, "none", or empty: the root of the hierarchy

  [[nodiscard]] std::filesystem::path manifests() const { return config_dir / "manifests"; }
  [[nodiscard]] std::filesystem::path state_file() const { return config_dir / "state.json"; }
  [[nodiscard]] std::filesystem::path api_file() const { return config_dir / "api.json"; }
  [[nodiscard]] std::filesystem::path key_file() const { return config_dir / "cluster.key"; }
  [[nodiscard]] std::filesystem::path incarnation_file() const { return config_dir / "incarnation.json"; }
  [[nodiscard]] std::filesystem::path drain_marker() const { return run_dir / "draining"; }
  [[nodiscard]] std::filesystem::path health_file() const { return run_dir / "health.json"; }
  [[nodiscard]] std::filesystem::path lock_file() const { return run_dir / "lock"; }
  [[nodiscard]] std::filesystem::path daemon_lock_file() const { return run_dir / "daemon.lock"; }
  [[nodiscard]] std::filesystem::path events_lock_file() const { return run_dir / "events.lock"; }
  [[nodiscard]] std::filesystem::path control_socket() const { return run_dir / "control.sock"; }
};

// The folder that AttachRequest::cgroup wants: empty for "none". In hybrid layouts cgroup2 is not at /sys/fs/cgroup, hence
// the mount table is asked. A given path must lie on cgroup2.
Result<std::string> find_cgroup(const std::string& asked);

// What a command that touches the kernel needs; the sentence names the capabilities that are missing.
Result<void> require_capabilities(const std::string& doing);

// mkdir -p with the error as a sentence.
Result<void> make_folder(const std::filesystem::path& folder);

}  // namespace xlb
