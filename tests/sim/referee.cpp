// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/referee.hpp"

#include <algorithm>

#include "tests/sim/world.hpp"

namespace xlb::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Promises. Loss makes them a matter of chance; they are given more time then.
constexpr auto kTwoOwners = milliseconds(100);     // with a path between them
constexpr auto kTwoStrangers = milliseconds(450);  // that have not met yet, or by a third node that hears both
constexpr auto kVacancy = milliseconds(720);       // 0.7 s, and the step that finds it
constexpr auto kSettled = seconds(1);              // after a disturbance nobody claims for no reason
constexpr auto kCutOff = milliseconds(550);        // what a node that rejoins has listened, and once more

double in_ms(Time time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

Time Referee::Span::held(bool now_holds, Time now) {
  const Time length = holds ? now - since : Time{};
  if (!holds && now_holds) since = now;
  holds = now_holds;
  return length;
}

std::size_t Referee::cell(std::size_t a, std::size_t b, std::size_t vip) const {
  const std::size_t nodes = world_.nodes().size();
  return (vip * nodes + a) * nodes + b;
}

void Referee::begin(Time now) {
  const std::size_t nodes = world_.nodes().size();
  const std::size_t vips = world_.scenario().vips.size();
  const std::size_t views = world_.clients().size() * vips;
  outage_.resize(views);
  unanswered_.resize(views);
  doubled_.resize(views);
  two_direct_.resize(nodes * nodes * vips);
  two_met_.resize(nodes * nodes * vips);
  two_told_.resize(nodes * nodes * vips);
  vacant_.resize(nodes * vips);
  able_.resize(nodes * vips);
  sound_.resize(nodes * nodes);
  cut_off_.resize(nodes);
  claim_.resize(nodes * vips);
  losses_.resize(nodes * nodes);
  lease_over_.resize(nodes, Time{-1});
  quiet_claims_.resize(vips);
  now_ = now;
}

void Referee::measure(Time now) {
  observe(now);
  figures_ = Figures{};
  for (auto* spans : {&outage_, &unanswered_, &doubled_}) {
    for (Span& span : *spans) span.since = std::max(span.since, now);
  }
}

void Referee::disturbed(Time now) {
  disturbed_ = now;
  std::fill(quiet_claims_.begin(), quiet_claims_.end(), 0);
}

void Referee::observe(Time now) {
  now_ = now;
  if (world_.network().loss > 0) lossy_ = now;
  watch_paths();
  watch_leases();
  watch_claims();
  watch_losses();
  watch_two_owners();
  watch_vacancy();
  watch_clients();
}

void Referee::finish(Time now) {
  observe(now);
  if (world_.scenario().quiet_end) demand_agreement();
}

void Referee::demand_owner(const std::string& vip, const std::string& node, Time now) {
  observe(now);
  for (std::size_t i = 0; i < world_.scenario().vips.size(); ++i) {
    const std::string answering = owner(i).empty() ? "nobody" : owner(i);
    if (world_.scenario().vips[i].address == vip && answering != node) {
      broke(vip + " is answered for by " + answering + ", expected " + node);
    }
  }
}

void Referee::broke(const std::string& what) {
  broken_.push_back(text(now_) + " " + what);
}

std::string Referee::owner(std::size_t vip) const {
  std::string owners;
  for (const auto& node : world_.nodes()) {
    if (node->answers(vip, now_)) owners += (owners.empty() ? "" : " ") + node->name();
  }
  return owners;
}

bool Referee::told(Host from, Host to) const {
  if (from == to) return true;
  const Network& network = world_.network();
  if (network.path(from, to)) return true;
  return std::any_of(world_.nodes().begin(), world_.nodes().end(), [&](const auto& third) {
    return third->awake() && network.both_ways(from, third->host()) && network.both_ways(third->host(), to);
  });
}

bool Referee::serves_anybody(Host node) const {
  for (std::size_t c = 0; c < world_.clients().size(); ++c) {
    if (world_.network().both_ways(node, world_.client_host(c))) return true;
  }
  return false;
}

void Referee::watch_paths() {
  const Network& network = world_.network();
  for (const auto& a : world_.nodes()) {
    bool connected = network.path(world_.gateway(), a->host());
    for (std::size_t c = 0; c < world_.clients().size(); ++c)
      connected |= network.path(world_.client_host(c), a->host());
    for (const auto& b : world_.nodes()) {
      if (a == b) continue;
      const bool sound = a->kernel().on && b->kernel().on && network.both_ways(a->host(), b->host()) &&
                         b->kernel().peers.contains(a->name()) && a->awake();
      sound_[cell(a->host(), b->host(), 0)].held(sound, now_);
      connected |= b->kernel().on && network.path(b->host(), a->host());
    }
    cut_off_[a->host()].held(!connected, now_);
  }
}

// Nobody answers past its lease, and what it wrote before its lease ended never counts again.
void Referee::watch_leases() {
  for (const auto& node : world_.nodes()) {
    const Host host = node->host();
    const bool over = node->kernel().on && node->lease_over(now_);
    if (over) lease_over_[host] = now_;
    for (std::size_t vip = 0; vip < world_.scenario().vips.size(); ++vip) {
      if (!node->answers(vip, now_)) continue;
      if (over) broke(node->name() + " answers though its lease is over");
      if (node->kernel().vips[vip].written < lease_over_[host]) {
        broke(node->name() + " answers by a claim that it wrote before its lease was over");
      }
    }
    if (!node->kernel().on) lease_over_[host] = Time{-1};
  }
}

void Referee::watch_claims() {
  const auto& nodes = world_.nodes();
  const ClusterSettings& settings = world_.scenario().settings;
  for (std::size_t vip = 0; vip < world_.scenario().vips.size(); ++vip) {
    for (const auto& node : nodes) {
      const std::size_t at = cell(node->host(), 0, vip) / nodes.size();
      const bool able = node->cluster() != nullptr && node->cluster()->standing() == Standing::standing &&
                        node->eligible(vip) && !node->draining();
      const Time able_for = able_[at].held(able, now_);
      const bool answers = node->answers(vip, now_);
      const std::uint64_t claim = answers ? node->kernel().vips[vip].claim_epoch : 0;
      const bool taken = answers && claim != claim_[at];
      claim_[at] = claim;
      if (!taken) continue;
      figures_.moves += 1;
      if (cut_off_[node->host()].holds && now_ - cut_off_[node->host()].since > kCutOff) {
        broke(node->name() + " claims, and has been cut off for " + text(now_ - cut_off_[node->host()].since));
      }
      if (++quiet_claims_[vip] > nodes.size() + 1) {
        broke("the " + std::to_string(quiet_claims_[vip]) + "th claim since anything happened, by " + node->name());
      }
      if (now_ - lossy_ < seconds(2)) continue;
      // A hand-over without need waits for the fail-back delay.
      for (const auto& old : nodes) {
        const std::size_t was = cell(old->host(), 0, vip) / nodes.size();
        if (old == node || !old->answers(vip, now_) || !able_[was].holds || now_ - able_[was].since < kSettled)
          continue;
        const Span& sound = sound_[cell(old->host(), node->host(), 0)];
        if (!sound.holds || now_ - sound.since < kSettled || now_ - old->resumed() < kSettled) continue;
        if (able_for < settings.fail_back_delay * 9 / 10) {
          broke(node->name() + " took it from " + old->name() + ", which was well, " + text(able_for) +
                " after it could");
        }
      }
    }
  }
}

// A peer with power and a path in both directions is not found lost.
void Referee::watch_losses() {
  for (const auto& a : world_.nodes()) {
    if (a->cluster() == nullptr) continue;
    for (const PeerView& view : a->cluster()->peers()) {
      const auto b = std::find_if(world_.nodes().begin(), world_.nodes().end(),
                                  [&](const auto& node) { return node->name() == view.name; });
      const std::size_t at = cell(a->host(), (*b)->host(), 0);
      const bool again = view.losses > losses_[at];
      losses_[at] = view.losses;
      if (!again) continue;
      figures_.losses += 1;
      figures_.detection_ms = std::max(figures_.detection_ms, in_ms(now_ - disturbed_));
      const Span& sound = sound_[at];
      if (sound.holds && now_ - sound.since > milliseconds(200) && now_ - lossy_ > milliseconds(200)) {
        broke(a->name() + " found " + view.name + " lost, which was well: a false alarm");
      }
    }
  }
}

void Referee::watch_two_owners() {
  const auto& nodes = world_.nodes();
  const Network& network = world_.network();
  const bool lossy = now_ - lossy_ < seconds(1);
  for (std::size_t vip = 0; vip < world_.scenario().vips.size(); ++vip) {
    for (std::size_t a = 0; a < nodes.size(); ++a) {
      for (std::size_t b = a + 1; b < nodes.size(); ++b) {
        bool two =
            nodes[a]->answers(vip, now_) && nodes[b]->answers(vip, now_) && nodes[a]->awake() && nodes[b]->awake();
        bool common = false;
        for (std::size_t c = 0; two && c < world_.clients().size(); ++c) {
          common |= network.both_ways(a, world_.client_host(c)) && network.both_ways(b, world_.client_host(c));
        }
        two &= common;
        const bool direct = two && network.both_ways(a, b);
        const bool told_both = two && told(a, b) && told(b, a);
        const bool met = nodes[a]->kernel().peers.contains(nodes[b]->name()) &&
                         nodes[b]->kernel().peers.contains(nodes[a]->name());
        const auto demand = [&](Span& span, bool holds, Time limit, const std::string& how) {
          const Time length = span.held(holds, now_);
          if (length <= limit) return;
          broke(nodes[a]->name() + " and " + nodes[b]->name() + " both answer for " +
                world_.scenario().vips[vip].address + ", " + how + ", for " + text(length));
        };
        const std::size_t at = cell(a, b, vip);
        demand(two_met_[at], direct && met, lossy ? 5 * kTwoOwners : kTwoOwners, "with a path between them");
        demand(two_direct_[at], direct, (lossy ? 3 : 1) * kTwoStrangers, "with a path between them that is new");
        demand(two_told_[at], told_both, (lossy ? 3 : 1) * kTwoStrangers, "with a node that hears both");
      }
    }
  }
}

void Referee::watch_vacancy() {
  const auto& nodes = world_.nodes();
  for (std::size_t vip = 0; vip < world_.scenario().vips.size(); ++vip) {
    for (const auto& node : nodes) {
      const std::size_t at = cell(node->host(), 0, vip) / nodes.size();
      bool vacant = able_[at].holds && node->awake() && serves_anybody(node->host());
      for (std::size_t other = 0; vacant && other < nodes.size(); ++other) {
        if (!nodes[other]->answers(vip, now_)) continue;
        // It hears of the owner, or hears somebody who does and whom it may leave the VIP to.
        vacant = std::none_of(nodes.begin(), nodes.end(), [&](const auto& third) {
          return told(other, third->host()) &&
                 (third == node || (third->awake() && told(third->host(), node->host())));
        });
      }
      vacant_[at].held(vacant, now_);
      if (!vacant) continue;
      const Time since = std::max({vacant_[at].since, disturbed_, node->resumed()});
      if (now_ - since > (now_ - lossy_ < seconds(1) ? 3 : 1) * kVacancy) {
        broke("nobody answers for " + world_.scenario().vips[vip].address + ", though " + node->name() +
              " could, for " + text(now_ - since));
      }
    }
  }
}

void Referee::watch_clients() {
  const auto& nodes = world_.nodes();
  const Network& network = world_.network();
  const std::size_t vips = world_.scenario().vips.size();
  for (std::size_t c = 0; c < world_.clients().size(); ++c) {
    const Host client = world_.client_host(c);
    for (std::size_t vip = 0; vip < vips; ++vip) {
      const auto& cached = world_.clients()[c].cache[vip];
      const bool served = cached && nodes[*cached]->kernel().on && network.both_ways(client, *cached);
      std::size_t answering = 0;
      for (const auto& node : nodes) {
        answering += node->answers(vip, now_) && network.both_ways(client, node->host()) ? 1 : 0;
      }
      const std::size_t at = c * vips + vip;
      figures_.outage_ms = std::max(figures_.outage_ms, in_ms(outage_[at].held(!served, now_)));
      figures_.unanswered_ms = std::max(figures_.unanswered_ms, in_ms(unanswered_[at].held(answering == 0, now_)));
      figures_.doubled_ms = std::max(figures_.doubled_ms, in_ms(doubled_[at].held(answering > 1, now_)));
    }
  }
}

// Everything is repaired and has been quiet: one owner, the best, and everybody knows.
void Referee::demand_agreement() {
  const auto& nodes = world_.nodes();
  for (std::size_t vip = 0; vip < world_.scenario().vips.size(); ++vip) {
    const Node* best = nullptr;
    for (const auto& node : nodes) {
      if (!node->awake() || !node->eligible(vip) || node->draining()) continue;
      if (best == nullptr || node->rank(vip).better_than(best->rank(vip))) best = node.get();
    }
    const std::string& address = world_.scenario().vips[vip].address;
    const std::string answering = owner(vip);
    if (best != nullptr && answering != best->name()) {
      broke(address + " is answered for by " + (answering.empty() ? "nobody" : answering) +
            ", not by the best: " + best->name());
    }
    for (const auto& node : nodes) {
      if (!node->awake()) continue;
      const std::string& believed = node->cluster()->vips()[vip].owner;
      if (believed != answering) {
        broke(node->name() + " takes " + (believed.empty() ? "nobody" : believed) + " for the owner of " + address +
              "; it is " + (answering.empty() ? "nobody" : answering));
      }
    }
  }
}

}  // namespace xlb::sim
