// SPDX-License-Identifier: Apache-2.0
// Network namespaces of the test process's own, so that interface indexes, routes, neighbours and MTUs are real and
// nothing of the machine is touched:
//
//   wire ── lan0 [ node ] pod0 ── eth0 (pod)
//   wire ── lan1 [ node ] pod1 ── eth1 (pod, MTU 1280)
//
// They live as long as the process; nothing needs to be cleaned up.
#pragma once

#include <cstdint>
#include <string>

#include "tests/support/packet.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct Interface {
  std::string name;
  std::uint32_t ifindex = 0;
  packet::MacAddress mac;
};

class Sandbox {
 public:
  // Made once a process; the calling thread is in the node's namespace afterwards.
  static Result<Sandbox*> get();

  Interface lan0, lan1, pod0, pod1;  // in the node's namespace
  Interface wire0, wire1;            // their other ends: where a client and a router would be
  Interface eth0, eth1;              // in the pod's namespace

  // Runs a shell command in a namespace; an error holds the command's output.
  Result<void> in_node(const std::string& command) const { return run(node_, command); }
  Result<void> in_wire(const std::string& command) const { return run(wire_, command); }
  Result<void> in_pod(const std::string& command) const { return run(pod_, command); }

  // Raw socket on an interface of that namespace, receiving and sending whole frames; -1 and errno on failure.
  int open_wire(const Interface& interface) const { return open_raw(wire_, interface); }
  int open_pod(const Interface& interface) const { return open_raw(pod_, interface); }

 private:
  Result<void> run(int space, const std::string& command) const;
  int open_raw(int space, const Interface& interface) const;
  Result<void> build();

  int node_ = -1, wire_ = -1, pod_ = -1;  // namespace files
};

}  // namespace xlb
