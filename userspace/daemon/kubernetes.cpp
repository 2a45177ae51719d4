// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/kubernetes.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "userspace/core/declared_peers.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/daemon/clock.hpp"

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr auto kWriteAgain = 2s;         // after a write that failed for another reason than that somebody was faster
constexpr std::size_t kWritesAtOnce = 16;

AllocatorElection::Time monotonic() {
  return std::chrono::nanoseconds(boot_ns());  // a machine that slept has missed its renewals
}

std::string shown(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses) text += (text.empty() ? "\"" : " \"") + address.text() + "\"";
  return "[" + text + "]";
}

}  // namespace

Kubernetes::Kubernetes(Loop& loop, const Log& log, KubernetesSettings settings, std::function<void()> changed)
    : loop_(loop), log_(log), settings_(std::move(settings)), changed_(std::move(changed)),
      class_(settings_.load_balancer_class), election_(settings_.writer.node) {}

Kubernetes::~Kubernetes() {
  loop_.cancel(election_timer_);
  loop_.cancel(retry_timer_);
  if (server_) loop_.forget(server_->ready_fd());
}

Result<std::unique_ptr<Kubernetes>> Kubernetes::start(Loop& loop, const Log& log, KubernetesSettings settings,
                                                      std::function<void()> changed) {
  std::unique_ptr<Kubernetes> made(new Kubernetes(loop, log, std::move(settings), std::move(changed)));
  auto server = ApiServer::connect(made->settings_.credentials, made->settings_.server);
  if (!server) return server.error().in("Kubernetes");
  made->server_ = std::move(*server);
  auto watched = loop.watch(made->server_->ready_fd(), EPOLLIN, [self = made.get()](std::uint32_t) { self->on_ready(); });
  if (!watched) return watched.error();
  return made;
}

void Kubernetes::on_ready() {
  const bool fresh = server_->drain();
  for (const std::string& trouble : server_->take_troubles()) log_.say(Severity::warning, "api server", {{"about", trouble}});
  if (fresh) take_state();
}

void Kubernetes::take_state() {
  const auto before = std::exchange(state_, server_->state());
  const bool first = !before;
  if (!state_) return;
  if (first) log_.say(Severity::info, "api server listed", {{"services", std::to_string(state_->objects.services.size())}});
  stand_for_election();

  auto facts = std::make_shared<ApiFacts>();
  facts->objects = state_->objects;
  class_.keep(facts->objects);
  pools_.put_into(facts->objects);
  // What this node served up to now counts where a Lease was deleted by hand. In standby that is how a VIP is given back.
  const bool same_services = before && state_->services.is(before->services) && state_->leases.is(before->leases) &&
                             facts_ && facts->objects.services == facts_->objects.services;
  facts->given = same_services ? facts_->given
                               : Shared(given_by_api(facts->objects, *state_, facts_ && !settings_.standby ? *facts_->given : Assignments{}));
  facts->taken_over = taken_over(*state_->leases, settings_.standby);
  facts->policed = state_->policed;
  facts->warnings = state_->unreadable;
  facts->warnings.insert(facts->warnings.end(), state_->warnings.begin(), state_->warnings.end());
  if (!pools_.stale().empty())
    facts->warnings.push_back("the API server's pools and advertisements are not in force, the last good ones are: " + pools_.stale());
  if (!state_->metallb_kinds)
    facts->warnings.push_back("the API server does not know IPAddressPool: install the chart's CRDs, or MetalLB's");
  for (const auto& [name, assignment] : *facts->given) {
    if (!assignment.addresses.empty()) continue;
    const auto refusal = refusals_.find(name);
    facts->waiting[name] = settings_.standby ? std::string("standby: MetalLB's until `xdp-lb migrate` takes it over")
                           : refusal != refusals_.end() ? refusal->second
                           : election_.holder().empty()
                               ? std::string("nobody gives addresses out yet")
                               : "waits for an address: " + election_.holder() + " gives them out, and an event of the Service says why not";
  }
  const bool other = !facts_ || *facts != *facts_;
  facts_ = std::move(facts);
  allocate_addresses();
  report_announced();
  report_configuration();
  report_taken_over();
  if (other) changed_();
}

void Kubernetes::stand_for_election() {
  loop_.cancel(election_timer_);
  if (!state_ || settings_.standby) return;
  const auto now = monotonic();
  const auto lease = state_->leases->find(kAllocatorLease);
  const auto known = lease == state_->leases->end() ? std::nullopt : std::optional(lease->second);
  if (auto order = election_.step(known, now)) {
    if (order->create) order->lease.identity = {};
    ApiRequest request = write_lease(settings_.writer, kAllocatorLease, order->lease, wall_us());
    request.timeout = 5s;
    server_->request(std::move(request), [this, now](const ApiAnswer& answer) {
      election_.answered(answer.good(), now);
      if (!answer.good() && !answer.conflict())
        log_.say(Severity::warning, "allocator not elected", {{"reason", answer.error}});
      const bool leads = election_.leads(monotonic());
      if (leads != led_) {
        log_.say(Severity::info, leads ? "gives addresses out" : "gives addresses out no more");
        allocator_.start_over();
        settled_.reset();
        counted_.clear();
        configuration_.erase(Reporter::allocator);
        led_ = leads;
      }
      if (leads) allocate_addresses();
      report_configuration();
    });
  }
  const auto wait = std::max<AllocatorElection::Time>(election_.next_step() - now, 100ms);
  election_timer_ = loop_.at(Clock::now() + std::chrono::duration_cast<Clock::duration>(wait), [this] { stand_for_election(); });
}

void Kubernetes::allocate_addresses() {
  if (!state_ || !facts_ || !election_.leads(monotonic())) {
    refusals_.clear();
    settled_.reset();
    return;
  }
  std::map<Address, std::string> avoid = avoid_;
  avoid.merge(node_uses(facts_->objects));
  // Without pools nothing can be said of what should be; with them it is done step by step, each seen before the next.
  if (facts_->objects.pools.empty() && !pools_.loaded()) return;
  Settled now{state_->services, state_->leases, facts_->objects, std::move(avoid)};
  now.objects.slices.clear();
  // An endpoint that comes or goes gives nobody an address.
  if (settled_ == now) return;
  settled_.reset();
  AllocatorOrders orders = allocator_.step(facts_->objects, *state_, now.avoid);
  refusals_ = orders.refusals;
  for (ServiceNotice& said : orders.notices) notice(std::move(said));
  for (const ClaimOrder& order : orders.claims) {
    ApiLease lease = address_lease_object(order.lease);
    if (!order.create) lease.identity = order.lease.identity;
    const std::string name = address_lease_name(order.lease.address);
    write("Lease " + name, write_lease(settings_.writer, name, lease, wall_us()), {});
  }
  for (const StatusOrder& order : orders.statuses) {
    write("Service " + order.service.text(), write_status(order), [this, order](const ApiAnswer& answer) {
      if (!answer.good()) return;
      allocator_.wrote(order);
      settled_.reset();
      if (order.ingress.empty())
        notice({order.service, order.identity.uid, false, "ClearAssignment", "Lost its address: " + order.reason});
      else
        notice({order.service, order.identity.uid, false, "IPAllocated", "Assigned IP " + shown(order.ingress)});
    });
  }
  for (const ReleaseOrder& order : orders.releases) release(order, 0);
  count_pools(orders);
  const bool nothing_to_do = orders.claims.empty() && orders.statuses.empty() && orders.releases.empty();
  if (nothing_to_do && under_way_.empty()) settled_ = std::move(now);
}

// Users that are in no list here are asked for one by one: only who is gone indeed loses its address.
void Kubernetes::release(const ReleaseOrder& order, std::size_t asked) {
  const std::string name = address_lease_name(order.lease.address);
  if (asked < order.unseen.size()) {
    const AddressUser& user = order.unseen[asked];
    write("Lease " + name, read_service(user.service), [this, order, asked, uid = user.uid](const ApiAnswer& answer) {
      if (!still_there(answer, uid)) release(order, asked + 1);
    });
    return;
  }
  if (order.lease.users.empty()) {
    write("Lease " + name, remove_lease(settings_.writer, name, order.lease.identity), {});
    return;
  }
  ApiLease lease = address_lease_object(order.lease);
  lease.identity = order.lease.identity;
  write("Lease " + name, write_lease(settings_.writer, name, lease, wall_us()), {});
}

void Kubernetes::write(const std::string& thing, ApiRequest request, std::function<void(const ApiAnswer&)> then) {
  if (under_way_.size() >= kWritesAtOnce || !under_way_.insert(thing).second) return;
  server_->request(std::move(request), [this, thing, then = std::move(then)](const ApiAnswer& answer) {
    under_way_.erase(thing);
    if (answer.good() || answer.conflict() || answer.gone()) {
      said_.erase(thing);
    } else if (said_[thing] != answer.error) {
      said_[thing] = answer.error;
      log_.say(Severity::warning, "not written", {{"thing", thing}, {"reason", answer.error}});
    }
    if (then) then(answer);
    // What a full hand had to leave, or what failed, is looked at again without a change of the state.
    loop_.cancel(retry_timer_);
    const auto again = answer.good() && under_way_.empty() ? Clock::duration(50ms) : Clock::duration(kWriteAgain);
    retry_timer_ = loop_.at(Clock::now() + again, [this] {
      allocate_addresses();
      report_announced();
      report_configuration();
      report_taken_over();
    });
  });
}

void Kubernetes::notice(ServiceNotice notice) {
  log_.say(notice.warning ? Severity::warning : Severity::info, "service told",
           {{"service", notice.service.text()}, {"reason", notice.reason}, {"message", notice.message}});
  // An event that gets lost is no harm: the log has it, and `why` says it.
  server_->request(write_event(settings_.writer, notice, wall_us()), [](const ApiAnswer&) {});
}

void Kubernetes::count_pools(const AllocatorOrders& orders) {
  if (!state_->metallb_kinds) return;
  for (const Pool& pool : facts_->objects.pools) {
    if (!state_->pools.contains(pool.name.name)) continue;
    const PoolCounts counts = count(pool, orders.wanted);
    const auto before = counted_.find(pool.name.name);
    if (before != counted_.end() && before->second == counts) continue;
    write("IPAddressPool " + pool.name.text(), write_pool_status(pool.name, counts),
          [this, name = pool.name.name, counts](const ApiAnswer& answer) {
            if (answer.good() || answer.gone()) counted_[name] = counts;
          });
  }
}

void Kubernetes::took_in(const Outcome& outcome) {
  avoid_ = outcome.uses;
  const auto announced_before = std::exchange(announced_, {});
  reported_ = true;
  owned_.clear();
  for (const LinkVips& owned : outcome.owned) owned_.insert(owned.vips.begin(), owned.vips.end());
  report_taken_over();
  for (const DesiredVip& vip : outcome.among_peers.vips) {
    std::vector<std::string> links;
    for (const LinkVips& owned : outcome.owned)
      if (std::binary_search(owned.vips.begin(), owned.vips.end(), vip.address))
        links.push_back(owned.link.l3_name.empty() ? owned.link.name : owned.link.l3_name);
    if (links.empty()) continue;
    for (const ObjectName& service : vip.services) {
      if (!facts_ || !facts_->given->contains(service)) continue;
      std::vector<std::string>& all = announced_[service];
      all.insert(all.end(), links.begin(), links.end());
    }
  }
  for (auto& [service, links] : announced_) {
    std::sort(links.begin(), links.end());
    links.erase(std::unique(links.begin(), links.end()), links.end());
  }
  tell_announced(outcome);
  if (announced_ != announced_before) told_statuses_.reset();
  report_announced();
}

// Events: who announces a service, or why this node would and does not.
void Kubernetes::tell_announced(const Outcome& outcome) {
  if (!state_ || settings_.standby) return;
  const std::string announcing = "announcing from node \"" + settings_.writer.node + "\" with protocol \"layer2\"";
  std::map<ObjectName, std::string> tell;
  for (const DesiredVip& vip : outcome.among_peers.vips) {
    const auto conflict = outcome.conflicts.find(vip.address);
    if (conflict == outcome.conflicts.end()) continue;
    for (const ObjectName& service : vip.services) tell.emplace(service, announcing + " failed: " + conflict->second);
  }
  for (const auto& [service, links] : announced_) tell[service] = announcing;
  for (const auto& [service, message] : tell) {
    const auto api = state_->services->find(service);
    if (api == state_->services->end() || told_[service] == message) continue;
    const bool well = announced_.contains(service);
    notice({service, api->second.identity.uid, !well, well ? "nodeAssigned" : "announceFailed", message});
    told_[service] = message;
  }
  std::erase_if(told_, [&](const auto& told) { return !tell.contains(told.first); });
}

// ServiceL2Status: one for each service that is announced here, as `kubectl get servicel2statuses` shows them.
void Kubernetes::report_announced() {
  if (!state_ || !state_->metallb_kinds || !reported_ || settings_.standby) return;
  if (told_statuses_ && told_statuses_->is(state_->l2_statuses)) return;
  std::map<std::string, ObjectName> wanted;
  for (const auto& [service, links] : announced_) wanted[l2_status_name(settings_.writer, service)] = service;
  std::size_t owned = 0, right = 0;  // of this node, and as they should be
  for (const auto& [name, status] : *state_->l2_statuses) {
    const bool own = status.node == settings_.writer.node;
    // MetalLB's speaker names its own otherwise. While it is there each would delete and make anew what the other one made; it goes
    // with the speaker's Pod, and says the same meanwhile.
    if (own && name != l2_status_name(settings_.writer, status.service)) {
      wanted.erase(l2_status_name(settings_.writer, status.service));
      continue;
    }
    owned += own ? 1 : 0;
    const auto found = wanted.find(name);
    if (found == wanted.end()) {
      if (own) write("ServiceL2Status " + name, remove_l2_status(settings_.writer, name, status.identity), {});
      continue;
    }
    const std::vector<std::string>& links = announced_[found->second];
    if (!own)  // made, and not filled
      write("ServiceL2Status " + name, fill_l2_status(settings_.writer, found->second, links), {});
    else if (status.interfaces != links)  // immutable: made anew
      write("ServiceL2Status " + name, remove_l2_status(settings_.writer, name, status.identity), {});
    if (own && status.interfaces == links) ++right;
    wanted.erase(found);
  }
  if (right == announced_.size() && right == owned) told_statuses_ = state_->l2_statuses;
  for (const auto& [name, service] : wanted) {
    write("ServiceL2Status " + name, make_l2_status(settings_.writer, service),
          [this, thing = "ServiceL2Status " + name, fill = fill_l2_status(settings_.writer, service, announced_[service])](
              const ApiAnswer& answer) {
            if (answer.good()) write(thing, fill, {});
          });
  }
}

// ConfigurationState: what MetalLB's parts say of pools and advertisements, for whoever looks there.
void Kubernetes::report_configuration() {
  if (!state_ || !state_->metallb_kinds || settings_.standby) return;
  for (const Reporter reporter : {Reporter::node, Reporter::allocator}) {
    if (reporter == Reporter::allocator && !led_) continue;
    ConfigurationReport& report = configuration_[reporter];
    if (report.since_1970_us == 0 || report.problem != pools_.stale()) report = {pools_.stale(), wall_us(), false};
    if (report.written) continue;
    const std::string thing = "ConfigurationState " + configuration_state_name(settings_.writer, reporter);
    const auto done = [this, reporter, problem = report.problem] {
      const auto known = configuration_.find(reporter);
      if (known != configuration_.end() && known->second.problem == problem) known->second.written = true;
    };
    write(thing, make_configuration_state(settings_.writer, reporter),
          [this, thing, done, fill = fill_configuration_state(settings_.writer, reporter, report.problem, report.since_1970_us)](
              const ApiAnswer& answer) {
            if (answer.gone()) done();  // the definitions are MetalLB's of before 0.16, which have no such kind
            if (!answer.good()) return;
            write(thing, fill, [done](const ApiAnswer& filled) {
              if (filled.good()) done();
            });
          });
  }
}

// Whoever migrates waits for it, VIP by VIP.
void Kubernetes::report_taken_over() {
  if (!state_ || !settings_.standby) return;
  for (const auto& [name, lease] : *state_->leases) {
    const auto address = address_of_lease_name(name);
    if (!address || !owned_.contains(*address) || !lease.annotations.contains(kTakenOverAnnotation)) continue;
    const auto told = lease.annotations.find(kAnnouncedByAnnotation);
    if (told != lease.annotations.end() && told->second == settings_.writer.node) continue;
    write("Lease " + name, annotate_lease(settings_.writer, name, lease.identity, {{kAnnouncedByAnnotation, settings_.writer.node}}), {});
  }
}

void Kubernetes::say_metrics(MetricsText& metrics) const {
  const ApiCounters counters = server_->counters();
  metrics.family("metallb_k8s_client_updates_total", MetricsText::Kind::counter, "Objects that the API server sent.");
  metrics.sample(counters.updates);
  metrics.family("metallb_k8s_client_update_errors_total", MetricsText::Kind::counter, "Those that could not be read.");
  metrics.sample(counters.update_errors);
  metrics.family("xdp_lb_api_server_reached", MetricsText::Kind::gauge, "1: every kind is watched or was listed.");
  metrics.sample(std::uint64_t{server_->contact().reached ? 1u : 0u});
  metrics.family("xdp_lb_api_server_failures_total", MetricsText::Kind::counter, "Lists, watches and requests that failed.");
  metrics.sample(counters.failures);
  metrics.family("xdp_lb_api_server_requests_total", MetricsText::Kind::counter, "Requests besides lists and watches.");
  metrics.sample(counters.requests);
  metrics.family("xdp_lb_api_server_states_total", MetricsText::Kind::counter, "Times that something had changed.");
  metrics.sample(counters.states);
  metrics.family("xdp_lb_api_pools_stale", MetricsText::Kind::gauge, "1: the server's pools make no sense, the last good ones are in force.");
  metrics.sample(std::uint64_t{pools_.stale().empty() ? 0u : 1u});
  metrics.family("xdp_lb_allocator", MetricsText::Kind::gauge, "1: this node gives addresses out.");
  metrics.sample(std::uint64_t{led_ ? 1u : 0u});
}

}  // namespace xlb
