// SPDX-License-Identifier: Apache-2.0
// The daemon's side of an API server: what it declares goes into passes, what follows goes back. Thin: what is to be
// written is decided by the core (api_allocator.hpp, allocator_election.hpp), how it is said by userspace/kube.
//
// Every node reads, and writes what it says of itself (ServiceL2Status, events of announcing). The node that is elected also
// gives addresses out, writes the status of Services, and counts pools.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "userspace/core/allocator_election.hpp"
#include "userspace/core/api_allocator.hpp"
#include "userspace/core/metrics_text.hpp"
#include "userspace/core/sources.hpp"
#include "userspace/daemon/log.hpp"
#include "userspace/daemon/loop.hpp"
#include "userspace/daemon/reconciler.hpp"
#include "userspace/kube/api_server.hpp"
#include "userspace/kube/writes.hpp"

namespace xlb {

struct KubernetesSettings {
  ApiCredentials credentials;
  ApiSettings server;
  ApiWriter writer;
  std::string load_balancer_class;  // empty: Services without one
  // MetalLB runs, and is to be replaced: nothing is given out or reported, and only those VIPs are served whose Lease somebody
  // has made (`xdp-lb migrate`).
  bool standby = false;
};

class Kubernetes {
 public:
  // `changed`: facts() are others than before.
  static Result<std::unique_ptr<Kubernetes>> start(Loop& loop, const Log& log, KubernetesSettings settings,
                                                   std::function<void()> changed);
  Kubernetes(const Kubernetes&) = delete;
  Kubernetes& operator=(const Kubernetes&) = delete;
  ~Kubernetes();

  // Null until the server has been listed once.
  [[nodiscard]] std::shared_ptr<const ApiFacts> facts() const { return facts_; }
  // After each pass: what is announced here, and which addresses may not be given out.
  void took_in(const Outcome& outcome);
  void say_metrics(MetricsText& metrics) const;

 private:
  using Clock = Loop::Clock;
  Kubernetes(Loop& loop, const Log& log, KubernetesSettings settings, std::function<void()> changed);

  void on_ready();
  void take_state();
  void stand_for_election();
  void allocate_addresses();
  void count_pools(const AllocatorOrders& orders);
  void tell_announced(const Outcome& outcome);
  void report_announced();
  void report_configuration();
  void report_taken_over();
  // One write of a thing at a time; what follows from its outcome is seen in the next state.
  void write(const std::string& thing, ApiRequest request, std::function<void(const ApiAnswer&)> then);
  void release(const ReleaseOrder& order, std::size_t asked);
  void notice(ServiceNotice notice);

  Loop& loop_;
  const Log& log_;
  KubernetesSettings settings_;
  std::function<void()> changed_;
  std::unique_ptr<ApiServer> server_;
  std::shared_ptr<const ApiState> state_;
  std::shared_ptr<const ApiFacts> facts_;
  ServiceClass class_;
  PoolsInForce pools_;
  AllocatorElection election_;
  ApiAllocator allocator_;
  bool led_ = false;
  // What the allocator last looked at and had nothing to write for.
  struct Settled {
    Shared<std::map<ObjectName, ApiService>> services;
    Shared<std::map<std::string, ApiLease>> leases;
    Objects objects;  // without slices
    std::map<Address, std::string> avoid;
    bool operator==(const Settled&) const = default;
  };
  std::optional<Settled> settled_;
  Loop::Timer election_timer_ = 0, retry_timer_ = 0;
  std::set<std::string> under_way_;
  std::map<std::string, std::string> said_;        // failed writes, once each
  std::map<Address, std::string> avoid_;           // of the last pass
  std::map<ObjectName, std::string> refusals_;     // by the allocator, while this node is it
  std::map<ObjectName, std::vector<std::string>> announced_;  // by this node: service, interfaces
  std::map<std::string, PoolCounts> counted_;
  std::set<Address> owned_;                        // VIPs that this node answers for
  bool reported_ = false;                          // announced_ is known: a pass has been made since the start
  struct ConfigurationReport {
    std::string problem;
    std::uint64_t since_1970_us = 0;
    bool written = false;
  };
  std::map<Reporter, ConfigurationReport> configuration_;
  std::optional<Shared<std::map<std::string, ApiL2Status>>> told_statuses_;  // they say what announced_ says
  std::map<ObjectName, std::string> told_;         // what was said of announcing, by service
};

}  // namespace xlb
