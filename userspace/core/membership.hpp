// SPDX-License-Identifier: Apache-2.0
// Whom do I reach, whom do I hear, and am I the one that is cut off?
//
// Two signs of life are kept apart. An *echo* is sent back by the peer's program: it says that the node forwards,
// even while nobody minds it. A *statement* is made by its daemon. What counts against a peer are echoes that were
// sent and did not come home, never time that merely passed: a stall of this node is no fault of the peer's.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "maps/abi.h"
#include "userspace/core/cluster_settings.hpp"
#include "userspace/core/statement.hpp"

namespace xlb {

using Instant = std::chrono::nanoseconds;  // of CLOCK_MONOTONIC, since its zero

inline constexpr Instant kNever = Instant::max();

// The echoes of one peer. Only those after the last one that came home matter; they are numbered in a row.
class Echoes {
 public:
  std::uint64_t order() { return ++ordered_; }  // the number of the next one
  void sent(std::uint64_t id, Instant at);
  // False: it was not awaited any more.
  bool returned(std::uint64_t id, bool stale);

  // When the peer is lost unless one comes home before; kNever while fewer than `misses` are unanswered.
  [[nodiscard]] Instant lost_at(const ClusterSettings& settings) const;
  // One has been away for longer than a peer that lives needs.
  [[nodiscard]] bool missing(Instant now, const ClusterSettings& settings) const;
  [[nodiscard]] bool any_home() const { return home_ != 0; }
  [[nodiscard]] Instant home_sent() const { return home_sent_; }  // when the last one that came home was sent
  [[nodiscard]] bool home_stale() const { return home_stale_; }
  [[nodiscard]] Instant first_unanswered() const { return unanswered() == 0 ? kNever : first_unanswered_; }

 private:
  struct Sent {
    std::uint64_t id = 0;
    Instant at{};
  };
  [[nodiscard]] std::uint64_t unanswered() const { return sent_ - home_; }

  std::array<Sent, XLB_ECHOES> recent_{};  // as many as the program remembers
  std::uint64_t ordered_ = 0;
  std::uint64_t sent_ = 0;  // the last one sent
  std::uint64_t home_ = 0;  // the last one that came home
  Instant home_sent_{};
  bool home_stale_ = false;
  Instant first_unanswered_{};
};

// For so long connections wait for a peer that was lost. Until then a client that speaks has sent three times or so (RFC 6298:
// after 200 ms and more, twice as long each time); what ends them then is the RST of another backend.
inline constexpr std::chrono::nanoseconds kAwaited = std::chrono::seconds(1);

// Clocks that stand still while this node stalls. A step that is a little late, because cores are busy, is no stall where a
// statement's age of 0.7 s is counted: it would live longer. Where two echo intervals are, a stall of a moment counts.
struct OwnClocks {
  Instant awake{};
  Instant attentive{};
};

struct Peer {
  bool listed = false;  // in this node's configuration
  bool known = false;   // has stated itself
  Echoes echoes;
  Statement said;        // the last one; meaningless unless known
  Instant said_at{};     // when it came in
  Instant said_awake{};  // the same on the clock that stands still while this node stalls

  // Judged by Membership::judge():
  bool reached = false;
  bool awaited = false;  // not reached since a moment ago: its connections wait for it
  bool missing = true;   // not reached without a miss
  bool heard = false;
  bool fresh = false;                    // its statement is young enough to make it a candidate
  bool stale = false;                    // nobody minds it: its lease is over
  bool outdated = false;                 // it was not heard for a while, and has said nothing since
  Instant since{};                       // of the last change of reached, heard, fresh or stale
  Instant lost{};                        // when it was last found not reached
  Instant lost_attentive{};              // the same on the clock for ages of a few echoes
  std::chrono::nanoseconds detection{};  // of that loss: from the last sign of life to the decision
  std::uint64_t losses = 0;

  Instant next_echo{};

  [[nodiscard]] Instant awaited_until() const { return lost + kAwaited; }
  // Lost by its echoes, and nothing said since: when, by OwnClocks::attentive, it is not heard any more. A peer that lives speaks on
  // for longer (speaks_on()).
  [[nodiscard]] Instant silent_at(const ClusterSettings& settings) const { return lost_attentive + 2 * settings.echo_interval; }
  // This node says something with each echo while echoes of a peer that it hears are missing, and for a while after it has lost the
  // peer, which loses this node at about the same time if it lives.
  [[nodiscard]] bool speaks_on(Instant attentive, const ClusterSettings& settings) const {
    return missing && (reached || heard || (losses != 0 && attentive < lost_attentive + 4 * settings.echo_interval));
  }
  [[nodiscard]] bool live() const { return heard && !stale && !outdated; }  // its claims count
  [[nodiscard]] bool candidate() const { return live() && fresh && !said.withdrawn(); }
  [[nodiscard]] bool hears(const std::string& node) const;
  [[nodiscard]] std::string state() const;  // one sentence without the name
};

class Membership {
 public:
  explicit Membership(const ClusterSettings& settings) : settings_(settings) {}

  // Peers that are in the configuration; others stay as long as they speak.
  void list(const std::vector<std::string>& names);
  // A statement that came in; false: it is older than what is known.
  bool said(const Statement& statement, Instant at, Instant awake);
  struct Changes {
    bool judged = false;   // whom this node reaches or hears, or who is minded
    bool missing = false;  // whom it reaches without a miss
  };
  // What everybody said is too old to count, until it says something new.
  void doubt();
  // Judges every peer.
  Changes judge(Instant now, const OwnClocks& own);

  // Nobody is reached without a miss: whoever lives should be asked for a sign.
  [[nodiscard]] bool quiet() const { return quiet_; }
  // When it became so, or the last statement came in since.
  [[nodiscard]] Instant quiet_since() const { return quiet_since_; }
  [[nodiscard]] bool anybody_heard() const { return anybody_heard_; }
  // When the last statement came in, or the last echo was sent that came home.
  [[nodiscard]] Instant last_sign() const { return last_sign_; }

  [[nodiscard]] std::map<std::string, Peer>& peers() { return peers_; }
  [[nodiscard]] const std::map<std::string, Peer>& peers() const { return peers_; }
  [[nodiscard]] Peer* find(const std::string& name);

 private:
  bool judge(Peer& peer, Instant now, const OwnClocks& own) const;

  ClusterSettings settings_;
  std::map<std::string, Peer> peers_;
  bool quiet_ = false;
  Instant quiet_since_{};
  bool anybody_heard_ = false;
  Instant last_sign_{};
};

}  // namespace xlb
