// SPDX-License-Identifier: Apache-2.0
// The mind of a node among others: who of the peers forwards, who is minded, who answers for which VIP. It is a value
// with a step: facts in, orders out; no clock, no input or output, no chance. The shell around it (userspace/daemon/)
// sends the echoes, reads what came home, and writes what step() decided into the tables.
//
//   membership.hpp   whom do I reach, whom do I hear, am I cut off?
//   claims.hpp       who owns a VIP, given what each node says?
//   this file        when is what said to whom; a node's standing: listening, standing, deaf
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "userspace/core/claims.hpp"
#include "userspace/core/cluster_settings.hpp"
#include "userspace/core/membership.hpp"
#include "userspace/core/statement.hpp"

namespace xlb {

// ---- facts --------------------------------------------------------------------------------------------------------

// What this node says of itself; given whenever it changes.
struct SelfFacts {
  std::uint64_t incarnation = 0;  // another than before: the lease was lost. Claims are dropped, the node joins anew
  std::string version;
  std::vector<Mac> macs;            // of its links: to tell its own frames from a namesake's
  std::vector<std::string> listed;  // names of the peers in its configuration
  bool alone = false;               // no peers listed and no key: it owns whatever it may, and asks nobody
  bool draining = false;
  std::uint64_t configuration = 0;  // hash of what is declared
  std::vector<OwnVip> vips;         // by address
};

// An echo was handed to the kernel. One that could not be sent counts as sent: it will not come home.
struct EchoSent {
  std::string peer;
  std::uint64_t id = 0;  // of EchoOrder
  Instant at{};          // read right before it was sent
};

struct EchoReturned {
  std::string peer;
  std::uint64_t id = 0;
  bool stale = false;  // XLB_WIRE_STALE
};

// A statement that is authentic and no replay.
struct StatementHeard {
  Statement statement;
  bool direct = true;  // false: a third node passed it on (its frame's source is not statement.mac)
  Instant at{};        // when its frame came in, by the kernel's stamp where there is one
};

// What happened since the last step. After a stall: everything that was waiting, before one step judges it.
struct ClusterFacts {
  Instant now{};  // CLOCK_MONOTONIC
  std::vector<EchoSent> sent;
  std::vector<EchoReturned> returned;
  std::vector<StatementHeard> statements;  // in the order of their arrival
  Instant last_frame{};  // when any frame from others but switch chatter (01:80:c2…) came in last; 0: never. Echoes
                         // that came home and statements need not be in it
};

// ---- orders -------------------------------------------------------------------------------------------------------

struct EchoOrder {
  std::string peer;
  std::uint64_t id = 0;  // counts up for each peer; never 0
};

// A statement of `ClusterFacts::statements`, to be sent on as it came.
struct PassOn {
  std::size_t index = 0;
  std::vector<std::string> to;
};

struct ClusterOrders {
  bool vips_changed = false;              // vips() is to be read anew
  bool peers_changed = false;             // peers() likewise
  std::vector<EchoOrder> echoes;          // to be sent now
  std::optional<Statement> statement;     // to be said now; `addresses` and `mac` are filled in for each link
  std::vector<std::string> statement_to;  // peers that get it as unicast
  bool statement_broadcast = false;       // and everybody on the links
  std::vector<PassOn> pass_on;
  bool ask = false;                // nobody is heard: ask gateway and neighbours (ARP, ND) for any answer
  bool listen = false;             // frames of any kind count until one has come in: see ClusterFacts::last_frame
  std::vector<std::string> notes;  // to be said once, as an event and in the log
  Instant wake{};                  // the next step, if nothing comes in before
};

// ---- views: stored with their reasons, printed as they are --------------------------------------------------------

struct PeerView {
  std::string name;
  bool listed = false;
  bool known = false;                    // it has stated itself; else there is no MAC to send to
  bool reached = false;                  // flows may go to its backends (XLB_PEER_ALIVE)
  bool awaited = false;                  // lost a moment ago: its connections wait for it (XLB_PEER_AWAITED)
  bool heard = false;                    // its claims count
  bool stale = false;                    // its lease is over: nobody minds it
  bool candidate = false;                // it may claim, if it says that it is eligible
  std::string reason;                    // of the above, in one sentence
  Instant since{};                       // of the last change of any of the above
  std::chrono::nanoseconds detection{};  // of its last loss: from the last sign of life to the decision
  std::uint64_t losses = 0;
  Statement said;  // the last statement, without its VIPs
  bool same_configuration = true;
};

// How far a draining node is.
enum class Drain : std::uint8_t {
  none,          // it does not drain
  handing_over,  // it claims something that another node can take
  stranded,      // what it still claims nobody can take; VipView::reason says so for each
  done,
};

class Cluster {
 public:
  // `adopted`: VIPs that the kernel's tables still hold as owned by this node, and the epoch of the claim.
  Cluster(std::string name, const ClusterSettings& settings, const std::map<Address, std::uint64_t>& adopted);

  void declare(SelfFacts self);
  ClusterOrders step(const ClusterFacts& facts);

  [[nodiscard]] const std::vector<VipView>& vips() const { return vip_views_; }     // by address
  [[nodiscard]] const std::vector<PeerView>& peers() const { return peer_views_; }  // by name
  [[nodiscard]] Standing standing() const { return standing_; }
  [[nodiscard]] const std::string& standing_reason() const { return standing_reason_; }
  [[nodiscard]] Drain drain() const;

 private:
  struct Record {  // of a VIP
    OwnVip own;
    std::uint64_t epoch = 0;  // of this node's claim
    std::uint64_t highest_epoch = 0;
    std::string handing_to;
    std::string origin;
    std::map<std::string, Instant> candidate_since;  // by node; awake
    bool declared = false;
    bool stranded = false;
  };
  // What this node says, and when.
  struct Speech {
    Statement last;
    Instant next{};       // of the regular ones
    unsigned copies = 0;  // still to come
    Instant next_copy{};
    Instant next_hello = kNever;  // of a broadcast without a copy to each peer; kNever: none is due
    unsigned since_broadcast = 0;
  };

  void read_clock(Instant now);
  void read_echoes(const ClusterFacts& facts);
  void read(const StatementHeard& heard, std::size_t index, ClusterOrders& orders);
  void meet_namesake(const Statement& statement, ClusterOrders& orders);
  void pass_on(const Statement& statement, std::size_t index, ClusterOrders& orders);

  void stand(Standing standing, const std::string& reason);
  void listen(std::chrono::nanoseconds time, const std::string& reason);
  void rejoin(const std::string& reason);  // listens, and gives way for a moment to who does so at the same time
  void settle_standing(Instant last_frame, bool heard_before);
  void fall_deaf();
  [[nodiscard]] std::string own_obstacle() const;
  void settle_claims(ClusterOrders& orders);
  [[nodiscard]] Claims settle_alone(const Address& vip, const Record& record) const;
  [[nodiscard]] Claims settle_among_peers(const Address& vip, Record& record);

  void send_echoes(ClusterOrders& orders);
  void ask_around(Instant last_frame, ClusterOrders& orders);
  void speak(ClusterOrders& orders);
  [[nodiscard]] Statement statement() const;
  [[nodiscard]] Instant next_step() const;

  void view_peers(ClusterOrders& orders);
  void tell_differences(ClusterOrders& orders);
  [[nodiscard]] PeerView view_of(const std::string& name, const Peer& peer) const;
  // Says `text` unless it was the last thing said on this topic.
  void note(const std::string& topic, const std::string& text, ClusterOrders& orders);

  std::string name_;
  ClusterSettings settings_;
  SelfFacts self_;
  Membership membership_;
  std::map<Address, Record> records_;
  Speech speech_;

  bool declared_ = false;
  bool started_ = false;
  Instant now_{};
  Instant awake_{};      // stands still while this node stalls
  Instant attentive_{};  // the same, and stricter about what a stall is: for ages of a few echoes
  Instant planned_{};  // when the next step was to come at the latest

  bool claims_dirty_ = true;  // what they depend on has changed
  bool peers_dirty_ = true;
  bool said_dirty_ = true;   // what this node says may have
  bool speak_now_ = false;   // said again at once, changed or not
  bool unanswered_ = false;  // has heard nothing of late
  Instant asked_{};
  Instant next_ask_{};
  Instant claims_due_ = kNever;  // awake: when they may change although nothing else has

  Standing standing_ = Standing::listening;
  std::string standing_reason_;
  std::string joins_;  // it is to listen anew, and why
  Instant standing_since_{};
  Instant listening_until_{};                 // awake
  Instant gives_way_until_{};                 // awake: to better-ranked nodes that listen, too
  Instant namesake_until_{};                  // awake
  std::map<std::string, std::string> notes_;  // by topic
  std::map<std::string, Instant> differs_since_;  // peers with another configuration

  std::vector<VipView> vip_views_;
  std::vector<PeerView> peer_views_;
};

}  // namespace xlb
