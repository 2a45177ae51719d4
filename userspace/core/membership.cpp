// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/membership.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace xlb {
namespace {

// A node that is in nobody's configuration and has been silent for this long has been removed.
constexpr auto kForgotten = std::chrono::minutes(10);

}  // namespace

void Echoes::sent(std::uint64_t id, Instant at) {
  if (id <= sent_) return;
  if (unanswered() == 0) first_unanswered_ = at;
  sent_ = id;
  recent_[id % recent_.size()] = {id, at};
}

bool Echoes::returned(std::uint64_t id, bool stale) {
  const Sent& echo = recent_[id % recent_.size()];
  if (echo.id != id || id <= home_ || id > sent_) return false;
  home_ = id;
  home_sent_ = echo.at;
  home_stale_ = stale;
  for (std::uint64_t next = sent_; next > id; --next) {
    const Sent& later = recent_[next % recent_.size()];
    if (later.id == next) first_unanswered_ = later.at;
  }
  return true;
}

// Three conditions, because each alone is wrong. (a) Enough echoes unanswered: a stall between two of them is the
// sender's own. (b) The first of them has been away for long: they went out faster and faster, in no time. (c)
// Nothing that was sent within the time of detection came home: the promise made to the user.
Instant Echoes::lost_at(const ClusterSettings& settings) const {
  if (unanswered() < settings.misses) return kNever;
  const Instant away = first_unanswered_ + settings.echo_interval * (settings.misses - 1);
  return std::max(away, home_sent_ + settings.detection());
}

bool Echoes::missing(Instant now, const ClusterSettings& settings) const {
  return unanswered() != 0 && now - first_unanswered_ >= settings.echo_interval / 3;
}

bool Peer::hears(const std::string& node) const {
  return std::binary_search(said.hears.begin(), said.hears.end(), node);
}

std::string Peer::state() const {
  if (!known) return "has never been heard";
  if (!heard) return "is lost: neither echoes nor statements come from it";
  if (stale) return "forwards, but its daemon has not renewed its lease";
  if (outdated) return "forwards, but has not said anything since it was last lost sight of";
  if (!fresh) return "forwards, but its daemon says nothing";
  if (said.deaf) return "says that it is cut off";
  if (said.listening) return "has just started and listens";
  if (said.draining) return "drains";
  if (!reached) return "is heard, but its echoes do not come home";
  return "is well";
}

Peer* Membership::find(const std::string& name) {
  const auto found = peers_.find(name);
  return found == peers_.end() ? nullptr : &found->second;
}

void Membership::list(const std::vector<std::string>& names) {
  for (auto& [name, peer] : peers_) peer.listed = false;
  for (const std::string& name : names) peers_[name].listed = true;
  std::erase_if(peers_, [](const auto& entry) { return !entry.second.listed && !entry.second.known; });
}

bool Membership::said(const Statement& statement, Instant at, Instant awake) {
  Peer& peer = peers_[statement.node];
  const bool same_node = peer.known && peer.said.mac == statement.mac;
  if (same_node &&
      std::tie(statement.incarnation, statement.sequence) <= std::tie(peer.said.incarnation, peer.said.sequence)) {
    return false;
  }
  peer.known = true;
  peer.said = statement;
  peer.said_at = at;
  peer.said_awake = awake;
  peer.outdated = false;
  quiet_since_ = std::max(quiet_since_, at);
  return true;
}

void Membership::doubt() {
  for (auto& [name, peer] : peers_) peer.outdated = true;
}

bool Membership::judge(Peer& peer, Instant now, const OwnClocks& own) const {
  const auto before = std::tuple(peer.reached, peer.heard, peer.fresh, peer.stale, peer.outdated);
  const bool awaited = peer.awaited;
  const Instant lost_at = peer.echoes.lost_at(settings_);
  if (peer.reached && now >= lost_at) {
    peer.reached = false;
    peer.lost = now;
    peer.lost_attentive = own.attentive;
    peer.detection = now - peer.echoes.home_sent();
    ++peer.losses;
  } else if (!peer.reached && peer.echoes.any_home() && now < lost_at && peer.echoes.home_sent() >= peer.lost) {
    peer.reached = true;  // by an echo sent after the loss: one that merely came late proves nothing
  }
  peer.awaited = !peer.reached && peer.losses != 0 && now < peer.awaited_until();
  peer.missing = !peer.reached || peer.echoes.missing(now, settings_);
  peer.fresh = peer.known && own.awake - peer.said_awake <= settings_.stale_age;
  // A peer whose echoes never came home is heard by its statements, as one whose echoes no longer do. What it said while they were
  // missing counts for a moment only: one of them may have been lost by chance, and the peer have died after its next word.
  const bool spoke = peer.said_at > peer.echoes.first_unanswered() || lost_at > now;
  const bool speaks = peer.said_at > peer.lost || (spoke && own.attentive < peer.silent_at(settings_));
  peer.heard = peer.known && (peer.reached || (peer.fresh && speaks));
  peer.stale = peer.reached && peer.echoes.home_stale();
  peer.outdated |= !peer.heard;
  if (before == std::tuple(peer.reached, peer.heard, peer.fresh, peer.stale, peer.outdated)) return awaited != peer.awaited;
  peer.since = now;
  return true;
}

Membership::Changes Membership::judge(Instant now, const OwnClocks& own) {
  Changes changes;
  bool anybody = false;
  bool well = false;
  for (auto entry = peers_.begin(); entry != peers_.end();) {
    Peer& peer = entry->second;
    const bool missed = peer.missing;
    changes.judged |= judge(peer, now, own);
    changes.missing |= missed != peer.missing;
    anybody |= peer.heard;
    last_sign_ = std::max({last_sign_, peer.said_at, peer.echoes.home_sent()});
    well |= !peer.missing;
    const bool removed = peer.known && !peer.listed && !peer.heard && now - peer.since > kForgotten;
    entry = removed ? peers_.erase(entry) : std::next(entry);
    changes.judged |= removed;
  }
  if (!well && !quiet_) quiet_since_ = now;
  quiet_ = !well;
  anybody_heard_ = anybody;
  return changes;
}

}  // namespace xlb
