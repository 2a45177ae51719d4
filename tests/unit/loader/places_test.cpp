// SPDX-License-Identifier: Apache-2.0
// The rules alone, on facts that no test could bring about in a kernel at will.
#include "loader/places.hpp"

#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <string>

namespace xlb {
namespace {

constexpr std::uint32_t bridge = 3, first_veth = 11, second_veth = 12, tunnel = 13, nic = 2, other_bridge = 4;
constexpr Mac pod_mac{{2, 0, 0, 0, 0, 8}};
constexpr Mac other_mac{{2, 0, 0, 0, 0, 9}};

class PlacesTest : public testing::Test {
 protected:
  PlacesTest() {
    add(nic, "eth0", "");
    add(bridge, "cni0", "bridge");
    add(other_bridge, "br1", "bridge");
    add(first_veth, "veth1", "veth", bridge);
    add(second_veth, "veth2", "veth", bridge);
    add(tunnel, "flannel.1", "vxlan");
    route_.type = RTN_UNICAST;
    route_.ifindex = bridge;
  }

  void add(std::uint32_t ifindex, const std::string& name, const std::string& kind, std::uint32_t master = 0) {
    InterfaceFacts& facts = facts_.interfaces[ifindex];
    facts.ifindex = ifindex;
    facts.name = name;
    facts.kind = kind;
    facts.master = master;
  }
  void neighbour(const std::optional<Mac>& mac) {
    NeighbourRow row;
    row.ifindex = route_.ifindex;
    row.address = pod_;
    row.mac = mac;
    row.state = mac ? NUD_REACHABLE : NUD_FAILED;
    facts_.neighbours[{route_.ifindex, pod_}] = row;
  }
  void station(const Mac& mac, std::uint32_t port, std::uint32_t on = bridge) { facts_.stations[{on, mac}] = port; }

  [[nodiscard]] KnownPlace find(const std::optional<KnownPlace>& before = std::nullopt) const {
    return find_place(pod_, route_, facts_, before);
  }
  [[nodiscard]] static KnownPlace before(std::uint32_t veth, const std::optional<Mac>& mac = pod_mac) {
    return {Place{Place::Kind::pod, veth, "veth" + std::to_string(veth - 10), "found"}, mac};
  }
  static void expect_pod(const KnownPlace& found, std::uint32_t veth) {
    EXPECT_EQ(found.place.kind, Place::Kind::pod) << found.place.reason;
    EXPECT_EQ(found.place.veth_ifindex, veth) << found.place.reason;
    EXPECT_EQ(found.place.veth_name, "veth" + std::to_string(veth - 10));
  }
  static void expect(const KnownPlace& found, Place::Kind kind, const std::string& reason) {
    EXPECT_EQ(found.place.kind, kind) << found.place.reason;
    EXPECT_NE(found.place.reason.find(reason), std::string::npos) << found.place.reason;
    EXPECT_EQ(found.place.veth_ifindex, 0U);
    EXPECT_EQ(found.place.veth_name, "");
  }

  Address pod_ = *parse_address("10.42.0.8");
  PlaceFacts facts_;
  RouteRow route_;
};

TEST_F(PlacesTest, NeighbourAndStationMakeAPod) {
  neighbour(pod_mac);
  station(pod_mac, second_veth);
  station(other_mac, first_veth);
  const KnownPlace found = find();
  expect_pod(found, second_veth);
  EXPECT_EQ(found.mac, pod_mac);
}

TEST_F(PlacesTest, StationOfAnotherBridgeIsNone) {
  neighbour(pod_mac);
  station(pod_mac, first_veth, other_bridge);
  expect(find(), Place::Kind::routed, "not learned");
}

TEST_F(PlacesTest, OwnAddressGoesBeforeItsRoute) {
  facts_.own[pod_] = nic;
  route_.ifindex = tunnel;
  expect(find(), Place::Kind::host, "eth0");
}

TEST_F(PlacesTest, RoutesThatLeadNowhere) {
  for (const std::uint8_t type : {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT}) {
    route_.type = type;
    expect(find(), Place::Kind::absent, "forbids");
  }
  expect(find_place(pod_, Error{"Network is unreachable"}, facts_, std::nullopt), Place::Kind::absent,
         "Network is unreachable");
  route_.type = RTN_UNICAST;
  route_.ifindex = 999;
  expect(find(), Place::Kind::absent, "gone");
}

TEST_F(PlacesTest, KeptWhenBothTablesForgot) {
  expect_pod(find(before(first_veth)), first_veth);
}

TEST_F(PlacesTest, KeptWhenTheBridgeForgot) {
  neighbour(pod_mac);
  expect_pod(find(before(first_veth)), first_veth);
}

TEST_F(PlacesTest, KeptWhenTheNeighbourFailed) {
  neighbour(std::nullopt);
  station(pod_mac, first_veth);
  expect_pod(find(before(first_veth)), first_veth);
}

TEST_F(PlacesTest, KeptMacIsRememberedThroughManyLooks) {
  KnownPlace known = before(first_veth);
  for (int i = 0; i < 3; ++i) known = find(known);
  EXPECT_EQ(known.mac, pod_mac);
  station(pod_mac, second_veth);  // now it is somewhere else
  EXPECT_NE(find(known).place.kind, Place::Kind::pod);
}

TEST_F(PlacesTest, KeptWhenItsMacWasNeverTold) {
  expect_pod(find(before(first_veth, std::nullopt)), first_veth);
  neighbour(pod_mac);
  const KnownPlace learned = find(before(first_veth, std::nullopt));
  expect_pod(learned, first_veth);
  EXPECT_EQ(learned.mac, pod_mac);
}

TEST_F(PlacesTest, KeptPlaceHasTheVethsNameOfToday) {
  facts_.interfaces[first_veth].name = "renamed";
  EXPECT_EQ(find(before(first_veth)).place.veth_name, "renamed");
}

TEST_F(PlacesTest, LostWithItsVeth) {
  facts_.interfaces.erase(first_veth);
  expect(find(before(first_veth)), Place::Kind::routed, "not answered yet");
}

TEST_F(PlacesTest, LostWhenTheVethIsNoPortOfThisBridge) {
  for (const std::uint32_t master : {0U, other_bridge}) {
    facts_.interfaces[first_veth].master = master;
    expect(find(before(first_veth)), Place::Kind::routed, "not answered yet");
  }
}

TEST_F(PlacesTest, LostWhenTheAddressHasAnotherMac) {
  neighbour(other_mac);
  expect(find(before(first_veth)), Place::Kind::routed, other_mac.text());
}

TEST_F(PlacesTest, LostWhenItsMacIsAtAnotherPort) {
  station(pod_mac, second_veth);
  expect(find(before(first_veth)), Place::Kind::routed, "not answered yet");
}

// A veth whose pod was exchanged for another: its number may be the same, who answers there is not.
TEST_F(PlacesTest, LostWhenSomebodyElseIsHeardAtItsPort) {
  station(other_mac, first_veth);
  expect(find(before(first_veth)), Place::Kind::routed, "not answered yet");
}

TEST_F(PlacesTest, KeptWhenItIsOneOfSeveralAtItsPort) {
  station(other_mac, first_veth);
  station(pod_mac, first_veth);
  expect_pod(find(before(first_veth)), first_veth);
}

TEST_F(PlacesTest, KeptWhateverHappensOnOtherBridges) {
  station(pod_mac, second_veth, other_bridge);
  expect_pod(find(before(first_veth)), first_veth);
}

TEST_F(PlacesTest, PlacesThatWereNoPodsAreNotKept) {
  const KnownPlace host{Place{Place::Kind::host, 0, "", "address of eth0"}, std::nullopt};
  expect(find(host), Place::Kind::routed, "not answered yet");
}

TEST_F(PlacesTest, NewRouteOverrulesWhatWasFound) {
  route_.ifindex = tunnel;
  expect(find(before(first_veth)), Place::Kind::absent, "flannel.1");
  route_.ifindex = nic;
  expect(find(before(first_veth)), Place::Kind::absent, "eth0");
  route_.gateway = *parse_address("192.168.0.254");
  expect(find(before(first_veth)), Place::Kind::absent, "192.168.0.254");
}

TEST_F(PlacesTest, PortsThatAreNoVeths) {
  neighbour(pod_mac);
  add(21, "tap0", "tun", bridge);
  station(pod_mac, 21);
  expect(find(), Place::Kind::absent, "tap0");
  facts_.interfaces[tunnel].master = bridge;
  station(pod_mac, tunnel);
  expect(find(), Place::Kind::absent, "flannel.1");
  station(pod_mac, 999);
  expect(find(), Place::Kind::absent, "gone");
}

// Clusters whose bridge is also the way to the LAN: both kinds of neighbours behind one bridge.
TEST_F(PlacesTest, BridgeThatIsTheLanStillHasPods) {
  facts_.lan.insert(bridge);
  expect(find(), Place::Kind::routed, "cni0");
  neighbour(pod_mac);
  station(pod_mac, first_veth);
  expect_pod(find(), first_veth);
  facts_.interfaces[nic].master = bridge;
  station(pod_mac, nic);
  expect(find(), Place::Kind::absent, "eth0");
}

TEST_F(PlacesTest, AttachedVethLeadsToOtherMachines) {
  route_.ifindex = first_veth;
  expect_pod(find(), first_veth);
  facts_.lan.insert(first_veth);
  expect(find(), Place::Kind::absent, "veth1");
}

TEST_F(PlacesTest, KindsThatHaveNoVethTakeTheKernelPath) {
  add(21, "ifb0", "ifb");
  route_.ifindex = 21;
  expect(find(), Place::Kind::routed, "ifb0");
}

}  // namespace
}  // namespace xlb
