// SPDX-License-Identifier: Apache-2.0
// A step reads everything that came in, judges the peers, then this node's own standing, then the claims; then it
// sees what is to be sent. Costly parts (claims, views) run only when something that they depend on has changed.
//
// Ages and delays count on clocks of its own, `awake_` and `attentive_`, which stand still while this node stalls: it would
// otherwise find everybody else old when it wakes up. Echoes are judged by real time, but only by those that were
// really sent.
#include "userspace/core/cluster.hpp"

#include <algorithm>
#include <utility>

namespace xlb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// How late a step may be without being a stall: on a machine with busy cores it is late by as much again and again.
constexpr auto kLateness = milliseconds(25);
constexpr auto kLatenessAmongEchoes = milliseconds(5);  // the same where a few echoes are counted
constexpr auto kCopyInterval = milliseconds(10);
constexpr unsigned kCopies = 2;       // after the first one of a statement that says something new
constexpr unsigned kHelloEvery = 25;  // statements: one is broadcast, for nodes that nobody listed
constexpr int kHelloOfOwner = 2;      // echo intervals: how often an owner that has not met a listed peer broadcasts one
constexpr auto kSearch = seconds(3);  // echoes to a lost peer stay frequent for so long
constexpr auto kDifferenceBorne = seconds(5);  // of configurations, before it is told
constexpr auto kAloneStep = seconds(1);
constexpr auto kTick = std::chrono::nanoseconds(1);

// The next multiple: echoes to all peers go out in one wake-up.
Instant next_tick(Instant now, std::chrono::nanoseconds interval) {
  return (now / interval + 1) * interval;
}

bool same_claims(const Statement& a, const Statement& b) {
  return a.incarnation == b.incarnation && a.draining == b.draining && a.listening == b.listening &&
         a.deaf == b.deaf && a.vips == b.vips;
}

bool same_person(const Statement& a, const Statement& b) {
  return a.incarnation == b.incarnation && a.version == b.version && a.addresses == b.addresses && a.mac == b.mac &&
         a.draining == b.draining && a.listening == b.listening && a.deaf == b.deaf &&
         a.configuration == b.configuration;
}

const VipStatement* find_vip(const Statement& statement, const Address& vip) {
  const auto found = std::lower_bound(statement.vips.begin(), statement.vips.end(), vip,
                                      [](const VipStatement& said, const Address& key) { return said.vip < key; });
  return found != statement.vips.end() && found->vip == vip ? &*found : nullptr;
}

}  // namespace

Cluster::Cluster(std::string name, const ClusterSettings& settings, const std::map<Address, std::uint64_t>& adopted)
    : name_(std::move(name)), settings_(settings), membership_(settings) {
  for (const auto& [vip, epoch] : adopted) {
    Record& record = records_[vip];
    record.epoch = record.highest_epoch = std::max<std::uint64_t>(epoch, 1);
    record.origin = "answered for it when the daemon started";
  }
  joins_ = "has just started and listens";
}

void Cluster::declare(SelfFacts self) {
  if (declared_ && self.incarnation != self_.incarnation) {
    for (auto& [vip, record] : records_) record.epoch = 0;
    joins_ = "has lost its lease, and listens";
  } else if (declared_ && self_.alone && !self.alone) {
    joins_ = "has just got peers, and listens";  // and keeps what it owns
  }
  membership_.list(self.listed);
  for (auto& [vip, record] : records_) {
    record.declared = false;
    record.own = {vip, false, "it is not declared on this node", record.own.rank};
  }
  for (OwnVip& own : self.vips) {
    const auto [entry, added] = records_.try_emplace(own.address);
    if (added) {
      for (const auto& [name, peer] : membership_.peers()) {
        const VipStatement* said = find_vip(peer.said, own.address);
        if (said != nullptr) entry->second.highest_epoch = std::max(entry->second.highest_epoch, said->epoch);
      }
    }
    entry->second.own = std::move(own);
    entry->second.declared = true;
  }
  self.vips.clear();
  self_ = std::move(self);
  declared_ = claims_dirty_ = peers_dirty_ = said_dirty_ = true;
}

ClusterOrders Cluster::step(const ClusterFacts& facts) {
  ClusterOrders orders;
  read_clock(facts.now);
  const bool heard_before = membership_.anybody_heard();
  read_echoes(facts);
  for (std::size_t index = 0; index < facts.statements.size(); ++index) read(facts.statements[index], index, orders);
  const Membership::Changes changes = membership_.judge(now_, {awake_, attentive_});
  claims_dirty_ |= changes.judged;
  peers_dirty_ |= changes.judged;
  speak_now_ |= changes.missing;
  if (!self_.alone) settle_standing(facts.last_frame, heard_before);
  if (claims_dirty_ || awake_ >= claims_due_) settle_claims(orders);
  if (peers_dirty_) view_peers(orders);
  tell_differences(orders);
  if (!self_.alone) {
    send_echoes(orders);
    ask_around(facts.last_frame, orders);
    speak(orders);
  }
  planned_ = orders.wake = std::max(next_step(), now_ + kTick);
  return orders;
}

// ---- reading ------------------------------------------------------------------------------------------------------

void Cluster::read_clock(Instant now) {
  if (!started_) {
    started_ = true;
    now_ = planned_ = standing_since_ = now;
  }
  const auto elapsed = std::max(now - now_, Instant{});
  const auto planned = std::max(planned_ - now_, Instant{});
  const auto expected = planned + kLateness;
  awake_ += std::min(elapsed, expected);
  attentive_ += std::min(elapsed, planned + kLatenessAmongEchoes);
  now_ += elapsed;
  if (elapsed - expected <= settings_.stale_age || self_.alone) return;
  // It has missed too much to go on as if nothing had been. Statements that waited are about to be read.
  membership_.doubt();
  claims_dirty_ = peers_dirty_ = true;
  const bool listens_long_enough =
      standing_ == Standing::listening && listening_until_ >= awake_ + settings_.rejoin_listen;
  if ((standing_ == Standing::standing || standing_ == Standing::listening) && !listens_long_enough) {
    rejoin("was stopped for a while, and listens");
  }
}

void Cluster::read_echoes(const ClusterFacts& facts) {
  for (const EchoSent& echo : facts.sent) {
    if (Peer* peer = membership_.find(echo.peer)) peer->echoes.sent(echo.id, echo.at);
  }
  for (const EchoReturned& echo : facts.returned) {
    if (Peer* peer = membership_.find(echo.peer)) peer->echoes.returned(echo.id, echo.stale);
  }
}

void Cluster::read(const StatementHeard& heard, std::size_t index, ClusterOrders& orders) {
  const Statement& statement = heard.statement;
  if (statement.node == name_) return meet_namesake(statement, orders);
  const Peer* known = membership_.find(statement.node);
  if (known != nullptr && known->known && known->said.mac != statement.mac && known->heard && known->fresh &&
      (!known->said.listening || statement.listening)) {
    note("namesakes " + statement.node,
         "two nodes are called " + statement.node + ": " + known->said.mac.text() + " and " + statement.mac.text() +
             ", which is ignored; rename one",
         orders);
    return;
  }
  const bool met = known == nullptr || !known->known;
  const bool back = !met && known->outdated;
  const Statement before = met ? Statement{} : known->said;
  if (!membership_.said(statement, heard.at, awake_)) return;
  // A newcomer is to know what holds here; and who misses this node's echoes may still hear what it says.
  const auto hears_this = [&](const Statement& said) {
    return std::binary_search(said.hears.begin(), said.hears.end(), name_);
  };
  if (met || before.incarnation != statement.incarnation || (hears_this(before) && !hears_this(statement))) {
    speak_now_ = true;
  }
  if (met || back || !same_person(before, statement)) peers_dirty_ = true;
  if (met || back || !same_claims(before, statement)) {
    claims_dirty_ = true;
    for (const VipStatement& vip : statement.vips) {
      const auto record = records_.find(vip.vip);
      if (record == records_.end()) continue;
      record->second.highest_epoch = std::max(record->second.highest_epoch, vip.epoch);
      // Also where the next statement, read in the same step after a stall, takes it back: the fail-back delay starts anew.
      if (statement.withdrawn() || !vip.eligible) record->second.candidate_since.erase(statement.node);
    }
  }
  if (heard.direct && now_ - heard.at <= settings_.echo_interval) pass_on(statement, index, orders);
}

// Of two nodes with one name the one that came later gives way; of two that meet, the one with the higher MAC.
void Cluster::meet_namesake(const Statement& statement, ClusterOrders& orders) {
  if (std::find(self_.macs.begin(), self_.macs.end(), statement.mac) != self_.macs.end())
    return;  // its own, reflected
  const bool listening = standing_ == Standing::listening || standing_ == Standing::doubled;
  const bool later = self_.macs.empty() || *std::min_element(self_.macs.begin(), self_.macs.end()) > statement.mac;
  const bool yields = listening != statement.listening ? listening : later;
  if (!yields) {
    note("namesake",
         "another node is called " + name_ + " too: " + statement.mac.text() + "; it is ignored; rename it", orders);
    return;
  }
  namesake_until_ = awake_ + 2 * settings_.stale_age;
  if (standing_ == Standing::doubled) return;
  stand(Standing::doubled, "has the name of another node, " + statement.mac.text() + "; rename one");
  note("namesake", "this node " + standing_reason_, orders);
}

// Who hears two nodes that do not hear each other tells each what the other said: once, as it came.
void Cluster::pass_on(const Statement& statement, std::size_t index, ClusterOrders& orders) {
  PassOn pass{index, {}};
  for (const auto& [name, peer] : membership_.peers()) {
    if (name == statement.node || !peer.reached || !peer.fresh) continue;
    const bool hears_it = std::binary_search(statement.hears.begin(), statement.hears.end(), name);
    if (!hears_it || !peer.hears(statement.node)) pass.to.push_back(name);
  }
  if (!pass.to.empty()) orders.pass_on.push_back(std::move(pass));
}

// ---- judging ------------------------------------------------------------------------------------------------------

void Cluster::stand(Standing standing, const std::string& reason) {
  standing_ = standing;
  standing_reason_ = reason;
  standing_since_ = now_;
  next_ask_ = now_;
  claims_dirty_ = true;
}

void Cluster::listen(std::chrono::nanoseconds time, const std::string& reason) {
  stand(Standing::listening, reason);
  listening_until_ = awake_ + time;
}

void Cluster::rejoin(const std::string& reason) {
  listen(settings_.rejoin_listen, reason);
  gives_way_until_ = listening_until_ + settings_.detection();
}

void Cluster::settle_standing(Instant last_frame, bool heard_before) {
  if (!joins_.empty()) return listen(settings_.join_listen, std::exchange(joins_, {}));
  const bool heard = membership_.anybody_heard();
  // A node claims nothing new unless somebody, whoever it is, has given a sign of life lately.
  const Instant lately = now_ - 2 * settings_.statement_interval;
  const bool unanswered = std::max(last_frame, membership_.last_sign()) <= lately;
  claims_dirty_ |= std::exchange(unanswered_, unanswered) != unanswered;
  switch (standing_) {
    case Standing::listening:
    case Standing::standing:
      // The last peer is lost. Has anybody else spoken since the first miss?
      if (heard_before && !heard && last_frame <= std::max(membership_.quiet_since(), lately)) return fall_deaf();
      if (standing_ == Standing::standing || awake_ < listening_until_) return;
      // Nobody to hear in the first place. Has anybody spoken while it listened?
      if (!heard && last_frame < std::min(lately, standing_since_)) return fall_deaf();
      return stand(Standing::standing, "");
    case Standing::deaf:
      if (heard || last_frame > standing_since_) rejoin("was cut off, and listens");
      return;
    case Standing::doubled:
      if (awake_ >= namesake_until_) listen(settings_.join_listen, "is the only one of its name again, and listens");
      return;
  }
}

void Cluster::fall_deaf() {
  stand(Standing::deaf, "hears no frame at all: it is cut off");
}

std::string Cluster::own_obstacle() const {
  if (standing_ != Standing::standing) return standing_reason_;
  if (unanswered_) return "hears nobody and nothing, and asks whether it is cut off";
  return self_.draining ? "drains" : "";
}

void Cluster::settle_claims(ClusterOrders& orders) {
  claims_dirty_ = false;
  said_dirty_ = true;
  claims_due_ = kNever;
  std::vector<VipView> views;
  views.reserve(records_.size());
  for (auto entry = records_.begin(); entry != records_.end();) {
    auto& [vip, record] = *entry;
    Claims claims = self_.alone ? settle_alone(vip, record) : settle_among_peers(vip, record);
    if (!record.declared && claims.view.epoch == 0) {
      entry = records_.erase(entry);
      continue;
    }
    record.epoch = claims.view.epoch;
    record.highest_epoch = std::max(record.highest_epoch, record.epoch);
    record.origin = std::move(claims.origin);
    record.handing_to = claims.view.handing_to;
    record.stranded = claims.stranded;
    views.push_back(std::move(claims.view));
    ++entry;
  }
  if (views == vip_views_) return;
  vip_views_ = std::move(views);
  orders.vips_changed = true;
}

Claims Cluster::settle_alone(const Address& vip, const Record& record) const {
  Claims claims;
  claims.view.address = vip;
  claims.view.owned = record.own.eligible;
  if (claims.view.owned) {
    claims.view.epoch = std::max<std::uint64_t>(record.epoch, 1);
    claims.view.owner = name_;
  }
  claims.origin = "answers, because it has no peers";
  claims.view.reason = claims.view.owned ? claims.origin : "nobody answers: " + record.own.obstacle;
  claims.view.candidates.push_back(
      {name_, record.own.eligible, record.own.eligible ? "owner" : record.own.obstacle, 1});
  return claims;
}

Claims Cluster::settle_among_peers(const Address& vip, Record& record) {
  ClaimFacts facts;
  facts.standing = standing_;
  facts.draining = self_.draining;
  facts.origin = record.origin;
  facts.highest_epoch = record.highest_epoch;
  facts.self.node = name_;
  facts.self.said = {vip, record.own.eligible, record.own.obstacle, record.own.rank, record.epoch, record.handing_to};
  facts.self.live = true;
  facts.self.reached = true;
  facts.self.obstacle = own_obstacle();
  if (facts.self.obstacle.empty() && !record.own.eligible) facts.self.obstacle = record.own.obstacle;
  for (const auto& [name, peer] : membership_.peers()) {
    const VipStatement* said = peer.known ? find_vip(peer.said, vip) : nullptr;
    if (said == nullptr) {
      record.candidate_since.erase(name);
      continue;
    }
    Voice voice;
    voice.node = name;
    voice.said = *said;
    voice.live = peer.live();
    voice.reached = peer.reached;
    voice.obstacle = !peer.candidate() ? peer.state() : said->eligible ? "" : said->obstacle;
    // Nodes that were cut off together have listened at about the same time, and each would claim before it hears of the other's claim.
    if (awake_ < gives_way_until_ && peer.live() && peer.said.listening && said->eligible && !peer.said.draining) {
      voice.joining = true;
      claims_due_ = std::min(claims_due_, gives_way_until_);
    }
    if (voice.candidate()) {
      const Instant since = record.candidate_since.try_emplace(name, awake_).first->second;
      voice.patient = awake_ - since >= settings_.fail_back_delay;
      if (!voice.patient && record.epoch != 0 && said->rank.better_than(record.own.rank)) {
        claims_due_ = std::min(claims_due_, since + settings_.fail_back_delay);
      }
    } else {
      record.candidate_since.erase(name);
    }
    facts.peers.push_back(std::move(voice));
  }
  return settle(facts);
}

Drain Cluster::drain() const {
  if (!self_.draining) return Drain::none;
  bool claims = false;
  for (const auto& [vip, record] : records_) {
    if (record.epoch == 0) continue;
    claims = true;
    if (!record.stranded) return Drain::handing_over;
  }
  return claims ? Drain::stranded : Drain::done;
}

// ---- sending ------------------------------------------------------------------------------------------------------

void Cluster::send_echoes(ClusterOrders& orders) {
  for (auto& [name, peer] : membership_.peers()) {
    if (!peer.known || now_ < peer.next_echo) continue;
    orders.echoes.push_back({name, peer.echoes.order()});
    const bool often = peer.missing && (peer.reached || standing_ == Standing::deaf || now_ - peer.since < kSearch);
    peer.next_echo = next_tick(now_, often ? settings_.echo_interval / 3 : settings_.echo_interval);
    if (peer.speaks_on(attentive_, settings_)) speak_now_ = true;  // who still hears this node may say so to that one
  }
}

// The first misses of the last peers, or nobody heard at all: does anybody live out there? One frame is an answer; a
// node that serves on as the last one cannot look at every frame.
void Cluster::ask_around(Instant last_frame, ClusterOrders& orders) {
  if (!membership_.quiet()) return;
  if (now_ >= next_ask_) {
    orders.ask = true;
    asked_ = now_;
    next_ask_ = now_ + (membership_.anybody_heard() ? settings_.echo_interval / 3 : settings_.statement_interval);
  }
  orders.listen = last_frame <= asked_;
}

Statement Cluster::statement() const {
  Statement statement;
  statement.node = name_;
  statement.incarnation = self_.incarnation;
  statement.sequence = speech_.last.sequence + 1;
  statement.version = self_.version;
  statement.draining = self_.draining;
  statement.listening = standing_ == Standing::listening || standing_ == Standing::doubled;
  statement.deaf = standing_ == Standing::deaf || unanswered_;
  for (const auto& [name, peer] : membership_.peers()) {
    if (!peer.missing) statement.hears.push_back(name);
  }
  statement.configuration = self_.configuration;
  for (const auto& [vip, record] : records_) {
    statement.vips.push_back(
        {vip, record.own.eligible, record.own.obstacle, record.own.rank, record.epoch, record.handing_to});
  }
  return statement;
}

void Cluster::speak(ClusterOrders& orders) {
  const bool copy = speech_.copies != 0 && now_ >= speech_.next_copy;
  const bool hello = now_ >= speech_.next_hello;
  if (!said_dirty_ && !speak_now_ && !copy && !hello && now_ < speech_.next) return;
  Statement next = statement();
  const bool news =
      speech_.last.sequence == 0 || !same_claims(next, speech_.last) || !same_person(next, speech_.last);
  said_dirty_ = false;
  const bool to_peers = news || speak_now_ || copy || now_ >= speech_.next;
  if (!to_peers && !hello) return;
  if (news) {
    speech_.copies = kCopies;
  } else if (copy) {
    --speech_.copies;
  }
  if (news || copy) speech_.next_copy = now_ + kCopyInterval;
  speak_now_ = false;
  if (to_peers) speech_.next = now_ + settings_.statement_interval;

  bool everybody = hello || standing_ != Standing::standing || membership_.peers().empty() ||
                   ++speech_.since_broadcast >= kHelloEvery;
  bool unmet = false;
  for (const auto& [name, peer] : membership_.peers()) {
    if (peer.known && to_peers) orders.statement_to.push_back(name);
    everybody |= peer.missing;
    unmet |= peer.listed && !peer.known;
  }
  if (everybody) speech_.since_broadcast = 0;
  // Of two owners that have not met since their daemons started, and whose way to each other heals, no echo would tell.
  const bool owns = std::any_of(records_.begin(), records_.end(), [](const auto& entry) { return entry.second.epoch != 0; });
  speech_.next_hello = unmet && owns ? now_ + kHelloOfOwner * settings_.echo_interval : kNever;
  orders.statement_broadcast = everybody;
  orders.statement = next;
  speech_.last = std::move(next);
}

Instant Cluster::next_step() const {
  if (self_.alone) return now_ + kAloneStep;
  const auto by_awake = [&](Instant due) { return now_ + (due - awake_); };
  Instant next = std::min(speech_.next, speech_.next_hello);
  if (speech_.copies != 0) next = std::min(next, speech_.next_copy);
  for (const auto& [name, peer] : membership_.peers()) {
    if (!peer.known) continue;
    next = std::min(next, peer.next_echo);
    if (peer.reached) next = std::min(next, peer.echoes.lost_at(settings_));
    if (peer.awaited) next = std::min(next, peer.awaited_until());
    if (const Instant silent = peer.silent_at(settings_); !peer.reached && peer.heard && attentive_ < silent)
      next = std::min(next, now_ + (silent - attentive_));
    if (peer.fresh) next = std::min(next, by_awake(peer.said_awake + settings_.stale_age) + kTick);
  }
  if (standing_ != Standing::standing) next = std::min(next, next_ask_);
  if (standing_ == Standing::listening) next = std::min(next, by_awake(listening_until_));
  if (claims_due_ != kNever) next = std::min(next, by_awake(claims_due_));
  return next;
}

// ---- views --------------------------------------------------------------------------------------------------------

PeerView Cluster::view_of(const std::string& name, const Peer& peer) const {
  PeerView view;
  view.name = name;
  view.listed = peer.listed;
  view.known = peer.known;
  view.reached = peer.reached;
  view.awaited = peer.awaited;
  view.heard = peer.heard;
  view.stale = peer.stale;
  view.candidate = peer.candidate();
  view.reason = peer.state();
  view.since = peer.since;
  view.detection = peer.detection;
  view.losses = peer.losses;
  view.said = peer.said;
  view.said.vips.clear();
  view.same_configuration = !peer.known || peer.said.configuration == self_.configuration;
  return view;
}

void Cluster::view_peers(ClusterOrders& orders) {
  peers_dirty_ = false;
  orders.peers_changed = true;
  peer_views_.clear();
  for (const auto& [name, peer] : membership_.peers()) {
    PeerView view = view_of(name, peer);
    if (view.same_configuration) {
      differs_since_.erase(name);
      notes_.erase("configuration " + name);
    } else {
      differs_since_.try_emplace(name, now_);
    }
    peer_views_.push_back(std::move(view));
  }
}

// A change reaches the nodes one after the other: only what stays is a difference.
void Cluster::tell_differences(ClusterOrders& orders) {
  for (const auto& [name, since] : differs_since_)
    if (now_ - since >= kDifferenceBorne)
      note("configuration " + name,
           name + " has another configuration than this node: each answers by its own; `xdp-lb status` on both shows them", orders);
}

void Cluster::note(const std::string& topic, const std::string& text, ClusterOrders& orders) {
  std::string& last = notes_[topic];
  if (last == text) return;
  last = text;
  orders.notes.push_back(text);
}

}  // namespace xlb
