// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/daemon.hpp"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "userspace/config/api_memory.hpp"
#include "userspace/config/health_state.hpp"
#include "userspace/daemon/clock.hpp"
#include "userspace/daemon/memory.hpp"
#include "userspace/daemon/notify.hpp"

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr auto kSettle = 50ms;          // changes come in bursts: a new pod is a dozen netlink messages
constexpr auto kPassesApart = 250ms;    // at least, however busy the machine is
constexpr auto kMend = 60s;             // the tables are compared with what they should hold, whoever else touched them
constexpr auto kRetry = 2s;             // after a pass that failed
constexpr auto kPlaceWaitMost = 60s;
constexpr auto kApiAwaited = 500ms;     // at the start: what the API server says is newer than what was kept of it
constexpr auto kApiKept = 10s;          // between two writes of what the API server declares
constexpr auto kAddressesKept = 1s;     // the same, when Services have other addresses
constexpr auto kLockAgain = 50ms;       // a command that was there before us is changing the node
constexpr auto kReasked = 60s;          // does somebody still answer for the addresses that were not taken for it?
constexpr auto kConflictSaid = 60s;     // one line a minute for each address and MAC
constexpr auto kDefend = 10s;           // RFC 5227, 2.4: at most once in DEFEND_INTERVAL
constexpr auto kTraceRenewal = 1s;
constexpr auto kTraceLease = 3s;        // a tracer that dies leaves the programs sampling for so long
constexpr std::size_t kConflictsKept = 1024;
constexpr std::size_t kManyEdits = 1000;  // of which a pass has used memory that the next ones will not need

PassOptions pass_options() {
  return {.place_patience = 0ms, .announcements = 1, .waits = false, .conflicts_since = Loop::Clock::now() - kReasked};
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

}  // namespace

Daemon::Daemon(const Settings& settings, const ClusterSettings& times, Edges edges, const Log& log, Lock lock, Loop loop)
    : log_(log),
      lock_(std::move(lock)),
      loop_(std::move(loop)),
      reconciler_(settings, std::move(edges)),
      probes_(loop_, [this] { on_answers(); }),
      waiting_(loop_, reconciler_,
               {[this](const Outcome& outcome) { took_in(outcome, true); },
                [this](ControlServer::Connection connection, const std::string& line) {
                  control_->send(connection, line);
                  control_->finish(connection);
                }}),
      peering_(loop_, log, reconciler_.settings(), times,
               {[this] { wish_pass(0ms); }, [this] { reconciler_.edges().data_plane->forget(); },
                [this](const auto& taken, const auto& dropped) { on_moved(taken, dropped); },
                [this](const Link& link, const Address& address) { return find_mac(link, address); }}),
      watchdog_(loop_, log),
      health_(loop_, HealthPace(), [this](const HealthTarget& target, const HealthState& state) { on_health(target, state); }),
      service_health_(loop_, ServiceHealthPace(),
                      {reconciler_.edges().kube_proxy,
                       [this](const ServiceHealth& health, bool served, const std::string& why) {
                         log_.say(served || why.empty() ? Severity::info : Severity::warning,
                                  served ? "health check port taken" : "health check port not served",
                                  {{"service", health.service.text()}, {"port", std::to_string(health.port)}, {"reason", why}});
                       }}) {
  reconciler_.edges().announce = [this, send = std::move(reconciler_.edges().announce)](const Link& link,
                                                                                        const std::vector<Address>& vips) {
    auto sent = send(link, vips);
    if (sent) metrics_.announced(vips);
    return sent;
  };
  metrics_.add([this](MetricsText& metrics) { peering_.say_metrics(metrics); });
  reconciler_.follow_peers([this] { return peering_.facts(); });
  reconciler_.edges().ask_wire = [this](const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own,
                                        Clock::time_point since) { return probes_.ask(link, addresses, own, since); };
}

Daemon::~Daemon() {
  for (const int fd : {signals_, manifests_})
    if (fd >= 0) close(fd);
}

Result<std::unique_ptr<Daemon>> Daemon::start(const Settings& settings, const ClusterSettings& times,
                                              std::optional<KubernetesSettings> kubernetes, Edges edges, const Log& log) {
  auto lock = Lock::take(settings.daemon_lock_file(), 0ms, "a daemon runs already");
  if (!lock) return lock.error();
  auto loop = Loop::open();
  if (!loop) return loop.error();
  std::unique_ptr<Daemon> daemon(
      new Daemon(settings, times, std::move(edges), log, std::move(*lock), std::move(*loop)));
  if (auto watched = daemon->watch_everything(); !watched) return watched.error();
  if (auto heard = daemon->hear_api_server(std::move(kubernetes)); !heard) return heard.error();
  return daemon;
}

Result<void> Daemon::watch_everything() {
  auto disk = DiskWriter::open(loop_);
  if (!disk) return disk.error();
  disk_ = std::move(*disk);
  reconciler_.write_by([this](auto work, auto done) { disk_->write(std::move(work), std::move(done)); },
                       [this](const Result<void>& result) { on_written(result); });

  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) return Error{std::string("signalfd: ") + std::strerror(errno)};
  if (auto watched = loop_.watch(signals_, EPOLLIN, [this](std::uint32_t) { on_signal(); }); !watched) return watched;

  Netlink& netlink = *reconciler_.edges().netlink;
  auto watched = loop_.watch(netlink.change_fd(), EPOLLIN, [this, &netlink](std::uint32_t) {
    if (!netlink.drain_changes()) return;
    wish_pass(kSettle);
    waiting_.neighbours_changed();
  });
  if (!watched) return watched;

  const auto folder = reconciler_.settings().manifests();
  if (auto made = make_folder(folder); !made) return made;
  manifests_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (manifests_ < 0) return Error{std::string("inotify: ") + std::strerror(errno)};
  watch_manifests();
  watched = loop_.watch(manifests_, EPOLLIN, [this](std::uint32_t) { on_manifest_change(); });
  if (!watched) return watched;

  auto control = ControlServer::open(
      loop_, reconciler_.settings().control_socket(),
      {[this](ControlServer::Connection connection, const std::string& line) { on_request(connection, line); },
       [this](ControlServer::Connection connection) {
         stop_trace(connection);
         waiting_.forget(connection);
         std::erase_if(early_, [connection](const auto& asked) { return asked.first == connection; });
       }});
  if (!control) return control.error();
  control_ = std::move(*control);
  return serve_metrics();
}

Result<void> Daemon::serve_metrics() {
  const std::string& wish = reconciler_.settings().metrics;
  if (wish == "off") return {};
  auto at = parse_listen_address(wish.empty() ? kMetrics : wish);
  if (!at) return at.error().in("--metrics");
  auto server = MetricsServer::open(loop_, *at, [this] {
    std::set<Address> owned;
    for (const LinkVips& entry : owned_) owned.insert(entry.vips.begin(), entry.vips.end());
    return metrics_.text(*reconciler_.edges().data_plane, owned);
  });
  if (server) {
    metrics_server_ = std::move(*server);
  } else if (wish.empty()) {
    // Nobody asked for this address, so it stops nothing.
    log_.say(Severity::warning, "metrics not served", {{"reason", server.error().text}});
  } else {
    return server.error();
  }
  return {};
}

Result<void> Daemon::hear_api_server(std::optional<KubernetesSettings> settings) {
  // Who runs without a cluster has left it: what it declared once is in force no more.
  if (!settings) return forget_api_memory(reconciler_.settings().api_file());
  auto disk = DiskWriter::open(loop_);
  if (!disk) return disk.error();
  api_disk_ = std::move(*disk);
  auto made = Kubernetes::start(loop_, log_, std::move(*settings), [this] {
    begun_ ? wish_pass(0ms) : begin(0ms);
    keep_api_facts();
  });
  if (!made) return made.error();
  kubernetes_ = std::move(*made);
  reconciler_.follow_api([this] { return kubernetes_->facts(); });
  metrics_.add([this](MetricsText& metrics) { kubernetes_->say_metrics(metrics); });
  return {};
}

// Not at every change: endpoints come and go all day, and an SD card has so many writes. Addresses are what others see.
void Daemon::keep_api_facts() {
  api_unkept_ = true;
  loop_.cancel(api_timer_);
  const auto apart = kubernetes_->facts()->given == kept_addresses_ ? Clock::duration(kApiKept) : Clock::duration(kAddressesKept);
  api_timer_ = loop_.at(std::max(Clock::now() + kSettle, api_kept_at_ + apart), [this] {
    api_kept_at_ = Clock::now();
    if (api_disk_->busy()) return keep_api_facts();
    api_unkept_ = false;
    kept_addresses_ = kubernetes_->facts()->given;
    api_disk_->write([file = reconciler_.settings().api_file(), facts = kubernetes_->facts()] {
                       auto kept = write_api_memory(file, *facts, boot_id());
                       give_memory_back();
                       return kept;
                     },
                     [this](const Result<void>& kept) {
                       if (!kept) log_.say(Severity::warning, "api server's objects not kept", {{"reason", kept.error().text}});
                     });
  });
}

// Who comes next may find no server, and should not go back to what was kept some seconds ago.
void Daemon::keep_api_facts_at_the_end() {
  if (!api_unkept_ || !kubernetes_->facts()) return;
  api_disk_.reset();  // what it is writing is older
  if (auto kept = write_api_memory(reconciler_.settings().api_file(), *kubernetes_->facts(), boot_id()); !kept)
    log_.say(Severity::warning, "api server's objects not kept", {{"reason", kept.error().text}});
}

void Daemon::watch_manifests() {
  const auto folder = reconciler_.settings().manifests();
  const std::uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;
  // Gone: the next pass comes with kMend at the latest, and tries again.
  if (inotify_add_watch(manifests_, folder.c_str(), events) < 0 && errno != ENOENT)
    log_.say(Severity::warning, "manifests not watched", {{"folder", folder.string()}, {"reason", std::strerror(errno)}});
}

void Daemon::on_manifest_change() {
  alignas(inotify_event) std::array<char, 16384> buffer;
  while (read(manifests_, buffer.data(), buffer.size()) > 0) {
  }
  wish_pass(kSettle);
}

void Daemon::on_signal() {
  signalfd_siginfo info{};
  while (read(signals_, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGHUP)
      wish_pass(0ms);
    else
      loop_.stop();
  }
}

// What was kept of the API server may be some seconds old. A daemon that takes over from another one leaves the tables as they
// are until the server has told, or does not; without a server to ask it begins at once.
void Daemon::begin(std::chrono::milliseconds in) {
  loop_.cancel(begin_timer_);
  begin_timer_ = loop_.at(Clock::now() + in, [this] {
    begun_ = true;
    pass();
    for (const auto& [connection, line] : std::exchange(early_, {})) on_request(connection, line);
    if (auto told = notify_manager("READY=1"); !told)
      log_.say(Severity::warning, "service manager not told", {{"reason", told.error().text}});
    watchdog_.start();
  });
}

Result<void> Daemon::run() {
  log_.say(Severity::info, "started", {{"node", reconciler_.settings().node}, {"pid", std::to_string(getpid())}});
  begin(kubernetes_ ? kApiAwaited : 0ms);
  auto result = loop_.run();
  if (auto told = notify_manager("STOPPING=1"); !told)
    log_.say(Severity::warning, "service manager not told", {{"reason", told.error().text}});
  keep_api_facts_at_the_end();
  if (!tracers_.empty()) {
    tracers_.clear();
    if (auto cleared = renew_trace(); !cleared)
      log_.say(Severity::warning, "trace not ended", {{"reason", cleared.error().text}});
  }
  if (result) log_.say(Severity::info, "stopped", {{"data_plane", "left as it is"}});
  return result;
}

void Daemon::wish_pass(std::chrono::milliseconds in) {
  if (!begun_) return;  // the first one sees whatever was wished for
  const auto when = std::max(Clock::now() + in, passed_at_ + kPassesApart);
  if (pass_at_ && *pass_at_ <= when) return;
  loop_.cancel(pass_timer_);
  pass_at_ = when;
  pass_timer_ = loop_.at(when, [this] { pass(); });
}

// Somebody answered, or nobody did: what waited for that goes on.
void Daemon::on_answers() {
  waiting_.wire_answered();
  wish_pass(0ms);
}

void Daemon::on_health(const HealthTarget& target, const HealthState& state) {
  const bool ill = state.standing == HealthState::Standing::ill;
  log_.say(Severity::info, ill ? "backend fell ill" : "backend got well",
           {{"backend", target.address.text()}, {"port", std::to_string(target.port)}, {"check", target.check.text()},
            {"reason", state.reason}});
  keep_health();
  wish_pass(0ms);
}

// The next pass reads it, whoever makes it.
void Daemon::keep_health() {
  if (auto written = write_health(reconciler_.settings().health_file(), health_.ill()); !written)
    log_.say(Severity::error, "health not written", {{"reason", written.error().text}});
}

void Daemon::pass() {
  pass_at_.reset();
  watch_manifests();
  const auto began = Clock::now();
  auto outcome = reconciler_.reconcile(pass_options());
  if (outcome && outcome->deferred == Outcome::Deferred::disk) return;  // on_written() follows
  if (outcome && outcome->deferred != Outcome::Deferred::no) return wish_pass(kLockAgain);
  passed_at_ = Clock::now();
  metrics_.passed(passed_at_ - began, !outcome);
  if (!outcome) return pass_failed(outcome.error());
  if (!failure_.empty()) log_.say(Severity::info, "reconciled again");
  failure_.clear();
  took_in(*outcome, false);
}

// What the kernel holds stays in force; said once, not at every try.
void Daemon::pass_failed(const Error& error) {
  if (failure_ != error.text)
    log_.say(Severity::error, "not reconciled", {{"reason", error.text}, {"in_force", "the last good state"}});
  failure_ = error.text;
  wish_pass(kRetry);
}

// Whoever had asked for it goes on first; what else was declared meanwhile comes right after.
void Daemon::on_written(const Result<void>& result) {
  if (!waiting_.wrote(result)) {
    if (!result) return pass_failed(result.error());
    pass();
  }
  wish_pass(0ms);
}

void Daemon::took_in(const Outcome& outcome, bool asked) {
  for (const ServiceOutcome& service : outcome.services) {
    std::string addresses;
    for (const Address& address : service.addresses) addresses += (addresses.empty() ? "" : ",") + address.text();
    if (!service.addresses.empty())
      log_.say(Severity::info, "service assigned",
               {{"service", service.name.text()}, {"vip", addresses}, {"pool", service.pool}});
    else if (service.refusal.empty())
      log_.say(Severity::info, "service released", {{"service", service.name.text()}});
  }
  for (const auto& [name, refusal] : outcome.refusals) {
    const auto before = refusals_.find(name);
    if (before == refusals_.end() || before->second != refusal)
      log_.say(Severity::warning, "service refused", {{"service", name.text()}, {"reason", refusal}});
  }
  refusals_ = outcome.refusals;
  for (const VipOutcome& vip : outcome.taken)
    log_.say(Severity::info, "vip taken", {{"vip", vip.address.text()}, {"links", joined(vip.links)}});
  for (const Address& vip : outcome.dropped) log_.say(Severity::info, "vip dropped", {{"vip", vip.text()}});
  if (!outcome.edits.empty())
    log_.say(Severity::info, "tables edited",
             {{"edits", std::to_string(outcome.edits.size())}, {"cause", asked ? "command" : "change"}});
  for (const std::string& edit : outcome.edits) log_.say(Severity::debug, "table edited", {{"edit", edit}});
  if (outcome.edits.size() >= kManyEdits) give_memory_back();
  say_new_warnings(outcome);

  owned_ = outcome.owned;
  schedule_.set(owned_, Clock::now());
  if (auto settled = peering_.settle(outcome.among_peers); !settled)
    log_.say(Severity::error, "peers not kept", {{"reason", settled.error().text}});
  if (kubernetes_) kubernetes_->took_in(outcome);
  arm_announcements();
  give_back(outcome.given_back);
  follow_events(!outcome.attached.empty());
  if (outcome.facts) {
    health_.follow(health_targets(outcome.facts->services, outcome.facts->node), outcome.facts->ill);
    if (health_.ill() != outcome.facts->ill) keep_health();  // some are not asked about any more
    metrics_.learned(outcome.facts);
    service_health_.follow(outcome.facts->service_health, outcome.facts->attached);
  }

  auto next = std::chrono::milliseconds(events_waited_ ? kRetry : kMend);
  if (outcome.places_missing) {
    place_wait_ = std::min(place_wait_ == 0ms ? 250ms : place_wait_ * 2, std::chrono::milliseconds(kPlaceWaitMost));
    next = std::min(next, place_wait_);
  } else {
    place_wait_ = 0ms;
  }
  wish_pass(next);
}

void Daemon::say_new_warnings(const Outcome& outcome) {
  std::set<std::string> now(outcome.warnings.begin(), outcome.warnings.end());
  for (const std::string& warning : now)
    if (!warnings_.contains(warning)) log_.say(Severity::warning, "warned", {{"about", warning}});
  warnings_ = std::move(now);
}

std::optional<Mac> Daemon::find_mac(const Link& link, const Address& address) {
  Netlink& netlink = *reconciler_.edges().netlink;
  auto mac = netlink.neighbour(link.l3_ifindex, address);
  if (mac && *mac) return *mac;
  (void)netlink.probe_neighbour(address);  // found, or not, the next time
  return std::nullopt;
}

// The tables say so already, without a pass: those who are to hear of it hear it now.
void Daemon::on_moved(const std::vector<Address>& taken, const std::vector<Address>& dropped) {
  for (LinkVips& owned : owned_) {
    for (const Address& vip : dropped) std::erase(owned.vips, vip);
    std::vector<Address> fresh;
    for (const Address& vip : taken)
      if (peering_.announced_on(vip, owned.link) && !std::binary_search(owned.vips.begin(), owned.vips.end(), vip)) fresh.push_back(vip);
    if (fresh.empty()) continue;
    announce({{owned.link, fresh}});
    owned.vips.insert(owned.vips.end(), fresh.begin(), fresh.end());
    std::sort(owned.vips.begin(), owned.vips.end());
  }
  schedule_.set(owned_, Clock::now());
  arm_announcements();
  if (kubernetes_) wish_pass(0ms);  // the server is told who answers
}

void Daemon::arm_announcements() {
  loop_.cancel(announce_timer_);
  const auto next = schedule_.next();
  if (!next) return;
  announce_timer_ = loop_.at(*next, [this] {
    announce(schedule_.due(Clock::now()));
    arm_announcements();
  });
}

void Daemon::announce(const std::vector<LinkVips>& all) {
  for (const LinkVips& entry : all)
    if (auto sent = reconciler_.edges().announce(entry.link, entry.vips); !sent)
      log_.say(Severity::warning, "vips not announced", {{"link", entry.link.name}, {"reason", sent.error().text}});
}

// MetalLB answers again and does not say so: clients would keep the MAC of the node that had the VIP last. The last daemon that
// hears of it may even take the VIP from the others for a moment, and announce it; so it is said again.
void Daemon::give_back(const std::vector<LinkVips>& vips) {
  if (vips.empty()) return;
  announce(vips);
  for (const auto later : {300ms, 1000ms, 3000ms})
    loop_.at(Clock::now() + later, [this, vips] { announce(vips); });
}

// The ring is a pinned map: it comes with the first link and goes with the last. It has room for one reader, so a `trace` that
// was there before us keeps it until it ends; every pass asks again.
void Daemon::follow_events(bool attached) {
  if (attached == static_cast<bool>(events_)) return;
  if (!attached) {
    loop_.forget(events_->fd());
    events_.reset();
    events_lock_.reset();
    return;
  }
  if (!events_lock_) {
    auto lock = Lock::take(reconciler_.settings().events_lock_file(), 0ms, "`xdp-lb trace` is reading the events");
    if (!lock) {
      if (!events_waited_) log_.say(Severity::warning, "events not followed yet", {{"reason", lock.error().text}});
      events_waited_ = true;
      return;
    }
    events_lock_ = std::move(*lock);
    if (std::exchange(events_waited_, false)) log_.say(Severity::info, "events followed");
  }
  auto ring = EventRing::open(reconciler_.settings().pin_dir);
  if (!ring) {
    log_.say(Severity::error, "events not followed", {{"reason", ring.error().text}});
    return;
  }
  events_ = std::move(*ring);
  auto watched = loop_.watch(events_->fd(), EPOLLIN, [this](std::uint32_t) {
    if (auto read = events_->read([this](const lb_event& event) { on_event(event); }); !read)
      log_.say(Severity::error, "events not read", {{"reason", read.error().text}});
  });
  if (!watched) log_.say(Severity::error, "events not followed", {{"reason", watched.error().text}});
}

void Daemon::on_event(const lb_event& event) {
  if (event.kind == XLB_EVENT_CONFLICT) on_conflict(event);
  if (tracers_.empty()) return;
  const std::string line = encode(event);
  std::vector<ControlServer::Connection> listeners;  // sending may drop one
  for (const auto& [connection, every] : tracers_) listeners.push_back(connection);
  for (const auto connection : listeners) control_->send(connection, line);
}

// Somebody's frame claims a VIP of ours. It is told and defended, never yielded: who has the key speaks otherwise.
void Daemon::on_conflict(const lb_event& event) {
  const Address vip = Address::from_abi(event.source);
  Mac mac;
  std::copy(std::begin(event.mac), std::end(event.mac), mac.bytes.begin());
  if (peering_.is_peer(mac)) return;  // claims settle what is between us
  const auto now = Clock::now();
  metrics_.conflict(vip);
  if (conflicts_.size() > kConflictsKept) conflicts_.clear();  // forged senders must not eat memory
  auto [entry, fresh] = conflicts_.try_emplace({vip, mac}, Conflict{now, 0});
  if (fresh || now - entry->second.said >= kConflictSaid) {
    log_.say(Severity::warning, "vip claimed by a stranger",
             {{"vip", vip.text()}, {"mac", mac.text()}, {"unsaid", std::to_string(entry->second.unsaid)}});
    entry->second = {now, 0};
  } else {
    ++entry->second.unsaid;
  }
  const auto defended = defended_.find(vip);
  if (defended != defended_.end() && now - defended->second < kDefend) return;
  for (const LinkVips& owned : owned_) {
    if (!std::binary_search(owned.vips.begin(), owned.vips.end(), vip)) continue;
    defended_[vip] = now;
    if (auto sent = reconciler_.edges().announce(owned.link, {vip}); !sent)
      log_.say(Severity::warning, "vip not defended", {{"vip", vip.text()}, {"reason", sent.error().text}});
  }
}

void Daemon::on_request(ControlServer::Connection connection, const std::string& line) {
  if (!begun_) {
    early_.emplace_back(connection, line);
    return;
  }
  const auto refuse = [&](const Error& error) {
    control_->send(connection, encode(error));
    control_->finish(connection);
  };
  auto request = decode_request(line);
  if (!request) return refuse(request.error());
  if (auto same = same_node(*request, reconciler_.settings()); !same) return refuse(same.error());
  if (const auto* trace = std::get_if<TraceRequest>(&request->demand)) return start_trace(connection, trace->every);
  if (asks_cluster(request->demand)) {
    auto told = answer(request->demand, peering_.keeps_peers() ? &peering_ : nullptr);
    if (!told) return refuse(told.error());
    control_->send(connection, encode(*told));
    return control_->finish(connection);
  }
  waiting_.take(connection, std::move(*request));
}

void Daemon::start_trace(ControlServer::Connection connection, std::uint32_t every) {
  const auto refuse = [&](const std::string& text) {
    tracers_.erase(connection);
    control_->send(connection, encode(Error{text}));
    control_->finish(connection);
  };
  if (events_waited_) return refuse("another `xdp-lb trace`, older than the daemon, is reading the events: end it first");
  if (!events_) return refuse("nothing is attached: xdp-lb attach IFACE");
  tracers_[connection] = std::max(every, 1u);
  if (auto renewed = renew_trace(); !renewed) return refuse(renewed.error().text);
}

void Daemon::stop_trace(ControlServer::Connection connection) {
  if (tracers_.erase(connection) == 0) return;
  if (auto renewed = renew_trace(); !renewed)
    log_.say(Severity::warning, "trace not changed", {{"reason", renewed.error().text}});
}

// The finest of the samplings asked for, for a short while; nobody asks: off.
Result<void> Daemon::renew_trace() {
  loop_.cancel(trace_timer_);
  std::uint32_t every = 0;
  for (const auto& [connection, wished] : tracers_) every = every == 0 ? wished : std::min(every, wished);
  const std::uint64_t lease =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(kTraceLease).count());
  auto set = reconciler_.set_trace(every == 0 ? 0 : monotonic_ns() + lease, every, pass_options());
  if (!set) return set.error();
  if (every != 0 || !*set)
    trace_timer_ = loop_.at(Clock::now() + (*set ? std::chrono::milliseconds(kTraceRenewal) : kLockAgain), [this] {
      if (auto renewed = renew_trace(); !renewed)
        log_.say(Severity::warning, "trace not renewed", {{"reason", renewed.error().text}});
    });
  return {};
}

}  // namespace xlb
