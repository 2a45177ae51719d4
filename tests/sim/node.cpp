// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/node.hpp"

#include <algorithm>
#include <utility>

#include "tests/sim/world.hpp"

namespace xlb::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kRenewal = milliseconds(100);
// After the claim: announcements so close together that a client is late by one lost frame only.
constexpr std::array<Time, 6> kAnnouncements = {milliseconds(0),    milliseconds(50),   milliseconds(200),
                                                milliseconds(1300), milliseconds(2400), milliseconds(3500)};

}  // namespace

Node::Node(World& world, Host host, std::string name)
    : world_(world), host_(host), name_(std::move(name)), mac_{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(host + 1)}} {
  const auto& vips = world.scenario().vips;
  for (std::size_t vip = 0; vip < vips.size(); ++vip) {
    OwnVip own;
    own.address = Address::from_ipv4({192, 168, 0, static_cast<std::uint8_t>(200 + vip)});
    own.eligible = true;
    const auto& order = vips[vip].order;
    own.rank.digest[0] = static_cast<std::uint8_t>(std::find(order.begin(), order.end(), name_) - order.begin());
    own_.push_back(std::move(own));
  }
  kernel_.vips.resize(vips.size());
}

// ---- what may happen to it ----------------------------------------------------------------------------------------

void Node::power_on(Time now) {
  if (kernel_.on) return;
  kernel_ = Kernel{};
  kernel_.on = true;
  kernel_.vips.resize(own_.size());
  offset_ = between(world_.random(), seconds(10), seconds(1000)) - now;
  if (offset_ + now < seconds(10)) offset_ = seconds(10) - now;
  start(now);
}

void Node::power_off() {
  kill();
  kernel_.on = false;
}

void Node::start(Time now) {
  if (!kernel_.on || cluster_ != nullptr) return;
  std::map<Address, std::uint64_t> adopted;
  const bool over = lease_over(now) && kernel_.lease != Time{};
  if (over && world_.plant() != Plant::epoch_not_raised) ++kernel_.epoch;
  for (std::size_t vip = 0; vip < own_.size(); ++vip) {
    const Kernel::Row& row = kernel_.vips[vip];
    if (row.owned_epoch == kernel_.epoch) adopted[own_[vip].address] = row.claim_epoch;
  }
  ++incarnation_;
  kernel_.lease = clock(now) + world_.scenario().settings.lease;
  ClusterSettings settings = world_.scenario().settings;
  if (world_.plant() == Plant::delay_ignored) settings.fail_back_delay = Time{};
  cluster_ = std::make_unique<Cluster>(name_, settings, adopted);
  cluster_->declare(self());
  stopped_ = false;
  resumed_ = renewed_ = now;
  last_frame_ = Time{};
  frame_ = listening_ = false;
  next_step_ = Time{};
  wake_by(now + world_.lateness());
}

void Node::kill() {
  cluster_.reset();
  stopped_ = false;
  sent_.clear();
  flying_.clear();
  inbox_.clear();
  inbox_origin_.clear();
}

void Node::resume(Time now) {
  if (!stopped_) return;
  stopped_ = false;
  resumed_ = now;
  next_step_ = Time{};
  wake_by(now + world_.lateness());
}

void Node::set_eligible(std::size_t vip, bool eligible, const std::string& obstacle, Time now) {
  own_[vip].eligible = eligible;
  own_[vip].obstacle = eligible ? "" : obstacle;
  if (cluster_ == nullptr) return;
  cluster_->declare(self());
  wake_by(now + world_.lateness());
}

void Node::set_draining(bool draining, Time now) {
  draining_ = draining;
  if (cluster_ == nullptr) return;
  cluster_->declare(self());
  wake_by(now + world_.lateness());
}

void Node::set_configuration(std::uint64_t hash, Time now) {
  configuration_ = hash;
  if (cluster_ == nullptr) return;
  cluster_->declare(self());
  wake_by(now + world_.lateness());
}

// ---- the daemon ---------------------------------------------------------------------------------------------------

SelfFacts Node::self() const {
  SelfFacts self;
  self.incarnation = incarnation_;
  self.version = "0.1.0";
  self.macs = {mac_};
  for (const std::string& node : world_.scenario().nodes) {
    if (node != name_) self.listed.push_back(node);
  }
  self.draining = draining_;
  self.configuration = configuration_;
  self.vips = own_;
  return self;
}

void Node::wake_by(Time at) {
  if (next_step_ > Time{} && next_step_ <= at) return;
  next_step_ = at;
  world_.schedule_step(host_, at);
}

void Node::renew(Time now) {
  if (now - renewed_ < kRenewal) return;
  const bool over = lease_over(now);  // the clock is read after the renewal and held against the old deadline
  kernel_.lease = clock(now) + world_.scenario().settings.lease;
  renewed_ = now;
  if (!over) return;
  if (world_.plant() != Plant::epoch_not_raised) {
    ++kernel_.epoch;
    ++incarnation_;
    cluster_->declare(self());
  }
  world_.changed(now);
}

void Node::step(Time now) {
  if (now != next_step_ || !awake()) return;  // an event that was overtaken by an earlier one
  next_step_ = Time{};
  renew(now);
  const ClusterFacts facts = gather(now);
  ClusterOrders orders = cluster_->step(facts);
  if (world_.plant() == Plant::not_passed_on) orders.pass_on.clear();
  apply(facts, orders, now);
  if (world_.trace) tell(orders, now);
  inbox_origin_.clear();
  const Time wake = std::min(orders.wake - offset_, renewed_ + kRenewal);
  wake_by(std::max(wake, now) + world_.lateness());
}

ClusterFacts Node::gather(Time now) {
  ClusterFacts facts;
  facts.now = clock(now);
  facts.sent = std::exchange(sent_, {});
  const auto home =
      std::stable_partition(flying_.begin(), flying_.end(), [&](const Flying& f) { return f.home > now; });
  for (auto echo = home; echo != flying_.end(); ++echo) facts.returned.push_back(std::move(echo->echo));
  flying_.erase(home, flying_.end());
  facts.statements = std::exchange(inbox_, {});
  if (std::exchange(frame_, false)) last_frame_ = now;  // its time is that of the step that finds it
  facts.last_frame = last_frame_ == Time{} ? Time{} : clock(last_frame_);
  if (world_.plant() == Plant::deafness_ignored) facts.last_frame = facts.now;
  return facts;
}

void Node::apply(const ClusterFacts& facts, const ClusterOrders& orders, Time now) {
  if (orders.peers_changed) {
    for (const PeerView& peer : cluster_->peers()) {
      if (peer.known) kernel_.peers.insert(peer.name);
    }
  }
  if (orders.vips_changed) write_claims(now);
  for (const EchoOrder& order : orders.echoes) {
    sent_.push_back({order.peer, order.id, facts.now});
    if (const auto home = world_.echo(host_, order.peer, now)) {
      flying_.push_back({{order.peer, order.id, home->second}, home->first});
    }
  }
  for (const PassOn& pass : orders.pass_on) {
    world_.send(host_, pass.to, false, inbox_origin_[pass.index], false, now);
  }
  if (orders.statement) {
    auto statement = std::make_shared<Statement>(*orders.statement);
    statement->mac = mac_;
    world_.send(host_, orders.statement_to, orders.statement_broadcast, statement, true, now);
  }
  listening_ = orders.listen;
  if (orders.ask) world_.ask_around(host_);
}

void Node::tell(const ClusterOrders& orders, Time now) {
  if (orders.peers_changed) {
    std::string peers = cluster_->standing_reason();
    for (const PeerView& peer : cluster_->peers()) peers += "; " + peer.name + " " + peer.reason;
    world_.tell(name_, peers, now);
  }
  for (const std::string& note : orders.notes) world_.tell(name_, "note: " + note, now);
  if (!orders.vips_changed) return;
  for (const VipView& view : cluster_->vips()) {
    world_.tell(
        name_,
        view.address.text() + " owner " + view.owner + " epoch " + std::to_string(view.epoch) + ": " + view.reason,
        now);
  }
}

void Node::write_claims(Time now) {
  for (const VipView& view : cluster_->vips()) {
    for (std::size_t vip = 0; vip < own_.size(); ++vip) {
      if (own_[vip].address != view.address) continue;
      Kernel::Row& row = kernel_.vips[vip];
      const std::uint64_t owned = view.owned ? kernel_.epoch : 0;
      if (row.owned_epoch == owned && row.claim_epoch == view.epoch) continue;
      const bool taken = owned != 0 && row.owned_epoch != owned;
      row = {owned, view.epoch, now};
      if (taken) announce(vip, 0, view.epoch, now);
    }
  }
  world_.changed(now);
}

void Node::announce(std::size_t vip, unsigned round, std::uint64_t claim, Time now) {
  if (!awake() || !answers(vip, now) || kernel_.vips[vip].claim_epoch != claim) return;
  world_.announce(host_, vip, now);
  if (round + 1 < kAnnouncements.size()) {
    const Time at = now + kAnnouncements[round + 1] - kAnnouncements[round];
    world_.schedule_announcement(host_, vip, round + 1, claim, at);
  }
}

// ---- what the world does to it ------------------------------------------------------------------------------------

void Node::hear(const std::shared_ptr<const Statement>& statement, bool direct, Time now) {
  frame();
  if (!kernel_.on || cluster_ == nullptr) return;
  inbox_.push_back({*statement, direct, clock(now)});
  inbox_origin_.push_back(statement);
  if (!stopped_) wake_by(now + world_.lateness());
}

void Node::frame() {
  frame_ |= listening_;
}

std::optional<bool> Node::echo(const std::string& from, Time now) const {
  if (!kernel_.on || !kernel_.peers.contains(from)) return std::nullopt;
  return lease_over(now);
}

bool Node::answers(std::size_t vip, Time now) const {
  const bool minded = !lease_over(now) || world_.plant() == Plant::lease_skipped;
  return kernel_.on && kernel_.vips[vip].owned_epoch == kernel_.epoch && minded;
}

}  // namespace xlb::sim
