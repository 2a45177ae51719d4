// SPDX-License-Identifier: Apache-2.0
// One pass from what is declared to what the kernel holds:
//
//   lock -> manifests, state, tables, netlink facts -> allocate -> probe addresses never used before -> decide -> compile
//        -> (write manifests) -> write state -> edit tables -> announce what is new
//
// Everything that can be refused is tried before the first write. A crash between two writes leaves each file old or new and
// the tables somewhere on the way; the next pass, by whichever command, plans from what it finds and finishes.
//
// On the daemon's loop nobody waits for the disk: a pass that has something to write ends there (Outcome::Deferred::disk), and
// another one goes on when it is written, from the same declarations and under the same lock.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "userspace/config/manifests.hpp"
#include "userspace/config/state.hpp"
#include "userspace/core/decide_memory.hpp"
#include "userspace/core/slots.hpp"
#include "userspace/core/sources.hpp"
#include "userspace/daemon/configuration_hash.hpp"
#include "userspace/daemon/edges.hpp"
#include "userspace/daemon/lock.hpp"
#include "userspace/daemon/last_pass.hpp"
#include "userspace/daemon/settings.hpp"

namespace xlb {

struct PassOptions {
  std::chrono::milliseconds lock_patience{60'000};  // a script may start a dozen commands that all probe
  std::chrono::milliseconds place_patience{300};  // how long to wait for neighbours that nobody had asked for
  bool retry_conflicts = true;                    // ask again for addresses that somebody else had answered for
  int announcements = 3;                          // rounds at 0, 50 and 200 ms; the daemon goes on by itself after the first
  // False, on the daemon's loop: nothing is waited for. The pass goes on with what is known, a change comes back undone
  // (Outcome::deferred) while the lock, the wire or, within the patience above, a neighbour is still to answer. What is
  // written elsewhere (write_by()) comes back half done.
  bool waits = true;
  bool pass_follows = false;  // attach: where the interface is attached already, the tables are left to the caller's next pass
  std::chrono::steady_clock::time_point conflicts_since{};  // answers older than this are asked for again
};

struct Observation {
  Objects objects;                              // of manifests and of an API server
  std::vector<std::string> warnings;            // of both
  Shared<Assignments> given;                    // Services whose addresses the API server knows, or that have none
  std::map<ObjectName, std::string> waiting;    // why those have none
  State state;
  std::optional<std::string> state_damage;  // the sentence; the state above is then recovered from the tables
  std::vector<AttachedLink> attached;
  Machine machine;
  PeerFacts peers;
  std::set<Mac> cluster_macs;  // of this machine and of its peers: what they answer for is no stranger's
  lb_node node{};      // these three: only when something is attached
  Tables installed;
  Capacity capacity;
};

struct Judgement {
  State state;
  Desired desired;
  Tables wanted;  // equals installed when nothing is attached
  std::map<Address, std::string> uses;  // addresses that the network itself needs, and for what
  std::map<Address, std::string> open;  // not served before the wire has answered, and why
  bool unsettled = false;               // some answer is missing; also: whether a conflict is one still
  std::vector<std::string> warnings;
};

struct ServiceOutcome {
  ObjectName name;
  std::vector<Address> addresses;
  std::string pool;
  std::string refusal;  // why it has no address
};

struct VipOutcome {
  Address address;
  std::vector<std::string> links;
};

// Which VIPs this node answers for on one of its links.
struct LinkVips {
  Link link;
  std::vector<Address> vips;
};

// What a pass found that matters among peers (peering.hpp).
struct PassFacts {
  std::vector<Node> nodes;
  std::vector<DesiredPeer> peers;
  std::vector<Link> links;  // empty: nothing is attached
  std::vector<DesiredVip> vips;
  std::map<std::string, std::uint32_t> node_ids;  // of the peers that have a row
  std::uint64_t configuration = 0;                // hash of what is declared: pools, advertisements, services
};

// What a pass did, for the user or the log.
struct Outcome {
  std::vector<ChangeReport> changes;      // apply, delete
  std::optional<AttachedLink> link;       // attach
  std::vector<std::string> attached;      // names of links; empty: nothing is attached, so nothing is in force yet
  std::vector<ServiceOutcome> services;   // whose addresses changed, or that the command named
  std::vector<VipOutcome> taken;          // answered for from now on
  std::vector<Address> dropped;           // no more
  std::vector<std::string> edits;         // described, in order
  std::vector<std::string> warnings;
  // For the daemon only; these do not travel over the control socket.
  std::vector<LinkVips> owned;
  std::vector<LinkVips> given_back;  // taken over from MetalLB, which announced them from this node, until now
  std::map<ObjectName, std::string> refusals;  // services without an address
  bool places_missing = false;                 // a backend takes the kernel path because its veth is not known (yet)
  std::shared_ptr<const LastPass> facts;       // what was found and decided
  bool open = false;                           // an address is not served before the wire has answered
  enum class Deferred : std::uint8_t { no, lock, wire, neighbours, disk };
  // Nothing was done, for want of this; to be called again. `disk`: it is being written, and the tables are as before; to be
  // followed by reconcile() when it is.
  Deferred deferred = Deferred::no;
  PassFacts among_peers;
  std::map<Address, std::string> uses;  // addresses that may be given to nobody, and why
  std::map<Address, std::string> conflicts;  // addresses that somebody else answers for, and who
};

// As the tables say.
std::vector<LinkVips> owned_vips(const Tables& tables, const std::vector<Link>& links, std::uint64_t epoch);

// Assignments as the kernel's tables show them, for when the state file is lost: a service holds the VIP that has its ports
// and shares a backend with it.
Assignments recover_held(const Objects& objects, const Tables& installed);

class Reconciler {
 public:
  Reconciler(Settings settings, Edges edges) : settings_(std::move(settings)), edges_(std::move(edges)) {}

  Result<Outcome> reconcile(const PassOptions& options);
  Result<Outcome> apply(const std::vector<NamedText>& documents, const PassOptions& options);
  Result<Outcome> remove(const std::vector<ObjectId>& objects, const PassOptions& options);
  Result<Outcome> attach(const AttachRequest& request, const PassOptions& options);
  Result<Outcome> detach(const std::string& interface, const PassOptions& options);  // empty: all
  Result<Outcome> upgrade(const PassOptions& options);
  // What apply() would do, and why it would not; nothing is written, and nothing sent.
  Result<Outcome> check(const std::vector<NamedText>& documents);
  // While `every` is not 0, one packet of so many is sampled until `until_mono_ns`. False: the lock is held by somebody else.
  Result<bool> set_trace(std::uint64_t until_mono_ns, std::uint32_t every, const PassOptions& options);

  // Reading, without lock and without a trace: facts, and what would follow from them. A damaged manifest gives the
  // observation of an empty folder and a warning.
  Result<Observation> look();
  Result<Judgement> judge(const Observation& observation);

  // Who knows the peers better than the tables do: a daemon that keeps them. Absent: the tables say.
  void follow_peers(std::function<std::optional<PeerFacts>()> facts) { peer_facts_ = std::move(facts); }

  // Who hears the API server: a daemon that does. Until there are facts, and without it, what was kept on disk counts.
  void follow_api(std::function<std::shared_ptr<const ApiFacts>()> facts) { api_facts_ = std::move(facts); }

  // For those who do not wait: `write` carries work out elsewhere and reports on the loop. The node's lock is kept meanwhile.
  // `written` is to go on with reconcile() before it returns; later, others may have changed the node.
  using Work = std::function<Result<void>()>;
  using Written = std::function<void(const Result<void>&)>;
  void write_by(std::function<void(Work, Written)> write, Written written) {
    write_ = std::move(write);
    written_ = std::move(written);
  }

  [[nodiscard]] const Settings& settings() const { return settings_; }
  Edges& edges() { return edges_; }

 private:
  // By manifests and an API server together.
  struct Declared {
    Objects objects;
    std::vector<std::string> warnings;
    Shared<Assignments> given;
    std::map<ObjectName, std::string> waiting;
    Shared<std::set<Address>> policed;
    std::map<Address, TakenOver> taken_over;
  };
  struct Writing {
    std::optional<Lock> lock;
    Declared declared;
  };
  Result<std::optional<Lock>> lock(const PassOptions& options);  // nothing: held, and not waited for
  Result<Outcome> locked(const PassOptions& options, const std::function<Result<Outcome>()>& body);
  Result<Observation> observe(Declared declared, const PassOptions& options);
  Result<Judgement> judge(const Observation& seen, const AskWire& ask, const PassOptions& options);
  void wrote(const Result<void>& result);
  Result<Outcome> carry_out(Observation& seen, const Judgement& judged, const PreparedChange* change,
                            const PassOptions& options);
  // carry_out(), after which the tables are as they were wanted.
  Result<Outcome> finish(Observation& seen, Judgement& judged, const PreparedChange* change, const PassOptions& options);
  void keep_installed(Observation& seen);  // nothing was edited
  Outcome put_off(Observation& seen, Outcome::Deferred why);
  Result<Outcome> change(const PreparedChange& prepared, const PassOptions& options);
  Result<Outcome> pass(const PassOptions& options);
  Declared join_api(Objects objects, std::vector<std::string> warnings);
  Result<void> find_places(Observation& seen, const PassOptions& options);
  Result<void> announce(const std::vector<LinkVips>& fresh, int rounds);

  Settings settings_;
  Edges edges_;
  std::function<std::optional<PeerFacts>()> peer_facts_ = [] { return std::nullopt; };
  std::function<std::shared_ptr<const ApiFacts>()> api_facts_ = [] { return nullptr; };
  std::shared_ptr<const ApiFacts> api_known_;  // last; of the disk, which is read once, if nobody hears the server
  bool api_read_ = false;
  // Of earlier passes of this process.
  DocumentMemory documents_;
  StateMemory state_;
  Places places_;
  DecideMemory decisions_;
  SlotMemory slots_;
  std::map<Address, TakenOver> taken_over_;
  ConfigurationHash configuration_;
  // Of a pass that waits for the disk, and of the one that follows it.
  std::function<void(Work, Written)> write_;
  Written written_;
  std::optional<Writing> writing_;
  std::optional<Lock> kept_;
  std::optional<Declared> declared_;   // however fast more is declared, what was written is carried out first
  std::optional<Assignments> untold_;  // what services held when it was last told
};

}  // namespace xlb
