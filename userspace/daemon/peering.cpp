// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/peering.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "loader/announcer.hpp"
#include "userspace/config/incarnation.hpp"
#include "userspace/daemon/clock.hpp"
#include "userspace/peers/wire.hpp"

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr const char* kForCordon = "cordoned";  // in the marker of a node that drains
constexpr auto kLeaseRenewal = 100ms;
constexpr auto kListedAgain = 1s;        // until the MACs of listed peers are looked for again
constexpr auto kSealedRemembered = 2s;   // many statement intervals
constexpr auto kRefusalSaid = 60s;       // one line a minute for each reason and MAC
constexpr std::size_t kRefusalsKept = 256;

Instant now() { return Instant(monotonic_ns()); }

// Nonces must be nobody's guess; the kernel has enough of them once it has booted.
std::uint64_t chance() {
  std::uint64_t bits = 0;
  while (getrandom(&bits, sizeof(bits), 0) != static_cast<ssize_t>(sizeof(bits))) {
  }
  return bits;
}

LinkKey link_key(const Link& link) { return {link.attach_ifindex, link.vlan}; }

bool others_listed(const std::vector<Node>& nodes, const std::string& self) {
  return std::any_of(nodes.begin(), nodes.end(), [&](const Node& node) { return node.name != self; });
}

}  // namespace

Peering::Peering(Loop& loop, const Log& log, const Settings& settings, const ClusterSettings& times, Hooks hooks)
    : loop_(loop), log_(log), settings_(settings), times_(times), hooks_(std::move(hooks)), links_(loop, [this] { step(); }) {}

Peering::~Peering() { leave(); }

// ---- joining and leaving ------------------------------------------------------------------------------------------------

std::optional<PeerFacts> Peering::facts() const {
  if (!company_) return std::nullopt;
  PeerFacts facts;
  facts.alone = false;
  facts.settled = company_->cluster.standing() == Standing::standing;
  for (const auto& [name, where] : company_->peers)
    facts.peers.push_back({name, where.addresses, {where.mac}, where.link.ifindex, where.link.vlan, where.alive, where.awaited});
  for (const VipView& vip : company_->cluster.vips())
    facts.holdings[vip.address] = {vip.owned, vip.epoch, vip.owner, vip.reason};
  return facts;
}

Result<void> Peering::settle(PassFacts found) {
  found_ = std::move(found);
  auto key = read_key(settings_.key_file());
  if (!key) return key.error();  // what it was stays in force: without it, strangers might be believed
  const bool other_key = *key != key_;
  key_ = std::move(*key);
  const bool alone = !key_ && !others_listed(found_.nodes, settings_.node);
  if (company_ && (alone || found_.links.empty() || !company_->rows->in_force() || other_key)) {
    leave();
    hooks_.wish_pass();  // what a peer owned, by what is known no more
  }
  if (found_.links.empty()) return {};
  if (alone) {
    auto rows = open_live_rows(settings_.pin_dir);
    if (!rows) return rows.error();
    if ((*rows)->node().lease_boot_ns != XLB_FOREVER) Lease(**rows, times_.lease).give_for_ever();
    return {};
  }
  if (!company_) {
    if (auto joined = join(); !joined) return joined.error().in("joining the peers");
  }
  auto opened = links_.set(found_.links);
  company_->nonces.set_peers(found_.node_ids);
  tell_peers(write_peers());
  declare();
  step();
  mind_cordon();
  return opened;
}

// A pod that is replaced on a cordoned node goes on draining; when the node is wanted again, so are its addresses.
void Peering::mind_cordon() {
  if (!draining_ || !for_cordon_) return;
  const auto self = std::find_if(found_.nodes.begin(), found_.nodes.end(), [&](const Node& node) { return node.name == settings_.node; });
  if (self == found_.nodes.end() || self->cordoned) return;
  if (auto ended = set_draining(false, false); !ended) log_.say(Severity::error, "draining not ended", {{"reason", ended.error().text}});
}

Result<void> Peering::join() {
  auto rows = open_live_rows(settings_.pin_dir);
  if (!rows) return rows.error();
  std::optional<Seal> seal;
  if (key_) seal.emplace(*key_);
  auto incarnation = new_incarnation();
  if (!incarnation) return incarnation.error();
  incarnation_ = *incarnation;

  Lease lease(**rows, times_.lease);
  std::map<Address, std::uint64_t> adopted;
  std::map<Address, std::pair<std::uint64_t, std::uint64_t>> written;
  if (lease.take_over(boot_ns())) {
    for (const DesiredVip& vip : found_.vips) {
      if (!vip.owned) continue;
      // What was owned while this node was alone has no claim yet: it begins with the lowest.
      adopted[vip.address] = std::max<std::uint64_t>(vip.claim_epoch, 1);
      written[vip.address] = {(*rows)->node().epoch, vip.claim_epoch};
    }
  }
  company_.emplace(std::move(*rows), times_, Cluster(settings_.node, times_, adopted), Assembly(settings_.node, std::move(seal)), sender_id(settings_.node));
  company_->written = std::move(written);
  // What the tables know of peers stays in force until this daemon knows better.
  for (const DesiredPeer& peer : found_.peers)
    if (!peer.macs.empty())
      company_->peers[peer.name] = {{peer.attach_ifindex, peer.vlan}, peer.macs.front(), peer.addresses, peer.alive, peer.awaited};
  company_->assembly.set_incarnation(incarnation_);
  std::string why;
  std::ifstream marker(settings_.drain_marker());
  draining_ = marker.is_open();
  for_cordon_ = static_cast<bool>(std::getline(marker, why)) && why == kForCordon;
  log_.say(Severity::info, "joined",
           {{"incarnation", std::to_string(incarnation_)},
            {"adopted", std::to_string(adopted.size())},
            {"key", key_ ? "yes" : "no"},
            {"detection_ms", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(times_.detection()).count())}});
  lease_due_ = now();
  renew_lease();
  return {};
}

void Peering::leave() {
  loop_.cancel(step_timer_);
  loop_.cancel(lease_timer_);
  (void)links_.set({});  // nothing is opened, so nothing can fail
  company_.reset();
}

Result<std::uint64_t> Peering::new_incarnation() {
  auto next = next_incarnation(settings_.incarnation_file(), chance());
  if (!next) return next.error();
  if (!next->damage.empty()) log_.say(Severity::warning, "incarnation not known", {{"reason", next->damage}});
  incarnations_end_ = next->number + kIncarnationsInARow;
  return next->number;
}

// ---- what this node says of itself --------------------------------------------------------------------------------------

std::vector<OwnVip> Peering::own_vips() {
  std::vector<OwnVip> vips;
  for (const DesiredVip& vip : found_.vips) {
    auto digest = digests_.find(vip.ranked_by);
    if (digest == digests_.end()) digest = digests_.emplace(vip.ranked_by, rank_digest(settings_.node, vip.ranked_by)).first;
    vips.push_back({vip.address, vip.eligible, vip.obstacle, {vip.preference, digest->second}});
    if (company_->sealed_heard) {
      vips.back().eligible = false;
      vips.back().obstacle = "peers speak under a key that this node has not: xdp-lb peer key --import";
    }
  }
  return vips;
}

void Peering::declare() {
  SelfFacts self;
  self.incarnation = incarnation_;
  self.version = XLB_VERSION;
  for (const Link* link : links_.all()) self.macs.push_back(link->mac);
  for (const Node& node : found_.nodes)
    if (node.name != settings_.node) self.listed.push_back(node.name);
  self.draining = draining_;
  self.configuration = found_.configuration;
  self.vips = own_vips();
  company_->cluster.declare(std::move(self));
}

void Peering::renew_lease() {
  ++counts_.renewals;
  if (now() - lease_due_ >= kLeaseRenewal) ++counts_.late_renewals;
  if (!company_->lease.renew(boot_ns)) {
    ++counts_.lease_losses;
    // Stopped for longer than the lease: peers may have taken everything over. What was owned is void already.
    company_->written.clear();
    if (++incarnation_ == incarnations_end_) {
      if (auto next = new_incarnation(); next)
        incarnation_ = *next;
      else
        log_.say(Severity::error, "incarnation not kept", {{"reason", next.error().text}});
    }
    company_->assembly.set_incarnation(incarnation_);
    log_.say(Severity::warning, "lease lost", {{"incarnation", std::to_string(incarnation_)}, {"vips", "joining anew"}});
    declare();
  }
  lease_due_ = now() + kLeaseRenewal;
}

// ---- a step -----------------------------------------------------------------------------------------------------------------

void Peering::step() {
  if (!company_) return;
  loop_.cancel(step_timer_);
  if (!company_->rows->in_force()) {  // detached by somebody else; the next pass finds out the rest
    leave();
    return hooks_.wish_pass();
  }
  // Before anything is judged: after a stall this node must first know that it was the one that stood still.
  if (now() >= lease_due_) renew_lease();

  ClusterFacts facts;
  std::vector<std::vector<Octets>> pieces;
  facts.sent = std::exchange(company_->sent, {});
  std::vector<Arrival> arrivals;
  hear(facts.statements, pieces, arrivals);
  if (!key_) {
    mind_missing_key();
    if (now() >= listed_due_) look_for_the_listed();
  }
  facts.returned = company_->nonces.collect();
  facts.now = now();
  if (links_.heard_a_frame()) company_->last_frame = facts.now;
  facts.last_frame = company_->last_frame;

  const Standing before = company_->cluster.standing();
  const ClusterOrders orders = company_->cluster.step(facts);
  follow(arrivals);
  if (company_->cluster.standing() != before) on_standing();
  // First what clients wait for, and the words after it. A dead node's backends before its VIPs: a flow that comes in between
  // would be handed to it.
  const auto turned = orders.peers_changed ? write_peers() : std::vector<const PeerView*>{};
  if (orders.vips_changed) write_vips();
  tell_peers(turned);
  send_echoes(orders.echoes);
  say(orders);
  pass_on(orders, pieces);
  if (auto listening = links_.listen(orders.listen); !listening)
    log_.say(Severity::warning, "frames not listened for", {{"reason", listening.error().text}});
  if (orders.ask) ask_neighbours();
  for (const std::string& note : orders.notes) log_.say(Severity::warning, "noted", {{"about", note}});

  const Instant wake = std::min(orders.wake, lease_due_);  // the lease is due often enough for all else
  step_timer_ = loop_.at(Loop::Clock::time_point(wake), [this] { step(); });
}

void Peering::on_standing() {
  const bool standing = company_->cluster.standing() == Standing::standing;
  log_.say(standing ? Severity::info : Severity::warning, standing ? "standing among its peers" : "not standing",
           {{"reason", company_->cluster.standing_reason()}});
  tell_peers(write_peers());         // whoever has not been heard by now is not there
  if (standing) hooks_.wish_pass();  // first uses wait for it
}

void Peering::hear(std::vector<StatementHeard>& statements, std::vector<std::vector<Octets>>& pieces,
                   std::vector<Arrival>& arrivals) {
  links_.receive([&](const LinkKey& link, const PeerSocket::Received& received) {
    auto taken = company_->assembly.take(received.datagram, received.from, received.at_ns);
    if (taken.refusal) refuse(*taken.refusal, received.from);
    if (!taken.heard) return;
    ++counts_.statements_received;
    Heard& heard = *taken.heard;
    const bool direct = !heard.passed_on;
    if (direct && heard.statement.node != settings_.node)
      arrivals.push_back({heard.statement.node, heard.statement.mac, {link, heard.mac, heard.statement.addresses, false}});
    statements.push_back({std::move(heard.statement), direct, Instant(heard.at_ns)});
    pieces.push_back(std::move(heard.pieces));
  });
}

// Where peers are to be found now. A namesake whom the mind ignores moves nobody.
void Peering::follow(const std::vector<Arrival>& arrivals) {
  for (const Arrival& arrival : arrivals) {
    const auto& views = company_->cluster.peers();
    const auto view = std::find_if(views.begin(), views.end(), [&](const PeerView& each) { return each.name == arrival.node; });
    if (view == views.end() || !view->known || view->said.mac != arrival.said_mac) continue;
    const auto [peer, fresh] = company_->peers.try_emplace(arrival.node, arrival.from);
    Whereabouts& where = peer->second;
    // A peer with several links says the same on each; it is kept to the one that it was first heard on.
    const bool elsewhere = links_.has(where.link) && where.link != arrival.from.link;
    const bool same = where.link == arrival.from.link && where.mac == arrival.from.mac && where.addresses == arrival.from.addresses;
    if (!fresh && (elsewhere || same)) continue;
    const auto [alive, awaited] = std::pair(where.alive, where.awaited);
    where = arrival.from;
    where.alive = alive;
    where.awaited = awaited;
    hooks_.wish_pass();  // its row
  }
}

// Without a key, whoever is listed is believed by his MAC.
void Peering::look_for_the_listed() {
  listed_due_ = now() + kListedAgain;
  std::map<Mac, std::string> listed;
  for (const Node& node : found_.nodes) {
    if (node.name == settings_.node) continue;
    for (const Address& address : node.addresses)
      for (const Link* link : links_.all()) {
        const bool near = std::any_of(link->subnets.begin(), link->subnets.end(),
                                      [&](const Prefix& subnet) { return subnet.contains(address); });
        if (!near) continue;
        if (const auto mac = hooks_.find_mac(*link, address)) listed[*mac] = node.name;
      }
  }
  company_->assembly.set_listed(listed);
}

// A node that lost its key, or never got it, must not take itself for the last that lives.
void Peering::mind_missing_key() {
  if (!company_->sealed_heard || now() - *company_->sealed_heard < kSealedRemembered) return;
  company_->sealed_heard.reset();
  declare();
}

void Peering::refuse(Refusal refusal, const Mac& from) {
  if (refusal == Refusal::no_key_here) {
    const bool news = !std::exchange(company_->sealed_heard, now());
    if (news) declare();
  }
  if (harmless(refusal)) return;  // counted by the assembly
  if (refusals_said_.size() > kRefusalsKept) refusals_said_.clear();  // forged senders must not eat memory
  const auto [entry, fresh] = refusals_said_.try_emplace({refusal, from}, now());
  if (!fresh && now() - entry->second < kRefusalSaid) return;
  entry->second = now();
  log_.say(Severity::warning, "statement refused",
           {{"mac", from.text()}, {"reason", refusal_text(refusal).text},
            {"refused", std::to_string(company_->assembly.refused(refusal))}});
}

void Peering::send_echoes(const std::vector<EchoOrder>& orders) {
  for (const EchoOrder& order : orders) {
    const auto peer = company_->peers.find(order.peer);
    if (peer == company_->peers.end() || !company_->nonces.knows(order.peer)) continue;  // no row, so nothing could come home
    const Instant sent = now();
    const std::uint64_t nonce = company_->nonces.expect(order.peer, order.id, chance(), sent);
    company_->sent.push_back({order.peer, order.id, sent});
    // One that is not sent does not come home: the same as one that is lost.
    (void)links_.send_echo(peer->second.link, peer->second.mac, nonce);
  }
}

void Peering::say(const ClusterOrders& orders) {
  if (!orders.statement) return;
  Statement statement = *orders.statement;
  const Seal* seal = company_->assembly.seal() ? &*company_->assembly.seal() : nullptr;
  for (const Link* link : links_.all()) {
    statement.mac = link->mac;
    statement.addresses.clear();
    for (const Address& address : link->addresses)
      if (statement.addresses.size() < kStatedAddresses) statement.addresses.push_back(address);
    auto pieces = pieces_of(statement, seal);
    if (!pieces) {
      log_.say(Severity::error, "nothing stated", {{"reason", pieces.error().text}});
      return;
    }
    std::vector<Mac> to;
    if (orders.statement_broadcast) to.push_back(kBroadcastMac);
    for (const std::string& name : orders.statement_to) {
      const auto peer = company_->peers.find(name);
      if (peer != company_->peers.end() && peer->second.link == link_key(*link)) to.push_back(peer->second.mac);
    }
    counts_.statements_sent += to.empty() ? 0 : 1;
    for (const Mac& mac : to)
      for (const Octets& piece : *pieces) (void)links_.send_statement(link_key(*link), mac, piece);  // the next comes soon
  }
}

void Peering::pass_on(const ClusterOrders& orders, const std::vector<std::vector<Octets>>& pieces) {
  const Seal* seal = company_->assembly.seal() ? &*company_->assembly.seal() : nullptr;
  for (const PassOn& order : orders.pass_on) {
    ++counts_.statements_passed_on;
    for (const Octets& piece : pieces.at(order.index)) {
      auto wrapped = xlb::pass_on(piece, company_->own_id, seal);
      if (!wrapped) continue;  // it came in whole, so it goes out whole
      for (const std::string& name : order.to) {
        const auto peer = company_->peers.find(name);
        if (peer != company_->peers.end()) (void)links_.send_statement(peer->second.link, peer->second.mac, *wrapped);
      }
    }
  }
}

// Any answer will do: ARP and neighbour discovery for the gateway and for every peer.
void Peering::ask_neighbours() {
  for (const Link* link : links_.all()) {
    std::set<Address> asked;
    for (const auto& gateway : {link->gateway4, link->gateway6})
      if (gateway) asked.insert(*gateway);
    for (const auto& [name, peer] : company_->peers)
      if (peer.link == link_key(*link)) asked.insert(peer.addresses.begin(), peer.addresses.end());
    std::vector<Frame> frames;
    for (const Address& address : asked) frames.push_back(probe(address, link->mac, link->vlan));
    (void)asker_.send(link->attach_ifindex, link->name, frames);  // a link that is down has no answer, either
  }
}

// ---- what was decided ---------------------------------------------------------------------------------------------------

void Peering::write_vips() {
  const std::uint64_t epoch = company_->rows->node().epoch;
  std::vector<Address> taken, dropped;
  std::vector<const VipView*> changed;
  for (const VipView& vip : company_->cluster.vips()) {
    const std::pair wanted(vip.owned ? epoch : 0, vip.epoch);
    const auto old = company_->written.find(vip.address);
    if (old != company_->written.end() ? old->second == wanted : !vip.owned) continue;
    changed.push_back(&vip);
  }
  // What goes, goes first: no moment with two answers that could have been avoided.
  std::stable_partition(changed.begin(), changed.end(), [](const VipView* vip) { return !vip->owned; });
  for (const VipView* vip : changed) {
    const bool had = company_->written.contains(vip->address) && company_->written[vip->address].first == epoch;
    if (auto owned = company_->rows->own(vip->address, vip->owned ? epoch : 0, vip->epoch); !owned) {
      hooks_.wish_pass();  // no row yet: the pass writes it as the cluster says
      continue;
    }
    hooks_.wrote();
    company_->written[vip->address] = {vip->owned ? epoch : 0, vip->epoch};
    if (vip->owned && !had) taken.push_back(vip->address);
    if (!vip->owned && had) dropped.push_back(vip->address);
  }
  if (!taken.empty() || !dropped.empty()) hooks_.moved(taken, dropped);
  for (const VipView& vip : company_->cluster.vips()) {
    std::string& owner = company_->owners[vip.address];
    if (owner == vip.owner) continue;
    ++counts_.moves[vip.address];
    log_.say(Severity::info, "vip moved",
             {{"vip", vip.address.text()}, {"from", owner}, {"to", vip.owner}, {"reason", vip.reason}});
    owner = vip.owner;
  }
}

// A daemon that has just started has sent no echo yet: nobody is dead because of that.
bool Peering::forwards(const PeerView& peer, const Whereabouts& where) const {
  const bool judged = peer.losses != 0 || company_->cluster.standing() != Standing::listening;
  return peer.reached || (!judged && where.alive);
}

std::vector<const PeerView*> Peering::write_peers() {
  std::vector<const PeerView*> turned;
  for (const PeerView& peer : company_->cluster.peers()) {
    const auto where = company_->peers.find(peer.name);
    if (where == company_->peers.end()) continue;
    const bool alive = forwards(peer, where->second);
    const bool awaited = !alive && peer.awaited;
    if (std::exchange(where->second.awaited, awaited) && !alive && !awaited) hooks_.wish_pass();  // it leaves the slots
    if (const auto id = found_.node_ids.find(peer.name); id != found_.node_ids.end())
      company_->rows->set_presence(id->second, alive ? XLB_PEER_ALIVE : awaited ? XLB_PEER_AWAITED : 0);
    if (std::exchange(where->second.alive, alive) != alive) turned.push_back(&peer);
  }
  return turned;
}

void Peering::tell_peers(const std::vector<const PeerView*>& turned) {
  if (!turned.empty()) hooks_.wish_pass();  // slots that have both backends on dead nodes get others
  for (const PeerView* peer : turned) {
    const bool alive = company_->peers.at(peer->name).alive;
    log_.say(alive ? Severity::info : Severity::warning, alive ? "peer reached" : "peer lost",
             {{"peer", peer->name}, {"reason", peer->reason},
              {"after_ms", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(peer->detection).count())}});
  }
}

// Kept in the run directory: a daemon that is replaced meanwhile goes on draining, a machine that boots again does not.
Result<void> Peering::set_draining(bool draining, bool for_cordon) {
  if (draining_ == draining) return {};
  std::error_code problem;
  if (draining) {
    std::ofstream marker(settings_.drain_marker());
    if (for_cordon) marker << kForCordon << "\n";
    if (!marker.flush()) return Error{"cannot write " + settings_.drain_marker().string()};
  } else if (std::filesystem::remove(settings_.drain_marker(), problem); problem) {
    return Error{"cannot remove " + settings_.drain_marker().string() + ": " + problem.message()};
  }
  log_.say(Severity::info, draining ? "draining" : "draining ended");
  draining_ = draining;
  for_cordon_ = for_cordon;
  declare();
  step();
  return {};
}

bool Peering::announced_on(const Address& vip, const Link& link) const {
  const auto found = std::find_if(found_.vips.begin(), found_.vips.end(), [&](const auto& each) { return each.address == vip; });
  return found != found_.vips.end() &&
         std::find(found->links.begin(), found->links.end(), link.l3_name) != found->links.end();
}

void Peering::say_metrics(MetricsText& metrics) const {
  if (!company_) return say_no_peers(metrics);
  PeerFigures figures{settings_.node, times_.detection(), company_->cluster.standing(), draining_, incarnation_,
                      {}, company_->nonces.counts(), {}, counts_};
  for (const auto& [name, where] : company_->peers) figures.alive[name] = where.alive;
  for (std::size_t i = 0; i < kRefusals; ++i) figures.refused[i] = company_->assembly.refused(static_cast<Refusal>(i));
  say_peers(metrics, figures, company_->cluster.peers(), company_->cluster.vips());
}

bool Peering::is_peer(const Mac& mac) const {
  return company_ && std::any_of(company_->peers.begin(), company_->peers.end(),
                                 [&](const auto& peer) { return peer.second.mac == mac; });
}

}  // namespace xlb
