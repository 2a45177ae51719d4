// SPDX-License-Identifier: Apache-2.0
// This node among its peers: the thin shell around core/cluster.hpp. It sends echoes and statements, reads what comes home,
// lets the mind take a step, and writes what that decided into the tables at once; no pass stands between a peer's death and the
// VIP that moves. It keeps the lease, too. Without peers and without a key it does nothing but give the lease for ever.
//
// A pass and this shell meet twice: facts() goes into decide(), and settle() takes what the pass found.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loader/live_rows.hpp"
#include "loader/packet_socket.hpp"
#include "userspace/core/cluster.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/daemon/cluster_view.hpp"
#include "userspace/daemon/nonces.hpp"
#include "userspace/daemon/lease.hpp"
#include "userspace/daemon/log.hpp"
#include "userspace/daemon/loop.hpp"
#include "userspace/daemon/peer_links.hpp"
#include "userspace/daemon/peer_metrics.hpp"
#include "userspace/daemon/reconciler.hpp"
#include "userspace/daemon/settings.hpp"
#include "userspace/peers/assembly.hpp"
#include "userspace/peers/digest.hpp"
#include "userspace/peers/key.hpp"

namespace xlb {

class Peering final : public ClusterView {
 public:
  struct Hooks {
    std::function<void()> wish_pass;  // the tables need rows that only a pass writes
    std::function<void()> wrote;      // a VIP's row, which no pass did
    // VIPs that this node answers for from now on, and no more. The tables say so already.
    std::function<void(const std::vector<Address>& taken, const std::vector<Address>& dropped)> moved;
    // The MAC of an address on a link, as the kernel knows it; asks for it where it does not.
    std::function<std::optional<Mac>(const Link&, const Address&)> find_mac;
  };
  Peering(Loop& loop, const Log& log, const Settings& settings, const ClusterSettings& times, Hooks hooks);
  ~Peering() override;
  Peering(const Peering&) = delete;
  Peering& operator=(const Peering&) = delete;

  // For the next pass; absent before the first settle(), and while the node is alone.
  [[nodiscard]] std::optional<PeerFacts> facts() const;
  Result<void> settle(PassFacts found);

  // Whether the VIP may be announced on that link, as the last pass decided.
  [[nodiscard]] bool announced_on(const Address& vip, const Link& link) const;
  [[nodiscard]] bool keeps_peers() const { return company_.has_value(); }
  [[nodiscard]] bool is_peer(const Mac& mac) const;
  void say_metrics(MetricsText& metrics) const;

  // Of ClusterView; only while peers are kept.
  [[nodiscard]] const std::vector<PeerView>& peers() const override { return company_->cluster.peers(); }
  [[nodiscard]] const std::vector<VipView>& vips() const override { return company_->cluster.vips(); }
  [[nodiscard]] Drain drained() const override { return company_->cluster.drain(); }
  Result<void> drain(bool for_cordon) override { return set_draining(true, for_cordon); }
  Result<void> undrain() override { return set_draining(false, false); }

 private:
  // Where a peer is: the link and the MAC that its last statement came from by itself.
  struct Whereabouts {
    LinkKey link;
    Mac mac;
    std::vector<Address> addresses;
    bool alive = false;    // as the tables have it
    bool awaited = false;  // likewise
  };
  // A statement that came by itself, before the mind has said whether it believes it.
  struct Arrival {
    std::string node;
    Mac said_mac;
    Whereabouts from;
  };
  // While there are peers and a link.
  struct Company {
    Company(std::unique_ptr<LiveRows> live, const ClusterSettings& times, Cluster mind, Assembly statements, std::uint64_t id)
        : rows(std::move(live)),
          lease(*rows, times.lease),
          nonces(*rows, times.echo_interval),
          cluster(std::move(mind)),
          assembly(std::move(statements)),
          own_id(id) {}
    std::unique_ptr<LiveRows> rows;
    Lease lease;
    Nonces nonces;
    Cluster cluster;
    Assembly assembly;
    std::uint64_t own_id;  // sender_id()
    std::map<std::string, Whereabouts> peers;
    std::vector<EchoSent> sent;  // since the last step
    std::map<Address, std::pair<std::uint64_t, std::uint64_t>> written;  // VIP -> owned and claim epoch in the tables
    std::map<Address, std::string> owners;
    Instant last_frame{};
    std::optional<Instant> sealed_heard;  // without a key: when somebody last said something under one
  };

  Result<void> join();
  void leave();
  void declare();
  [[nodiscard]] std::vector<OwnVip> own_vips();
  void step();
  void on_standing();
  void hear(std::vector<StatementHeard>& statements, std::vector<std::vector<Octets>>& pieces,
            std::vector<Arrival>& arrivals);
  void follow(const std::vector<Arrival>& arrivals);
  void look_for_the_listed();
  void mind_missing_key();
  void refuse(Refusal refusal, const Mac& from);
  void send_echoes(const std::vector<EchoOrder>& orders);
  void say(const ClusterOrders& orders);
  void pass_on(const ClusterOrders& orders, const std::vector<std::vector<Octets>>& pieces);
  void ask_neighbours();
  void write_vips();
  std::vector<const PeerView*> write_peers();  // those that were lost, or are there again; until the next step of the cluster
  void tell_peers(const std::vector<const PeerView*>& turned);
  [[nodiscard]] bool forwards(const PeerView& peer, const Whereabouts& where) const;
  void renew_lease();
  Result<void> set_draining(bool draining, bool for_cordon);
  void mind_cordon();
  Result<std::uint64_t> new_incarnation();

  Loop& loop_;
  const Log& log_;
  const Settings& settings_;
  const ClusterSettings times_;
  Hooks hooks_;
  PeerLinks links_;
  FrameSender asker_;
  PassFacts found_;
  std::optional<ClusterKey> key_;
  std::optional<Company> company_;
  PeerCounts counts_;
  bool draining_ = false;
  bool for_cordon_ = false;  // it drains because its node is cordoned
  std::uint64_t incarnation_ = 0, incarnations_end_ = 0;  // the end: this one would have to be written first
  std::map<Address, Digest> digests_;  // of what VIPs are ranked by
  std::map<std::pair<Refusal, Mac>, Instant> refusals_said_;
  Loop::Timer step_timer_ = 0, lease_timer_ = 0;
  Instant lease_due_{}, listed_due_{};
};

}  // namespace xlb
