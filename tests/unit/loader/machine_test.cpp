// SPDX-License-Identifier: Apache-2.0
// Against a real kernel: the node is a network namespace with a bridge, its pods are others.
#include "loader/machine.hpp"

#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/unit/loader/network_space.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

Address address(const std::string& text) {
  const auto parsed = parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

Prefix prefix(const std::string& text) {
  const auto parsed = parse_prefix(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string shown(const Place& place) {
  constexpr std::array names{"pod", "host", "routed", "absent"};
  return std::string(names[static_cast<std::size_t>(place.kind)]) + " " + place.veth_name + ": " + place.reason;
}

class MachineTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes network namespaces";
    auto entered = NetworkSpace::enter();
    ASSERT_TRUE(entered) << entered.error().text;
    node_.emplace(std::move(*entered));
    run("ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
    netlink_ = another();
  }

  // As another process would see the machine: nothing remembered.
  static std::unique_ptr<Netlink> another() {
    auto opened = Netlink::open();
    EXPECT_TRUE(opened) << opened.error().text;
    return opened ? std::move(*opened) : nullptr;
  }

  void run(const std::string& commands) const {
    const auto done = node_->run(commands);
    ASSERT_TRUE(done) << done.error().text;
  }
  [[nodiscard]] bool works(const std::string& commands) const { return static_cast<bool>(node_->run(commands)); }

  // Forgets stations after `ageing` hundredths of a second.
  void make_bridge(int ageing = 30000) const {
    run("ip link add br0 type bridge ageing_time " + std::to_string(ageing) +
        "; ip addr add 10.42.0.1/24 dev br0; ip addr add fd42::1/64 dev br0 nodad; ip link set br0 up");
  }

  // A namespace whose eth0 is the other end of `veth`.
  NetworkSpace make_pod(const std::string& veth, const std::string& addresses) const {
    auto pod = NetworkSpace::make();
    EXPECT_TRUE(pod) << pod.error().text;
    run("ip link add " + veth + " type veth peer name eth0 netns " + pod->path() + "; ip link set " + veth + " up");
    run_in(*pod, "ip link set lo up; ip link set eth0 up");
    if (!addresses.empty()) add_addresses(*pod, addresses);
    return std::move(*pod);
  }
  NetworkSpace make_port(const std::string& veth, const std::string& addresses) const {
    NetworkSpace pod = make_pod(veth, addresses);
    run("ip link set " + veth + " master br0");
    return pod;
  }
  static void run_in(const NetworkSpace& pod, const std::string& commands) {
    const auto done = pod.run(commands);
    ASSERT_TRUE(done) << done.error().text;
  }
  static void add_addresses(const NetworkSpace& pod, const std::string& addresses) {
    run_in(pod, "for a in " + addresses +
                    "; do case $a in *:*) nodad=nodad;; *) nodad=;; esac; "
                    "ip addr add $a dev eth0 $nodad; done");
  }

  // Places carry over from one look to the next, as in the daemon.
  Place look(const std::string& where) {
    const auto places = netlink_->find_places({address(where)}, previous_);
    EXPECT_TRUE(places) << places.error().text;
    const Place place = places->at(address(where));
    previous_[address(where)] = place;
    return place;
  }
  Place look_afresh(const std::string& where) const {
    const auto places = another()->find_places({address(where)}, {});
    EXPECT_TRUE(places) << places.error().text;
    return places->at(address(where));
  }
  void probe(const std::string& where) const {
    const auto asked = netlink_->probe_neighbour(address(where));
    EXPECT_TRUE(asked) << asked.error().text;
  }
  // Asks for it until it is a pod behind that veth.
  void expect_pod(const std::string& where, const std::string& veth) {
    Place place;
    EXPECT_TRUE(until([&] {
      place = look(where);
      if (place.kind == Place::Kind::pod && place.veth_name == veth) return true;
      probe(where);
      return false;
    })) << where
        << " is " << shown(place) << ", not behind " << veth;
    EXPECT_EQ(place.veth_ifindex, ifindex(veth));
  }

  template <typename Condition>
  static bool until(Condition condition) {
    for (int i = 0; i < 200; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(50ms);
    }
    return false;
  }

  [[nodiscard]] InterfaceFacts facts(const std::string& name) const {
    const auto found = netlink_->interface(name);
    EXPECT_TRUE(found && found->has_value()) << name;
    return found && *found ? **found : InterfaceFacts{};
  }
  [[nodiscard]] std::uint32_t ifindex(const std::string& name) const { return facts(name).ifindex; }

  [[nodiscard]] Link link(const std::string& name) const {
    const auto links = netlink_->links({name});
    EXPECT_TRUE(links) << links.error().text;
    EXPECT_EQ(links->size(), 1U);
    return links->empty() ? Link{} : links->front();
  }

  // Does something that matters arrive soon?
  [[nodiscard]] bool reported() const {
    return until([&] {
      pollfd waiting{netlink_->change_fd(), POLLIN, 0};
      return poll(&waiting, 1, 50) == 1 && netlink_->drain_changes();
    });
  }
  // Commands return when their notifications are queued: what has not come now does not come.
  [[nodiscard]] bool unreported() const { return !netlink_->drain_changes(); }
  // Until nothing has come for longer than the second that the kernel may hold back a change of carrier.
  void settle() const {
    pollfd waiting{netlink_->change_fd(), POLLIN, 0};
    while (poll(&waiting, 1, 1200) == 1) netlink_->drain_changes();
  }

  std::optional<NetworkSpace> node_;
  std::unique_ptr<Netlink> netlink_;
  Places previous_;
};

// ---- interfaces, links, addresses
// -----------------------------------------------------------------------------------

TEST_F(MachineTest, InterfacesTellKindMasterAndState) {
  make_bridge();
  const NetworkSpace pod = make_port("veth1", "");
  run("ip link set veth1 mtu 1400 address 02:00:00:00:00:07; ip link add spare type veth peer name spare2");
  const auto all = netlink_->interfaces();
  ASSERT_TRUE(all);
  EXPECT_EQ(all->size(), 5U);
  const InterfaceFacts veth = facts("veth1");
  EXPECT_EQ(veth.kind, "veth");
  EXPECT_EQ(veth.master, ifindex("br0"));
  EXPECT_EQ(veth.master_name, "br0");
  EXPECT_EQ(veth.master_kind, "bridge");
  EXPECT_EQ(veth.mtu, 1400U);
  EXPECT_EQ(veth.mac.text(), "02:00:00:00:00:07");
  EXPECT_TRUE(veth.up && veth.carrier);
  EXPECT_FALSE(veth.loopback);
  const InterfaceFacts bridge = facts("br0");
  EXPECT_EQ(bridge.kind, "bridge");
  EXPECT_EQ(bridge.master, 0U);
  EXPECT_EQ(bridge.master_name, "");
  EXPECT_FALSE(facts("spare").up);
  EXPECT_FALSE(facts("spare").carrier);
  EXPECT_TRUE(facts("lo").loopback);
  const auto missing = netlink_->interface("nowhere");
  ASSERT_TRUE(missing);
  EXPECT_FALSE(missing->has_value());
}

TEST_F(MachineTest, LinkHasSubnetsAddressesAndGateways) {
  const NetworkSpace router = make_pod("lan", "");
  run("ip addr add 192.168.0.11/24 dev lan; ip addr add 192.168.0.12/24 dev lan; ip addr add 172.20.1.1/16 dev lan;"
      "ip addr add fd00::11/64 dev lan nodad; ip route add default via 192.168.0.254 dev lan;"
      "ip route add default via fd00::254 dev lan");
  const Link lan = link("lan");
  EXPECT_EQ(lan.name, "lan");
  EXPECT_EQ(lan.l3_name, "lan");
  EXPECT_EQ(lan.attach_ifindex, ifindex("lan"));
  EXPECT_EQ(lan.l3_ifindex, lan.attach_ifindex);
  EXPECT_EQ(lan.vlan, 0);
  EXPECT_EQ(lan.mac, facts("lan").mac);
  EXPECT_TRUE(lan.up);
  EXPECT_EQ(lan.subnets, (std::vector{prefix("172.20.0.0/16"), prefix("192.168.0.0/24"), prefix("fd00::/64")}));
  for (const char* own : {"192.168.0.11", "192.168.0.12", "172.20.1.1", "fd00::11"}) {
    EXPECT_EQ(std::count(lan.addresses.begin(), lan.addresses.end(), address(own)), 1) << own;
  }
  EXPECT_EQ(lan.gateway4, address("192.168.0.254"));
  EXPECT_EQ(lan.gateway6, address("fd00::254"));
}

TEST_F(MachineTest, LinkWithoutCarrierIsDown) {
  const NetworkSpace router = make_pod("lan", "");
  EXPECT_TRUE(link("lan").up);
  run_in(router, "ip link set eth0 down");
  EXPECT_TRUE(until([&] { return !link("lan").up; }));
}

TEST_F(MachineTest, GatewayIsThatOfTheLowestMetricOnThisLink) {
  const NetworkSpace router = make_pod("lan", "");
  const NetworkSpace other = make_pod("wan", "");
  run("ip addr add 192.168.0.11/24 dev lan; ip addr add fd00::11/64 dev lan nodad; ip addr add 10.9.9.1/24 dev wan;"
      "ip route add default via 192.168.0.1 dev lan metric 300; ip route add default via 192.168.0.2 dev lan metric "
      "100;"
      "ip route add default via 192.168.0.3 dev lan metric 200; ip route add default via 10.9.9.254 dev wan metric 5;"
      "ip route add default via fd00::1 dev lan metric 300; ip route add default via fd00::2 dev lan metric 100;"
      "ip route add default via fd00::3 dev lan metric 200");
  const Link lan = link("lan");
  EXPECT_EQ(lan.gateway4, address("192.168.0.2"));
  EXPECT_EQ(lan.gateway6, address("fd00::2"));
  EXPECT_EQ(link("wan").gateway4, address("10.9.9.254"));
  EXPECT_EQ(link("wan").gateway6, std::nullopt);
}

TEST_F(MachineTest, EveryWayOfARouteIsAGateway) {
  const NetworkSpace router = make_pod("lan", "");
  const NetworkSpace other = make_pod("wan", "");
  run("ip addr add 192.168.0.11/24 dev lan; ip addr add 10.9.9.1/24 dev wan;"
      "ip addr add fd00::11/64 dev lan nodad; ip addr add fd09::1/64 dev wan nodad;"
      "ip route add default nexthop via 192.168.0.1 dev lan nexthop via 10.9.9.254 dev wan;"
      "ip -6 route add default nexthop via fd00::1 dev lan nexthop via fd09::fe dev wan");
  EXPECT_EQ(link("lan").gateway4, address("192.168.0.1"));
  EXPECT_EQ(link("wan").gateway4, address("10.9.9.254"));
  EXPECT_EQ(link("lan").gateway6, address("fd00::1"));
  EXPECT_EQ(link("wan").gateway6, address("fd09::fe"));
  // Routes to elsewhere with several ways are none of it.
  run("ip route del default; ip route add 10.77.0.0/16 nexthop via 192.168.0.1 dev lan nexthop via 10.9.9.254 dev "
      "wan");
  EXPECT_EQ(link("lan").gateway4, std::nullopt);
  const Place place = look("10.77.0.8");
  EXPECT_EQ(place.kind, Place::Kind::absent) << shown(place);
}

TEST_F(MachineTest, GatewayOfTheOtherFamily) {
  const NetworkSpace router = make_pod("lan", "");
  run("ip addr add 192.168.0.11/24 dev lan; ip addr add fd00::11/64 dev lan nodad;"
      "ip -4 route add default via inet6 fd00::1 dev lan");
  EXPECT_EQ(link("lan").gateway4, std::nullopt);
  EXPECT_EQ(link("lan").gateway6, address("fd00::1"));
  const Place place = look("10.77.0.8");
  EXPECT_EQ(place.kind, Place::Kind::absent) << shown(place);
  EXPECT_TRUE(has(place.reason, "fd00::1")) << place.reason;
}

TEST_F(MachineTest, BridgeMayBeTheLink) {
  make_bridge();
  const NetworkSpace router = make_port("eth0", "");
  const Link lan = link("br0");
  EXPECT_EQ(lan.attach_ifindex, ifindex("br0"));
  EXPECT_EQ(lan.subnets, (std::vector{prefix("10.42.0.0/24"), prefix("fd42::/64")}));
}

TEST_F(MachineTest, VlanDeviceIsALinkOfItsOwn) {
  const NetworkSpace router = make_pod("lan", "");
  if (!works("ip link add link lan name lan.7 type vlan id 7")) {
    GTEST_SKIP() << "this kernel has no VLAN devices (module 8021q)";
  }
  run("ip link set lan.7 up; ip addr add 192.168.7.11/24 dev lan.7");
  const auto links = netlink_->links({"lan"});
  ASSERT_TRUE(links);
  ASSERT_EQ(links->size(), 2U);
  EXPECT_EQ((*links)[0].vlan, 0);
  const Link& vlan = (*links)[1];
  EXPECT_EQ(vlan.vlan, 7);
  EXPECT_EQ(vlan.name, "lan");
  EXPECT_EQ(vlan.l3_name, "lan.7");
  EXPECT_EQ(vlan.attach_ifindex, ifindex("lan"));
  EXPECT_EQ(vlan.l3_ifindex, ifindex("lan.7"));
  EXPECT_EQ(vlan.subnets, std::vector{prefix("192.168.7.0/24")});
  EXPECT_EQ(facts("lan.7").link, ifindex("lan"));
  EXPECT_EQ(facts("lan.7").vlan, 7);
  // Attached itself, it is a link like any other.
  EXPECT_EQ(link("lan.7").vlan, 0);
}

TEST_F(MachineTest, OwnAddressesWithoutThoseOfKubeProxy) {
  run("ip link add lan type veth peer name lan2; ip addr add 192.168.0.11/24 dev lan; ip addr add fd00::11/64 dev "
      "lan nodad;"
      "ip link add kube-ipvs0 type veth peer name spare; ip addr add 192.168.0.200/32 dev kube-ipvs0");
  const auto own = netlink_->own_addresses();
  ASSERT_TRUE(own) << own.error().text;
  EXPECT_TRUE(own->contains(address("192.168.0.11")));
  EXPECT_TRUE(own->contains(address("fd00::11")));
  EXPECT_TRUE(own->contains(address("127.0.0.1")));
  EXPECT_FALSE(own->contains(address("192.168.0.200")));
}

// ---- places
// ---------------------------------------------------------------------------------------------------------

TEST_F(MachineTest, OwnAddressIsAHostSocket) {
  make_bridge();
  for (const char* own : {"10.42.0.1", "fd42::1", "127.0.0.1", "127.3.2.1"}) {
    EXPECT_EQ(look(own).kind, Place::Kind::host) << own << " is " << shown(look(own));
  }
}

TEST_F(MachineTest, RoutedPodIsBehindItsVeth) {
  const NetworkSpace pod = make_pod("cali1", "10.42.0.8/32 fd42::8/128");
  const NetworkSpace other = make_pod("cali2", "");
  run("ip route add 10.42.0.8/32 dev cali1; ip route add fd42::8/128 dev cali1; ip route add 10.42.0.9/32 dev cali2");
  for (const auto& [where, veth] : {std::pair{"10.42.0.8", "cali1"}, {"fd42::8", "cali1"}, {"10.42.0.9", "cali2"}}) {
    const Place place = look(where);
    EXPECT_EQ(place.kind, Place::Kind::pod) << shown(place);
    EXPECT_EQ(place.veth_name, veth);
    EXPECT_EQ(place.veth_ifindex, ifindex(veth));
  }
  run("ip link del cali1");
  EXPECT_NE(look("10.42.0.8").kind, Place::Kind::pod);
  EXPECT_NE(look("fd42::8").kind, Place::Kind::pod);
  EXPECT_EQ(look("10.42.0.9").kind, Place::Kind::pod);
}

TEST_F(MachineTest, PodBehindABridgeIsFoundWhenItHasAnswered) {
  make_bridge();
  const NetworkSpace first = make_port("veth1", "10.42.0.8/24 fd42::8/64");
  const NetworkSpace second = make_port("veth2", "10.42.0.9/24");
  const Place before = look("10.42.0.8");
  EXPECT_EQ(before.kind, Place::Kind::routed);
  EXPECT_TRUE(has(before.reason, "br0")) << before.reason;
  EXPECT_TRUE(has(before.reason, "not answered yet")) << before.reason;
  expect_pod("10.42.0.8", "veth1");
  expect_pod("fd42::8", "veth1");
  expect_pod("10.42.0.9", "veth2");
}

TEST_F(MachineTest, NobodyAtTheAddressIsNotAPod) {
  make_bridge();
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24");
  probe("10.42.0.77");
  std::this_thread::sleep_for(300ms);
  const Place place = look("10.42.0.77");
  EXPECT_EQ(place.kind, Place::Kind::routed) << shown(place);
}

// Our own redirects pass around the bridge: its tables age away under full traffic.
TEST_F(MachineTest, AgeingIsNotDisappearance) {
  make_bridge(100);
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24 fd42::8/64");
  expect_pod("10.42.0.8", "veth1");
  expect_pod("fd42::8", "veth1");
  // The station has gone from the forwarding database when somebody who remembers nothing cannot find it.
  ASSERT_TRUE(until([&] { return look_afresh("10.42.0.8").kind != Place::Kind::pod; }));
  EXPECT_EQ(look("10.42.0.8").kind, Place::Kind::pod) << shown(look("10.42.0.8"));
  EXPECT_EQ(look("fd42::8").kind, Place::Kind::pod) << shown(look("fd42::8"));
  run("ip neigh flush dev br0");
  EXPECT_EQ(look("10.42.0.8").kind, Place::Kind::pod) << shown(look("10.42.0.8"));
  // Another process that was told what had been found.
  const auto places = another()->find_places({address("10.42.0.8")}, previous_);
  ASSERT_TRUE(places);
  EXPECT_EQ(places->at(address("10.42.0.8")).kind, Place::Kind::pod);
  EXPECT_EQ(places->at(address("10.42.0.8")).veth_ifindex, ifindex("veth1"));
}

TEST_F(MachineTest, ProbeFindsAgainWhatTheBridgeForgot) {
  make_bridge(100);
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  Place forgotten;
  ASSERT_TRUE(until([&] {
    forgotten = look_afresh("10.42.0.8");
    return forgotten.kind != Place::Kind::pod;
  }));
  EXPECT_TRUE(has(forgotten.reason, "not learned")) << forgotten.reason;
  // The neighbour is still known and reachable; the question has to go out nevertheless.
  EXPECT_TRUE(until([&] {
    probe("10.42.0.8");
    std::this_thread::sleep_for(20ms);
    return look_afresh("10.42.0.8").kind == Place::Kind::pod;
  }));
}

TEST_F(MachineTest, DeletedVethIsDisappearance) {
  make_bridge();
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  run("ip link del veth1");
  EXPECT_NE(look("10.42.0.8").kind, Place::Kind::pod) << shown(look("10.42.0.8"));
}

TEST_F(MachineTest, NamespaceThatEndsIsDisappearance) {
  make_bridge();
  std::optional<NetworkSpace> pod = make_port("veth1", "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  pod.reset();
  EXPECT_TRUE(until([&] { return look("10.42.0.8").kind != Place::Kind::pod; }));
}

TEST_F(MachineTest, PortThatLeavesTheBridgeIsDisappearance) {
  make_bridge();
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  run("ip link set veth1 nomaster");
  EXPECT_NE(look("10.42.0.8").kind, Place::Kind::pod) << shown(look("10.42.0.8"));
}

TEST_F(MachineTest, PortOfAnotherBridgeIsDisappearance) {
  make_bridge();
  run("ip link add br1 type bridge; ip link set br1 up");
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  run("ip link set veth1 nomaster; ip link set veth1 master br1");
  EXPECT_NE(look("10.42.0.8").kind, Place::Kind::pod) << shown(look("10.42.0.8"));
}

TEST_F(MachineTest, MacThatMovesTakesThePlaceAlong) {
  make_bridge();
  const std::string mac = "ip link set eth0 address 02:00:00:00:00:08";
  const NetworkSpace first = make_port("veth1", "");
  run_in(first, mac);
  add_addresses(first, "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  const NetworkSpace second = make_port("veth2", "");
  run_in(first, "ip addr flush dev eth0; ip link set eth0 down");
  run_in(second, mac);
  add_addresses(second, "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth2");
}

TEST_F(MachineTest, AddressThatIsGivenToAnotherPodMoves) {
  make_bridge();
  const NetworkSpace first = make_port("veth1", "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  const NetworkSpace second = make_port("veth2", "");
  run_in(first, "ip addr flush dev eth0");
  add_addresses(second, "10.42.0.8/24");
  run("ip neigh flush dev br0");
  expect_pod("10.42.0.8", "veth2");
}

// The node has learned the address's new MAC, the bridge not yet where that is: the old place is wrong either way.
TEST_F(MachineTest, AnotherMacEndsThePlaceBeforeTheNewOneIsLearned) {
  make_bridge();
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24");
  expect_pod("10.42.0.8", "veth1");
  run("ip neigh replace 10.42.0.8 lladdr 02:00:00:00:00:99 dev br0 nud reachable");
  EXPECT_EQ(look("10.42.0.8").kind, Place::Kind::routed) << shown(look("10.42.0.8"));
}

TEST_F(MachineTest, OwnMacOfTheBridgeIsNoPod) {
  make_bridge();
  const NetworkSpace pod = make_port("veth1", "10.42.0.8/24");
  // An address that resolves to the bridge's own MAC: an alias, or proxy ARP.
  run("ip neigh replace 10.42.0.66 lladdr " + facts("br0").mac.text() + " dev br0 nud permanent");
  EXPECT_NE(look("10.42.0.66").kind, Place::Kind::pod) << shown(look("10.42.0.66"));
}

TEST_F(MachineTest, PortThatIsNoVethIsAnotherMachine) {
  make_bridge();
  if (!works("ip tuntap add tap0 mode tap")) GTEST_SKIP() << "this kernel has no tap devices (module tun)";
  run("ip link set tap0 master br0; ip link set tap0 up; bridge fdb add 02:00:00:00:00:55 dev tap0 master static;"
      "ip neigh add 10.42.0.55 lladdr 02:00:00:00:00:55 dev br0 nud permanent");
  const Place place = look("10.42.0.55");
  EXPECT_EQ(place.kind, Place::Kind::absent) << shown(place);
  EXPECT_TRUE(has(place.reason, "tap0")) << place.reason;
}

TEST_F(MachineTest, BehindATunnelIsAnotherNode) {
  const NetworkSpace router = make_pod("lan", "");
  run("ip addr add 192.168.0.11/24 dev lan");
  if (!works("ip link add flannel.1 type vxlan id 1 dstport 8472 local 192.168.0.11 dev lan nolearning")) {
    GTEST_SKIP() << "this kernel has no VXLAN (module vxlan)";
  }
  run("ip addr add 10.42.0.0/32 dev flannel.1; ip link set flannel.1 up;"
      "ip route add 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink");
  const Place place = look("10.42.1.8");
  EXPECT_EQ(place.kind, Place::Kind::absent) << shown(place);
  EXPECT_TRUE(has(place.reason, "flannel.1")) << place.reason;
}

TEST_F(MachineTest, BehindAGatewayIsAnotherMachine) {
  const NetworkSpace router = make_pod("lan", "192.168.0.254/24");
  run("ip addr add 192.168.0.11/24 dev lan; ip route add default via 192.168.0.254 dev lan");
  const Place place = look("10.42.1.8");
  EXPECT_EQ(place.kind, Place::Kind::absent) << shown(place);
  EXPECT_TRUE(has(place.reason, "192.168.0.254")) << place.reason;
}

TEST_F(MachineTest, BehindAnAttachedLinkIsAnotherMachine) {
  const NetworkSpace router = make_pod("lan", "192.168.0.254/24");
  run("ip addr add 192.168.0.11/24 dev lan");
  ASSERT_TRUE(netlink_->links({"lan"}));
  const Place place = look("192.168.0.254");
  EXPECT_EQ(place.kind, Place::Kind::absent) << shown(place);
  EXPECT_TRUE(has(place.reason, "lan")) << place.reason;
}

TEST_F(MachineTest, WithoutARouteItIsAbsent) {
  run("ip route add unreachable 10.43.0.0/16");
  for (const char* nowhere : {"10.44.0.8", "fd44::8", "10.43.0.8"}) {
    const Place place = look(nowhere);
    EXPECT_EQ(place.kind, Place::Kind::absent) << nowhere << " is " << shown(place);
    EXPECT_TRUE(has(place.reason, "route")) << place.reason;
  }
}

// Dumps of many messages, and every address on its own.
TEST_F(MachineTest, ThousandBackendsAtOnce) {
  make_bridge();
  run("ip addr add 10.50.0.1/16 dev br0");
  const NetworkSpace first = make_port("veth1", "");
  const NetworkSpace second = make_port("veth2", "");
  run("{ for i in $(seq 1000); do echo neigh add 10.50.$((1 + i / 250)).$((1 + i % 250)) lladdr "
      "02:00:00:01:$(printf %02x:%02x $((i / 250)) $((i % 250))) dev br0 nud permanent; done; } | ip -batch -;"
      "{ for i in $(seq 1000); do echo fdb add 02:00:00:01:$(printf %02x:%02x $((i / 250)) $((i % 250))) "
      "dev veth$((1 + i % 2)) master static; done; } | bridge -batch -");
  std::vector<Address> wanted;
  for (int i = 1; i <= 1000; ++i) {
    wanted.push_back(address("10.50." + std::to_string(1 + i / 250) + "." + std::to_string(1 + i % 250)));
  }
  const auto places = netlink_->find_places(wanted, {});
  ASSERT_TRUE(places) << places.error().text;
  ASSERT_EQ(places->size(), 1000U);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Place& place = places->at(wanted[i]);
    EXPECT_EQ(place.kind, Place::Kind::pod) << shown(place);
    EXPECT_EQ(place.veth_name, i % 2 == 0 ? "veth2" : "veth1") << wanted[i].text();
  }
}

TEST_F(MachineTest, ProbeWithoutARouteSaysSo) {
  const auto asked = netlink_->probe_neighbour(address("10.44.0.8"));
  ASSERT_FALSE(asked);
  EXPECT_TRUE(has(asked.error().text, "10.44.0.8")) << asked.error().text;
}

TEST_F(MachineTest, TheNeighbourTableIsReadAndNobodyIsAsked) {
  run("ip link add lan type veth peer name far; ip link set lan up; ip addr add 192.168.7.11/24 dev lan; "
      "ip neigh add 192.168.7.1 lladdr 02:00:00:00:00:07 dev lan; ip neigh add 192.168.7.2 dev lan nud failed");
  const std::uint32_t lan = if_nametoindex("lan");
  const auto known = netlink_->neighbour(lan, address("192.168.7.1"));
  ASSERT_TRUE(known) << known.error().text;
  ASSERT_TRUE(known->has_value());
  EXPECT_EQ((*known)->text(), "02:00:00:00:00:07");
  for (const char* unknown : {"192.168.7.2", "192.168.7.3"}) {
    const auto nobody = netlink_->neighbour(lan, address(unknown));
    ASSERT_TRUE(nobody) << nobody.error().text;
    EXPECT_FALSE(nobody->has_value()) << unknown;
  }
}

// ---- changes
// --------------------------------------------------------------------------------------------------------

TEST_F(MachineTest, QuietMachineReportsNothing) {
  settle();
  EXPECT_TRUE(unreported());
}

TEST_F(MachineTest, LinksAddressesAndRoutesReport) {
  run("ip link add lan type veth peer name lan2; ip link set lan up; ip link set lan2 up");
  settle();
  for (const char* step :
       {"ip addr add 192.168.0.11/24 dev lan", "ip route add 10.43.0.0/16 via 192.168.0.254",
        "ip link set lan mtu 1400", "ip route del 10.43.0.0/16", "ip addr del 192.168.0.11/24 dev lan",
        "ip addr add fd00::11/64 dev lan nodad", "ip route add fd43::/64 via fd00::1",
        "ip link set lan address 02:00:00:00:00:77", "ip link set lan2 down", "ip link add br0 type bridge",
        "ip link set lan master br0", "ip link set lan nomaster", "ip link del lan"}) {
    run(step);
    EXPECT_TRUE(reported()) << step;
    netlink_->drain_changes();
  }
}

TEST_F(MachineTest, NeighboursReportNewMacsAndNotTheirHealth) {
  make_bridge();
  const NetworkSpace pod = make_port("veth1", "");
  settle();
  const std::string neighbour = "ip neigh replace 10.42.0.8 dev br0 lladdr 02:00:00:00:00:";
  run(neighbour + "08 nud reachable");
  EXPECT_TRUE(reported());
  settle();
  for (const char* state : {"stale", "reachable", "delay", "stale"}) {
    run(neighbour + "08 nud " + state);
    EXPECT_TRUE(unreported()) << state;
  }
  run(neighbour + "09 nud reachable");
  EXPECT_TRUE(reported());
}

TEST_F(MachineTest, ForwardingDatabaseReportsPlacesAndNotTheirAge) {
  make_bridge();
  const NetworkSpace first = make_port("veth1", "");
  const NetworkSpace second = make_port("veth2", "");
  settle();
  const auto station = [&](const std::string& veth) {
    run("bridge fdb replace 02:00:00:00:00:08 dev " + veth + " master dynamic");
  };
  station("veth1");
  EXPECT_TRUE(reported());
  settle();
  station("veth1");
  EXPECT_TRUE(unreported());
  station("veth2");
  EXPECT_TRUE(reported());
}

// Lost notifications may have been anything.
TEST_F(MachineTest, OverflowCountsAsAChange) {
  make_bridge();
  run("ip neigh replace 10.42.0.8 dev br0 lladdr 02:00:00:00:00:08 nud reachable");
  settle();
  const auto flap = [&](int times) {
    run("{ for i in $(seq " + std::to_string(times) +
        "); do for s in stale reachable; do "
        "echo neigh replace 10.42.0.8 dev br0 lladdr 02:00:00:00:00:08 nud $s; done; done; } | ip -batch -");
  };
  flap(20);
  EXPECT_TRUE(unreported());
  flap(5000);
  EXPECT_TRUE(reported());
  EXPECT_TRUE(unreported());
}

}  // namespace
}  // namespace xlb
