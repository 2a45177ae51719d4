// SPDX-License-Identifier: Apache-2.0
// Against a real kernel, in a network namespace of their own: lists that are kept say what lists that are asked for say.
#include "loader/kept_lists.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <random>
#include <thread>

#include "tests/unit/loader/network_space.hpp"

namespace xlb {
namespace {

std::string spaced(std::uint64_t value) { return std::to_string(value) + " "; }

// Everything that they say, in an order of its own.
std::vector<std::string> said_by(KeptLists& lists) {
  std::vector<std::string> said;
  const auto interfaces = lists.interfaces();
  const auto addresses = lists.addresses();
  const auto routes = lists.default_routes();
  const auto stations = lists.stations();
  if (!interfaces || !addresses || !routes || !stations) return {"a list that cannot be read"};
  for (const auto& [ifindex, facts] : **interfaces) {
    said.push_back("interface " + spaced(ifindex) + facts.name + " " + facts.kind + " " + spaced(facts.master) + spaced(facts.link) +
                   spaced(facts.vlan) + facts.mac.text() + " " + spaced(facts.mtu) + spaced(facts.up) + spaced(facts.carrier));
    for (const Side side : {Side::ingress, Side::egress}) {
      const auto filters = lists.filters(ifindex, side);
      if (!filters) return {"filters that cannot be read"};
      for (const TcFilter& filter : **filters)
        said.push_back("filter " + spaced(ifindex) + side_text(side) + " " + spaced(filter.priority) + spaced(filter.handle) + filter.kind);
    }
  }
  for (const AddressRow& row : **addresses)
    said.push_back("address " + spaced(row.ifindex) + row.address.text() + "/" + spaced(row.prefix_length) + spaced(row.usable));
  for (const RouteRow& row : **routes)
    said.push_back("default route " + spaced(row.ifindex) + (row.gateway ? row.gateway->text() : "") + " " + spaced(row.table));
  for (const StationRow& row : **stations) said.push_back("station " + spaced(row.bridge) + spaced(row.port) + row.mac.text());
  std::sort(said.begin(), said.end());
  return said;
}

class KeptListsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes a network namespace";
    auto entered = NetworkSpace::enter();
    ASSERT_TRUE(entered) << entered.error().text;
    node_.emplace(std::move(*entered));
    run("ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
    auto opened = KeptLists::open();
    ASSERT_TRUE(opened) << opened.error().text;
    kept_.emplace(std::move(*opened));
  }
  void run(const std::string& commands) const {
    const auto done = node_->run(commands);
    ASSERT_TRUE(done) << done.error().text;
  }
  // What changes by itself just then (addresses are tentative at first) is looked at again.
  void expect_true_after(const std::string& what) {
    std::vector<std::string> kept, now, before;
    do {
      before = asked_anew();
      kept = said_by(*kept_);
      now = asked_anew();
    } while (before != now);
    EXPECT_EQ(kept, now) << "after " << what;
  }
  static std::vector<std::string> asked_anew() {
    auto fresh = KeptLists::open();
    EXPECT_TRUE(fresh) << fresh.error().text;
    return said_by(*fresh);
  }

  // What the kernel says of a new link by itself, a moment later, is said.
  void until_quiet() {
    for (auto before = *kept_->interfaces();; before = *kept_->interfaces()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      if (*kept_->interfaces() == before) return;
    }
  }

  std::optional<NetworkSpace> node_;
  std::optional<KeptLists> kept_;
};

TEST_F(KeptListsTest, FollowWhateverChanges) {
  expect_true_after("nothing");
  for (const std::string change : {
           "ip link add v1 type veth peer name v2",
           "ip link set v1 up",
           "ip link set v2 up",
           "ip link set v1 mtu 1400",
           "ip link set v1 address 02:00:00:00:00:77",
           "ip addr add 192.0.2.1/24 dev v1",
           "ip route add default via 192.0.2.254",
           "ip addr del 192.0.2.1/24 dev v1",  // and the routes by it, which the kernel does not say
           "ip addr add 192.0.2.1/24 dev v1; ip route add default via 192.0.2.254",
           "ip addr add fd00::1/64 dev v1 nodad; ip -6 route add default via fd00::2 dev v1",
           "ip link set v1 down",
           "ip link set v1 up; ip route replace default via 192.0.2.253",
           "ip -6 addr flush dev v1",
           "ip link add br0 type bridge; ip link set br0 up",
           "ip link set v2 master br0",
           "bridge fdb add 02:00:00:00:00:09 dev v2 master static",
           "bridge fdb del 02:00:00:00:00:09 dev v2 master",
           "bridge fdb add 02:00:00:00:00:0a dev v2 master static; ip link set v2 nomaster",
           "tc qdisc add dev v1 clsact",
           "tc filter add dev v1 ingress prio 7 bpf bytecode '1,6 0 0 4294967295,'",
           "tc filter add dev v1 egress prio 8 bpf bytecode '1,6 0 0 4294967295,'",
           "tc filter del dev v1 ingress prio 7",
           "tc qdisc del dev v1 clsact",
           "ip link set v1 down; ip link set v1 name v3; ip link set v3 up",
           "ip link del v3",
       }) {
    run(change);
    expect_true_after(change);
  }
}

TEST_F(KeptListsTest, AreNotAskedForTwice) {
  run("ip link add v1 type veth peer name v2; tc qdisc add dev v1 clsact");
  until_quiet();
  const auto interfaces = *kept_->interfaces();
  const auto addresses = *kept_->addresses();
  const auto stations = *kept_->stations();
  const auto filters = *kept_->filters(1, Side::ingress);
  EXPECT_EQ(*kept_->interfaces(), interfaces);
  EXPECT_EQ(*kept_->stations(), stations);
  EXPECT_EQ(*kept_->filters(1, Side::ingress), filters);
  run("ip addr add 192.0.2.1/24 dev v1");
  EXPECT_EQ(*kept_->interfaces(), interfaces) << "an address is not an interface";
  EXPECT_NE(*kept_->addresses(), addresses);
  kept_->forget();
  EXPECT_NE(*kept_->interfaces(), interfaces);
}

TEST_F(KeptListsTest, AreAskedForWhenNotificationsWereLost) {
  run("ip link add v1 type veth peer name v2; ip link set v1 up");
  expect_true_after("two links");
  run("for i in $(seq 2000); do echo link set v1 mtu $((1300 + i % 2)); echo link set v2 mtu $((1300 + i % 3)); done | ip -batch -; "
      "ip link set v1 mtu 1280");
  expect_true_after("more than the queue holds");
}

// Whatever is done in whatever order.
TEST_F(KeptListsTest, FollowARandomHistory) {
  run("ip link add br0 type bridge; ip link set br0 up");
  const std::vector<std::string> changes{
      "ip link add v1 type veth peer name v2",
      "ip link del v1",
      "ip link set v1 up",
      "ip link set v2 up",
      "ip link set v1 down",
      "ip link set v2 master br0",
      "ip link set v2 nomaster",
      "ip addr add 192.0.2.1/24 dev v1",
      "ip addr flush dev v1",
      "ip route replace default via 192.0.2.254",
      "ip route del default",
      "bridge fdb replace 02:00:00:00:00:09 dev v2 master static",
      "tc qdisc add dev v1 clsact",
      "tc qdisc del dev v1 clsact",
      "tc filter add dev v1 ingress prio 7 bpf bytecode '1,6 0 0 4294967295,'",
  };
  std::mt19937 random(7);
  for (int step = 0; step < 150; ++step) {
    const std::string& change = changes[random() % changes.size()];
    (void)node_->run(change + " 2>/dev/null");  // many make no sense just then
    ASSERT_NO_FATAL_FAILURE(expect_true_after(change));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace xlb
