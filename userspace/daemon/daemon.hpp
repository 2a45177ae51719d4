// SPDX-License-Identifier: Apache-2.0
// `xdp-lb run`: one thread that follows manifests and the machine, announces, hears events of the programs and serves the
// control socket. What is set up keeps serving without it: it may be killed, stopped and replaced at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "loader/event_ring.hpp"
#include "userspace/core/shared.hpp"
#include "userspace/daemon/control.hpp"
#include "userspace/daemon/disk_writer.hpp"
#include "userspace/daemon/health_probes.hpp"
#include "userspace/daemon/kubernetes.hpp"
#include "userspace/daemon/link_probes.hpp"
#include "userspace/daemon/lock.hpp"
#include "userspace/daemon/log.hpp"
#include "userspace/daemon/loop.hpp"
#include "userspace/daemon/metrics.hpp"
#include "userspace/daemon/metrics_server.hpp"
#include "userspace/daemon/peering.hpp"
#include "userspace/daemon/reconciler.hpp"
#include "userspace/daemon/service_health_ports.hpp"
#include "userspace/daemon/request.hpp"
#include "userspace/daemon/schedule.hpp"
#include "userspace/daemon/waiting_requests.hpp"
#include "userspace/daemon/watchdog.hpp"

namespace xlb {

class Daemon {
 public:
  // Signals SIGTERM, SIGINT and SIGHUP must be blocked already: they are read from a descriptor.
  // `kubernetes`: absent without an API server.
  static Result<std::unique_ptr<Daemon>> start(const Settings& settings, const ClusterSettings& times,
                                               std::optional<KubernetesSettings> kubernetes, Edges edges, const Log& log);
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  // Until SIGTERM or SIGINT. Leaves the data plane as it is.
  Result<void> run();

 private:
  using Clock = Loop::Clock;
  Daemon(const Settings& settings, const ClusterSettings& times, Edges edges, const Log& log, Lock lock, Loop loop);

  Result<void> watch_everything();
  Result<void> serve_metrics();
  Result<void> hear_api_server(std::optional<KubernetesSettings> settings);
  void keep_api_facts();
  void keep_api_facts_at_the_end();
  void watch_manifests();
  void on_signal();
  void on_manifest_change();

  void on_answers();
  void on_health(const HealthTarget& target, const HealthState& state);
  void keep_health();
  void begin(std::chrono::milliseconds in);
  void wish_pass(std::chrono::milliseconds in);
  void pass();
  void pass_failed(const Error& error);
  void on_written(const Result<void>& result);
  void took_in(const Outcome& outcome, bool asked);  // `asked`: by a command, which has told its user already
  void say_new_warnings(const Outcome& outcome);
  void follow_events(bool attached);
  void arm_announcements();
  void announce(const std::vector<LinkVips>& all);
  void give_back(const std::vector<LinkVips>& vips);
  std::optional<Mac> find_mac(const Link& link, const Address& address);
  void on_moved(const std::vector<Address>& taken, const std::vector<Address>& dropped);

  void on_request(ControlServer::Connection connection, const std::string& line);
  void on_event(const lb_event& event);
  void on_conflict(const lb_event& event);
  void start_trace(ControlServer::Connection connection, std::uint32_t every);
  void stop_trace(ControlServer::Connection connection);
  Result<void> renew_trace();

  const Log& log_;
  Lock lock_;                        // nobody else runs
  std::optional<Lock> events_lock_;  // nobody else reads the ring of events
  bool events_waited_ = false;       // somebody else does
  Loop loop_;
  Reconciler reconciler_;
  LinkProbes probes_;
  WaitingRequests waiting_;
  Peering peering_;
  Watchdog watchdog_;
  HealthProbes health_;
  ServiceHealthPorts service_health_;
  Metrics metrics_;
  std::unique_ptr<MetricsServer> metrics_server_;
  std::unique_ptr<Kubernetes> kubernetes_;
  std::unique_ptr<DiskWriter> api_disk_;
  Clock::time_point api_kept_at_{};  // its objects were written to the disk
  bool api_unkept_ = false;          // they are others by now
  Shared<Assignments> kept_addresses_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<EventRing> events_;
  std::unique_ptr<DiskWriter> disk_;
  AnnouncementSchedule schedule_;
  int signals_ = -1;
  int manifests_ = -1;
  bool begun_ = false;                        // the first pass was made
  std::vector<std::pair<ControlServer::Connection, std::string>> early_;  // who asked before that
  std::optional<Clock::time_point> pass_at_;  // of the next one
  Clock::time_point passed_at_{};
  Loop::Timer pass_timer_ = 0, announce_timer_ = 0, trace_timer_ = 0, api_timer_ = 0, begin_timer_ = 0;
  std::chrono::milliseconds place_wait_{0};  // until missing veths are looked for again; doubles
  std::vector<LinkVips> owned_;
  std::map<ControlServer::Connection, std::uint32_t> tracers_;  // -> one packet of so many
  struct Conflict {
    Clock::time_point said;
    std::uint64_t unsaid = 0;
  };
  std::map<std::pair<Address, Mac>, Conflict> conflicts_;
  std::map<Address, Clock::time_point> defended_;
  std::set<std::string> warnings_;
  std::map<ObjectName, std::string> refusals_;
  std::string failure_;  // of the last pass
};

}  // namespace xlb
