// SPDX-License-Identifier: Apache-2.0
// A machine of the simulated cluster: a kernel part that works as long as there is power (the programs: they answer,
// send echoes back, forward), and a daemon part around a real Cluster that can be stopped, killed and started.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/network.hpp"
#include "userspace/core/cluster.hpp"

namespace xlb::sim {

class World;

// A mistake built in between a Cluster and its world, to see that the referee finds it.
enum class Plant : std::uint8_t {
  none,
  lease_skipped,     // the programs answer on past the lease
  epoch_not_raised,  // a daemon that comes back past its lease just renews it
  delay_ignored,     // the incumbent hands over at once
  not_passed_on,     // nobody passes statements on
  deafness_ignored,  // a node that hears nothing takes itself for the last survivor
};

// What survives the daemon.
struct Kernel {
  struct Row {
    std::uint64_t owned_epoch = 0;
    std::uint64_t claim_epoch = 0;
    Time written{};  // by the world's clock: for the referee
  };
  bool on = false;
  std::uint64_t epoch = 1;
  Time lease{};  // by the node's own clock
  std::vector<Row> vips;
  std::set<std::string> peers;  // echoes of others are not sent back
};

class Node {
 public:
  Node(World& world, Host host, std::string name);

  // ---- what may happen to it
  void power_on(Time now);
  void power_off();
  void start(Time now);
  void kill();
  void stop() { stopped_ = true; }
  void resume(Time now);
  void jump(Time by) { offset_ += by; }
  void set_eligible(std::size_t vip, bool eligible, const std::string& obstacle, Time now);
  void set_draining(bool draining, Time now);
  void set_configuration(std::uint64_t hash, Time now);

  // ---- what the world does to it
  void step(Time now);  // the daemon runs
  void hear(const std::shared_ptr<const Statement>& statement, bool direct, Time now);
  void frame();  // of any kind came in
  // Sends an echo back: nothing, or whether it is stale.
  [[nodiscard]] std::optional<bool> echo(const std::string& from, Time now) const;
  void announce(std::size_t vip, unsigned round, std::uint64_t claim, Time now);

  // ---- what can be seen of it
  [[nodiscard]] Host host() const { return host_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const Kernel& kernel() const { return kernel_; }
  [[nodiscard]] bool answers(std::size_t vip, Time now) const;
  [[nodiscard]] bool lease_over(Time now) const { return clock(now) >= kernel_.lease; }
  [[nodiscard]] Time lease_end() const { return kernel_.lease - offset_; }
  [[nodiscard]] bool awake() const { return kernel_.on && cluster_ != nullptr && !stopped_; }
  [[nodiscard]] const Cluster* cluster() const { return cluster_.get(); }
  [[nodiscard]] bool eligible(std::size_t vip) const { return own_[vip].eligible; }
  [[nodiscard]] bool draining() const { return draining_; }
  [[nodiscard]] const Rank& rank(std::size_t vip) const { return own_[vip].rank; }
  [[nodiscard]] Time next_step() const { return next_step_; }
  [[nodiscard]] Time resumed() const { return resumed_; }  // since when the daemon runs without a pause

 private:
  struct Flying {  // an echo that will come home
    EchoReturned echo;
    Time home{};  // by the world's clock
  };

  [[nodiscard]] Time clock(Time now) const { return now + offset_; }
  [[nodiscard]] SelfFacts self() const;
  void renew(Time now);
  ClusterFacts gather(Time now);
  void apply(const ClusterFacts& facts, const ClusterOrders& orders, Time now);
  void write_claims(Time now);
  void tell(const ClusterOrders& orders, Time now);
  void wake_by(Time now);

  World& world_;
  Host host_;
  std::string name_;
  Mac mac_;
  std::uint64_t incarnation_ = 0;  // on disk
  Time offset_{};                  // of its clock
  Kernel kernel_;

  std::vector<OwnVip> own_;
  bool draining_ = false;
  std::uint64_t configuration_ = 1;

  std::unique_ptr<Cluster> cluster_;
  bool stopped_ = false;
  Time next_step_{};
  Time resumed_{};
  Time renewed_{};
  bool listening_ = false;  // as its Cluster ordered
  bool frame_ = false;      // one has come in meanwhile
  Time last_frame_{};       // by the world's clock; 0: none
  std::vector<EchoSent> sent_;
  std::vector<Flying> flying_;
  std::vector<StatementHeard> inbox_;
  std::vector<std::shared_ptr<const Statement>> inbox_origin_;  // beside inbox_: what is passed on
};

}  // namespace xlb::sim
