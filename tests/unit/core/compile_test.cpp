// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>

#include "tests/unit/core/tables.hpp"
#include "userspace/core/plan.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {
namespace {

using test::address;
using test::prefix;

DesiredBackend backend(const std::string& text, Place place = test::pod(11)) {
  DesiredBackend backend;
  backend.address = address(text);
  backend.port = 8000;
  backend.place = place;
  return backend;
}

class Compile : public ::testing::Test {
 protected:
  Compile() {
    Link link;
    link.name = link.l3_name = "eth0";
    link.attach_ifindex = link.l3_ifindex = 2;
    link.mac = Mac{{2, 0, 0, 0, 0, 1}};
    desired_.links = {link};
    add_vip("192.168.0.200");
    add_port(0, 80, {backend("10.42.0.8"), backend("10.42.0.9", test::pod(12))});
  }
  void add_vip(const std::string& text) {
    DesiredVip vip;
    vip.address = address(text);
    vip.owned = true;
    vip.links = {"eth0"};
    DesiredService service;
    service.name.name = "s" + text;
    service.vip = vip.address;
    desired_.vips.push_back(vip);
    desired_.services.push_back(service);
  }
  void add_port(std::size_t service, std::uint16_t number, std::vector<DesiredBackend> backends) {
    DesiredPort port;
    port.port = number;
    port.backends = std::move(backends);
    desired_.services.own(service).ports.push_back(port);
  }
  std::vector<DesiredBackend>& backends(std::size_t service = 0, std::size_t port = 0) {
    return desired_.services.own(service).ports[port].backends;
  }
  Tables compiled() {
    auto tables = compile(desired_, installed_, capacity_, 7);
    EXPECT_TRUE(tables) << tables.error().text;
    if (!tables) return {};
    EXPECT_EQ(test::contradiction(*tables), "");
    return *tables;
  }
  std::string refusal() {
    const auto tables = compile(desired_, installed_, capacity_, 7);
    return tables ? "" : tables.error().text;
  }
  static std::uint32_t id_of(const Tables& tables, const std::string& text) {
    for (const auto& [id, row] : tables.backends) {
      if (live(row) && Address::from_abi(row.address) == address(text)) return id;
    }
    return 0;
  }

  Desired desired_;
  Tables installed_;
  Capacity capacity_;
};

TEST_F(Compile, TheTutorial) {
  const Tables tables = compiled();
  const lb_link& link = tables.links.at({2, 0});
  EXPECT_EQ(link.role, XLB_LINK_LAN);
  EXPECT_EQ(link.link_bit, 1u);
  EXPECT_EQ(link.mac[0], 2);
  const lb_vip& vip = tables.vips.at(address("192.168.0.200"));
  EXPECT_EQ(vip.owned_epoch, 7u);
  EXPECT_EQ(vip.vip_id, 1u);
  EXPECT_EQ(vip.link_mask, 1u);
  EXPECT_EQ(vip.healthy, 2u);
  EXPECT_EQ(vip.flags, XLB_VIP_PING);
  const lb_service& service = tables.services.at({1, 80, Protocol::tcp});
  EXPECT_NE(service.service_id, 0u);
  EXPECT_LT(service.service_id, capacity_.services);
  EXPECT_EQ(service.slot_base, 0u);
  EXPECT_EQ(service.slot_count, 512u);
  EXPECT_EQ(service.flags, XLB_SERVICE_TWIN);
  ASSERT_EQ(tables.backends.size(), 2u);
  const lb_backend& first = tables.backends.at(1);
  EXPECT_EQ(first.generation, 1u);
  EXPECT_EQ(first.flags, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL);
  EXPECT_EQ(first.veth_ifindex, 11u);
  std::uint8_t port[2];
  std::memcpy(port, &first.port, 2);
  EXPECT_EQ(port[0] << 8 | port[1], 8000);
  EXPECT_EQ(tables.returns, (std::set<std::uint32_t>{11, 12}));
  EXPECT_EQ(tables.links.at({11, 0}).role, XLB_LINK_RETURN);
}

TEST_F(Compile, NothingGivesNothing) {
  desired_ = {};
  EXPECT_EQ(compiled(), Tables{});
}

TEST_F(Compile, IsStable) {
  installed_ = compiled();
  EXPECT_EQ(compiled(), installed_);
  EXPECT_TRUE(plan(installed_, compiled()).empty());
}

TEST_F(Compile, PlacesAndPathsBecomeFlags) {
  Place routed;
  routed.kind = Place::Kind::routed;
  DesiredBackend kernel = backend("10.42.0.3", test::pod(13));
  kernel.kernel_path = true;
  backends() = {backend("10.42.0.1", test::host()), backend("10.42.0.2", routed), kernel};
  const Tables tables = compiled();
  EXPECT_EQ(tables.backends.at(1).flags, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_HOST);
  EXPECT_EQ(tables.backends.at(2).flags, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_KERNEL);
  EXPECT_EQ(tables.backends.at(3).flags, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_KERNEL);
  EXPECT_EQ(tables.backends.at(3).veth_ifindex, 0u);
  EXPECT_TRUE(tables.returns.empty());
}

TEST_F(Compile, DrainingKeepsItsRowButNoSlot) {
  backends()[0].draining = true;
  const Tables tables = compiled();
  EXPECT_EQ(tables.backends.at(1).flags, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_DRAINING);
  EXPECT_EQ(tables.vips.begin()->second.healthy, 1u);
  EXPECT_EQ(tables.slots.at(0).size(), 1u);
  EXPECT_EQ(tables.slots.at(0)[0].first, 2u);
  backends()[1].draining = true;
  const Tables none = compiled();
  EXPECT_EQ(none.services.begin()->second.slot_count, 0u);
  EXPECT_TRUE(none.slots.empty());
  EXPECT_EQ(none.backends.size(), 2u);
}

// Of a backend that nobody lists any more: connections to it go on.
TEST_F(Compile, APodThatRunsKeepsItsRowWhenItIsNotListedAnyMore) {
  installed_ = compiled();
  const std::uint32_t id = id_of(installed_, "10.42.0.9");
  lb_backend row = installed_.backends.at(id);
  EXPECT_EQ(row.vip_id, installed_.vips.at(address("192.168.0.200")).vip_id);
  backends() = {backend("10.42.0.8")};
  desired_.pods = {{address("10.42.0.8"), 11}, {address("10.42.0.9"), 12}};
  for (int pass = 0; pass < 2; ++pass) {
    const Tables tables = compiled();
    row.flags |= XLB_BACKEND_DRAINING;
    EXPECT_TRUE(same_row(tables.backends.at(id), row));
    EXPECT_TRUE(tables.returns.contains(12)) << "its replies are translated";
    for (const auto& [base, slots] : tables.slots)
      for (const lb_slot& slot : slots.rows()) EXPECT_TRUE(slot.first != id && slot.second != id);
    EXPECT_EQ(tables.vips.at(address("192.168.0.200")).healthy, 1U);
    installed_ = tables;
  }
  backends() = {backend("10.42.0.8"), backend("10.42.0.9", test::pod(12))};
  const Tables again = compiled();
  row.flags &= ~XLB_BACKEND_DRAINING;
  EXPECT_TRUE(same_row(again.backends.at(id), row)) << "listed again";
}

TEST_F(Compile, ARowThatNobodyListsGoesWithItsPodAndWithItsVip) {
  installed_ = compiled();
  const std::uint32_t id = id_of(installed_, "10.42.0.9");
  backends() = {backend("10.42.0.8")};
  EXPECT_FALSE(live(compiled().backends.at(id))) << "it was not found";
  desired_.pods = {{address("10.42.0.9"), 13}};
  EXPECT_FALSE(live(compiled().backends.at(id))) << "another one has its address";
  EXPECT_TRUE(compiled().returns.empty() || !compiled().returns.contains(12));
  desired_.pods = {{address("10.42.0.9"), 12}};
  EXPECT_TRUE(live(compiled().backends.at(id)));
  desired_.vips.clear();
  desired_.services = {};
  EXPECT_FALSE(live(compiled().backends.at(id))) << "no packet for it comes";
}

TEST_F(Compile, OfUdpNothingGoesOn) {
  backends()[1].protocol = Protocol::udp;
  desired_.services.own(0).ports[0].protocol = Protocol::udp;
  backends()[0].protocol = Protocol::udp;
  installed_ = compiled();
  const std::uint32_t id = id_of(installed_, "10.42.0.9");
  backends().pop_back();
  desired_.pods = {{address("10.42.0.9"), 12}};
  EXPECT_FALSE(live(compiled().backends.at(id)));
}

TEST_F(Compile, OneEndpointOfTwoServicesIsOneBackend) {
  add_vip("192.168.0.201");
  add_port(1, 80, {backend("10.42.0.8")});
  backends(1)[0].kernel_path = true;  // one asks for the kernel path: it works for both
  backends(1)[0].draining = true;
  const Tables tables = compiled();
  EXPECT_EQ(tables.backends.size(), 2u);
  EXPECT_EQ(tables.backends.at(1).flags, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_KERNEL);
  EXPECT_EQ(tables.backends.at(1).veth_ifindex, 0u);
  EXPECT_EQ(tables.returns, (std::set<std::uint32_t>{12}));
}

TEST_F(Compile, AHealthyBackendCountsOnceForAVip) {
  add_port(0, 81, {backend("10.42.0.8"), backend("10.42.0.10", test::pod(13))});
  EXPECT_EQ(compiled().vips.begin()->second.healthy, 3u);
  add_vip("192.168.0.201");
  add_port(1, 80, {backend("10.42.0.8")});
  EXPECT_EQ(compiled().vips.at(address("192.168.0.200")).healthy, 3u);
  EXPECT_EQ(compiled().vips.at(address("192.168.0.201")).healthy, 1u);
}

TEST_F(Compile, ServiceFlags) {
  DesiredService& service = desired_.services.own(0);
  service.affinity_s = 10800;
  service.policy = TrafficPolicy::local;
  service.source_ranges = {prefix("10.0.0.0/8"), prefix("0.0.0.0/0"), prefix("fd00::/8")};
  const Tables tables = compiled();
  const lb_service& row = tables.services.begin()->second;
  EXPECT_EQ(row.flags, XLB_SERVICE_AFFINITY | XLB_SERVICE_SOURCES | XLB_SERVICE_LOCAL);
  EXPECT_EQ(row.affinity_s, 10800u);
  EXPECT_EQ(tables.sources,
            (std::set<SourceKey>{{row.service_id, prefix("0.0.0.0/0")}, {row.service_id, prefix("10.0.0.0/8")}}));
}

TEST_F(Compile, VipFlags) {
  desired_.vips[0].owned = false;
  desired_.vips[0].unknown_ports = UnknownPorts::drop;
  EXPECT_EQ(compiled().vips.begin()->second.flags, XLB_VIP_PING | XLB_VIP_DROP);
  EXPECT_EQ(compiled().vips.begin()->second.owned_epoch, 0u);
  desired_.vips[0].unknown_ports = UnknownPorts::fall_back;
  EXPECT_EQ(compiled().vips.begin()->second.flags, XLB_VIP_PING | XLB_VIP_FALL_BACK);
  desired_.vips[0].taken_over = desired_.vips[0].continues = true;
  EXPECT_EQ(compiled().vips.begin()->second.flags, XLB_VIP_PING | XLB_VIP_FALL_BACK | XLB_VIP_TAKEN_OVER | XLB_VIP_CONTINUES);
  desired_.services.clear();  // refused: an address that is not ours to take
  EXPECT_TRUE(compiled().vips.empty());
}

TEST_F(Compile, GroupsOfOwnedIpv6Vips) {
  add_vip("fd00::1:200");
  add_port(1, 80, {});
  const std::set<Group> expected{{2, address("ff02::1:ff01:200")}};
  EXPECT_EQ(compiled().groups, expected);
  desired_.vips[1].owned = false;
  EXPECT_TRUE(compiled().groups.empty());
}

TEST_F(Compile, VlansHaveBitsOfTheirOwn) {
  Link vlan = desired_.links[0];
  vlan.vlan = 10;
  vlan.l3_ifindex = 5;
  vlan.l3_name = "eth0.10";
  desired_.links.push_back(vlan);
  desired_.vips[0].links = {"eth0.10"};
  const Tables tables = compiled();
  EXPECT_EQ(tables.links.at({2, 10}).link_bit, 2u);
  EXPECT_EQ(tables.links.at({2, 10}).l3_ifindex, 5u);
  EXPECT_EQ(tables.vips.begin()->second.link_mask, 2u);
  desired_.vips[0].links = {"eth0"};  // the untagged link alone, although the VLAN is attached by the same name
  EXPECT_EQ(compiled().vips.begin()->second.link_mask, 1u);
  desired_.vips[0].links = {"eth0.10"};
  // A bit stays with its link, and the flags that attaching left there too.
  installed_ = tables;
  installed_.links.at({2, 10}).flags = XLB_LINK_MADE_CLSACT;
  desired_.links.erase(desired_.links.begin());
  EXPECT_EQ(compiled().links.at({2, 10}).link_bit, 2u);
  EXPECT_EQ(compiled().links.at({2, 10}).flags, XLB_LINK_MADE_CLSACT);
}

TEST_F(Compile, IdsSurviveChangesAroundThem) {
  add_vip("192.168.0.201");
  add_port(1, 443, {backend("10.42.0.9", test::pod(12)), backend("10.42.0.10", test::pod(13))});
  installed_ = compiled();
  const std::uint32_t nine = id_of(installed_, "10.42.0.9");
  const ServiceKey key{installed_.vips.at(address("192.168.0.201")).vip_id, 443, Protocol::tcp};
  const lb_service before = installed_.services.at(key);
  desired_.vips.erase(desired_.vips.begin());
  desired_.services.remove_if([](const DesiredService& one) { return one.name.name == "s192.168.0.200"; });
  const Tables after = compiled();
  EXPECT_TRUE(same_row(after.services.at(key), before));
  EXPECT_EQ(id_of(after, "10.42.0.9"), nine);
  EXPECT_EQ(after.backends.at(id_of(installed_, "10.42.0.8")).flags, 0u);
}

TEST_F(Compile, AClaimIsKeptWithItsEpoch) {
  desired_.vips[0].claim_epoch = 42;
  EXPECT_EQ(compiled().vips.at(desired_.vips[0].address).claim_epoch, 42u);
}

TEST_F(Compile, AStandbyListensToTheSolicitedNodeGroupAlready) {
  desired_.vips[0].owned = false;
  desired_.vips[0].eligible = true;
  EXPECT_EQ(compiled().groups.size(), desired_.vips[0].address.family() == Family::ipv6 ? 1u : 0u);
}

TEST_F(Compile, AFreedIdIsGivenAgainWithTheNextGeneration) {
  installed_ = compiled();
  backends() = {backends()[1], backend("10.42.0.10", test::pod(13))};
  installed_ = compiled();  // id 1 was freed in this very step: not reused in it
  EXPECT_EQ(installed_.backends.at(1).flags, 0u);
  EXPECT_EQ(installed_.backends.at(1).generation, 1u);
  EXPECT_EQ(id_of(installed_, "10.42.0.10"), 3u);
  backends().push_back(backend("10.42.0.8"));
  installed_ = compiled();
  EXPECT_EQ(id_of(installed_, "10.42.0.8"), 1u);
  EXPECT_EQ(installed_.backends.at(1).generation, 2u);  // the same endpoint, but its flows are gone
  installed_.backends.at(1) = {};
  installed_.backends.at(1).generation = 0xffffffffu;
  EXPECT_EQ(compiled().backends.at(1).generation, 1u);  // round the end, never 0
}

TEST_F(Compile, MoreSlotsGoToANewPlace) {
  installed_ = compiled();
  for (std::uint8_t i = 10; i < 30; ++i) backends().push_back(backend("10.42.0." + std::to_string(i)));
  Tables grown = compiled();
  EXPECT_EQ(grown.services.begin()->second.slot_count, 8192u);
  EXPECT_EQ(grown.services.begin()->second.slot_base, 512u);  // the old ones serve until the new ones stand
  installed_ = grown;
  backends().resize(2);
  EXPECT_EQ(compiled().services.begin()->second.slot_base, 0u);
}

DesiredPeer peer(const std::string& name, std::uint8_t last, bool alive = true) {
  DesiredPeer peer;
  peer.name = name;
  peer.addresses = {address("192.168.0." + std::to_string(last)), address("fd00::" + std::to_string(last))};
  peer.macs = {Mac{{2, 0, 0, 0, 0, last}}};
  peer.attach_ifindex = 2;
  peer.alive = alive;
  return peer;
}

DesiredBackend backend_on(const std::string& node, const std::string& text) {
  DesiredBackend there = backend(text, {});
  there.node = node;
  return there;
}

TEST_F(Compile, BackendsOnPeersNameTheirNode) {
  desired_.peers = {peer("pi2", 12), peer("pi3", 13, false), peer("pi4", 14, false)};
  desired_.peers[2].awaited = true;
  backends().push_back(backend_on("pi2", "10.42.1.8"));
  backends().push_back(backend_on("pi3", "10.42.2.8"));
  const Tables tables = compiled();
  ASSERT_EQ(tables.peers.size(), 3u);
  EXPECT_EQ(tables.peers.at(3).flags, XLB_PEER_AWAITED);
  const lb_peer& second = tables.peers.at(1);
  EXPECT_EQ(Address::from_abi(second.address4), address("192.168.0.12"));
  EXPECT_EQ(Address::from_abi(second.address6), address("fd00::12"));
  EXPECT_EQ(second.flags, XLB_PEER_ALIVE);
  EXPECT_EQ(second.attach_ifindex, 2u);
  EXPECT_EQ(second.mac[5], 12);
  EXPECT_EQ(tables.peers.at(2).flags, 0u);
  EXPECT_EQ(tables.peer_macs.at(Mac{{2, 0, 0, 0, 0, 13}}), 2u);
  const lb_backend& there = tables.backends.at(id_of(tables, "10.42.1.8"));
  EXPECT_EQ(there.node_id, 1u);
  EXPECT_EQ(there.flags, XLB_BACKEND_LIVE);
  EXPECT_EQ(there.veth_ifindex, 0u);
  EXPECT_EQ(tables.returns, (std::set<std::uint32_t>{11, 12}));

  const lb_service& service = tables.services.at({1, 80, Protocol::tcp});
  EXPECT_EQ(service.flags, 0u);  // XDP may hand flows over
  EXPECT_EQ(service.slot_count, 512u);
  EXPECT_EQ(service.local_slot_count, 512u);
  EXPECT_NE(service.local_slot_base, service.slot_base);
  EXPECT_EQ(tables.vips.at(address("192.168.0.200")).healthy, 3u);  // pi3 is dead
}

TEST_F(Compile, SlotsOfThisNodeAreThoseOfAllWhenAllAreHere) {
  const lb_service service = compiled().services.at({1, 80, Protocol::tcp});
  EXPECT_EQ(service.local_slot_base, service.slot_base);
  EXPECT_EQ(service.local_slot_count, service.slot_count);
  desired_.peers = {peer("pi2", 12)};
  backends() = {backend_on("pi2", "10.42.1.8")};
  const Tables elsewhere = compiled();
  EXPECT_EQ(elsewhere.services.at({1, 80, Protocol::tcp}).slot_count, 1u);
  EXPECT_EQ(elsewhere.services.at({1, 80, Protocol::tcp}).local_slot_count, 0u);
}

TEST_F(Compile, WithPolicyLocalOnlyBackendsHereAreHealthy) {
  desired_.peers = {peer("pi2", 12)};
  backends().push_back(backend_on("pi2", "10.42.1.8"));
  desired_.services.own(0).policy = TrafficPolicy::local;
  const Tables tables = compiled();
  EXPECT_EQ(tables.vips.at(address("192.168.0.200")).healthy, 2u);
  EXPECT_EQ(tables.services.at({1, 80, Protocol::tcp}).flags, XLB_SERVICE_LOCAL);
}

// Nobody sends here any more but those who have not heard of it yet; direct return keeps their address.
TEST_F(Compile, WithPolicyLocalAndNoBackendHereFlowsGoToPeersUntilTheAddressHasMoved) {
  desired_.peers = {peer("pi2", 12)};
  backends() = {backend_on("pi2", "10.42.1.8")};
  desired_.services.own(0).policy = TrafficPolicy::local;
  EXPECT_EQ(compiled().services.at({1, 80, Protocol::tcp}).flags & XLB_SERVICE_LOCAL, 0u);
}

TEST_F(Compile, BackendsOfAPeerThatCannotBeSentToAreLeftOut) {
  desired_.peers = {peer("pi2", 12), peer("pi3", 13)};
  desired_.peers[0].macs.clear();         // not heard of yet
  desired_.peers[1].attach_ifindex = 77;  // by a link that is not attached
  backends() = {backend_on("pi2", "10.42.1.8"), backend_on("pi3", "10.42.2.8"), backend("10.42.0.8")};
  const Tables tables = compiled();
  EXPECT_TRUE(tables.peers.empty());
  EXPECT_TRUE(tables.peer_macs.empty());
  EXPECT_EQ(tables.backends.size(), 1u);
  EXPECT_EQ(tables.services.at({1, 80, Protocol::tcp}).slot_count, 1u);
}

TEST_F(Compile, BackendsOnDeadNodesLeaveTheSlotsAndNoOtherFlowMoves) {
  desired_.peers = {peer("pi2", 12), peer("pi3", 13)};
  backends() = {backend("10.42.0.8"), backend_on("pi2", "10.42.1.8"), backend_on("pi3", "10.42.2.8")};
  const Tables before = compiled();
  for (DesiredPeer& each : desired_.peers) each.alive = false;
  installed_ = before;
  const Tables after = compiled();
  const lb_service& service = after.services.at({1, 80, Protocol::tcp});
  EXPECT_EQ(service.slot_count, before.services.at({1, 80, Protocol::tcp}).slot_count);
  const std::uint32_t here = id_of(before, "10.42.0.8");
  EXPECT_EQ(id_of(after, "10.42.0.8"), here);
  const auto& slots = after.slots.at(service.slot_base);
  for (const lb_slot& slot : slots.rows()) EXPECT_EQ(slot.first, here);

  desired_.peers[0].alive = true;
  const Tables one_back = compiled();
  const auto& again = one_back.slots.at(one_back.services.at({1, 80, Protocol::tcp}).slot_base);
  const auto& full = before.slots.at(before.services.at({1, 80, Protocol::tcp}).slot_base);
  for (std::size_t i = 0; i < full.size(); ++i) {
    if (full[i].first == id_of(before, "10.42.2.8")) continue;
    EXPECT_EQ(again[i].first, full[i].first);
  }
}

// Connections wait for it by its slot, and new flows find a living one in the same slot.
TEST_F(Compile, BackendsOnAnAwaitedNodeStandFirstBeforeALivingOne) {
  desired_.peers = {peer("pi2", 12), peer("pi3", 13), peer("pi4", 14)};
  backends() = {backend("10.42.0.8"), backend_on("pi2", "10.42.1.8"), backend_on("pi3", "10.42.2.8"), backend_on("pi4", "10.42.3.8")};
  const auto slots_now = [&] {
    const Tables tables = compiled();
    return tables.slots.at(tables.services.at({1, 80, Protocol::tcp}).slot_base);
  };
  installed_ = compiled();
  const std::set<std::uint32_t> awaited{id_of(installed_, "10.42.1.8"), id_of(installed_, "10.42.2.8")};
  const Slots before = slots_now();
  for (const std::size_t i : {0u, 1u}) desired_.peers[i].alive = false;
  const Slots dead = slots_now();
  for (const std::size_t i : {0u, 1u}) desired_.peers[i].awaited = true;
  const Slots waiting = slots_now();
  std::size_t both = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(waiting[i].first, before[i].first);
    if (!awaited.contains(before[i].first)) {
      EXPECT_TRUE(same_row(waiting[i], dead[i]));
      continue;
    }
    EXPECT_EQ(waiting[i].second, dead[i].first);
    both += awaited.contains(before[i].second) ? 1 : 0;
  }
  EXPECT_GT(both, 0u) << "slots that listed two awaited backends";
}

TEST_F(Compile, WhenEveryNodeWithABackendIsDeadTheSlotsStay) {
  desired_.peers = {peer("pi2", 12, false)};
  backends() = {backend_on("pi2", "10.42.1.8")};
  const Tables tables = compiled();
  const lb_service& service = tables.services.at({1, 80, Protocol::tcp});
  EXPECT_EQ(tables.slots.at(service.slot_base)[0].first, id_of(tables, "10.42.1.8"));
}

TEST_F(Compile, AnEndpointThatMovesToAPeerKeepsItsRow) {
  desired_.peers = {peer("pi2", 12)};
  installed_ = compiled();
  backends()[0].node = "pi2";
  backends()[0].place = {};
  const Tables after = compiled();
  const std::uint32_t id = id_of(installed_, "10.42.0.8");
  EXPECT_EQ(id_of(after, "10.42.0.8"), id);
  EXPECT_EQ(after.backends.at(id).node_id, 1u);
  EXPECT_EQ(after.returns, std::set<std::uint32_t>{12});
}

TEST_F(Compile, WhetherAPodOfAPeerRunsIsThePeersToKnow) {
  desired_.peers = {peer("pi2", 12)};
  backends()[1].node = "pi2";
  installed_ = compiled();
  const std::uint32_t id = id_of(installed_, "10.42.0.9");
  ASSERT_EQ(installed_.backends.at(id).node_id, 1U);
  backends().pop_back();
  EXPECT_EQ(compiled().backends.at(id).flags, XLB_BACKEND_LIVE | XLB_BACKEND_DRAINING);
  desired_.peers.clear();
  EXPECT_FALSE(live(compiled().backends.at(id)));
}

TEST_F(Compile, WhatNobodyListsLeavesTheTableToWhatIsListed) {
  capacity_.backends = 9;  // one of them is no backend
  for (int i = 0; i < 6; ++i) backends().push_back(backend("10.42.0." + std::to_string(20 + i)));
  installed_ = compiled();
  backends() = {backend("10.42.0.8"), backend("10.42.0.9", test::pod(12)), backend("10.42.0.30"), backend("10.42.0.31")};
  for (int i = 0; i < 6; ++i) desired_.pods[address("10.42.0." + std::to_string(20 + i))] = 11;
  const Tables tables = compiled();
  const auto lingering = std::count_if(tables.backends.begin(), tables.backends.end(), [](const auto& entry) {
    return live(entry.second) && (entry.second.flags & XLB_BACKEND_DRAINING) != 0;
  });
  EXPECT_EQ(lingering, 1) << "a quarter of the four rows that are left";
  for (const char* listed : {"10.42.0.8", "10.42.0.9", "10.42.0.30", "10.42.0.31"}) EXPECT_NE(id_of(tables, listed), 0U);
}

TEST_F(Compile, MorePeersThanRowsAreRefused) {
  for (std::uint32_t i = 0; i < XLB_MAX_PEERS; ++i) {
    desired_.peers.push_back(peer("pi" + std::to_string(i), static_cast<std::uint8_t>(i)));
  }
  EXPECT_EQ(refusal(), "xlb_peers is full: 64 peers needed, room for 63");
  desired_.peers.pop_back();
  for (int i = 0; i < 4; ++i) {
    for (DesiredPeer& one : desired_.peers) one.macs.push_back(Mac{{6, 0, 0, 0, static_cast<std::uint8_t>(i), one.macs[0].bytes[5]}});
  }
  EXPECT_EQ(refusal(), "xlb_peer_macs is full: 315 MAC addresses of peers needed, room for 256");
}

TEST_F(Compile, HashSeedIsOfVipPortAndProtocolOnly) {
  const std::uint32_t seed = compiled().services.begin()->second.hash_seed;
  desired_.services.own(0).ports[0].port = 81;
  EXPECT_NE(compiled().services.begin()->second.hash_seed, seed);
  desired_.services.own(0).ports[0].port = 80;
  desired_.services.own(0).ports[0].protocol = Protocol::udp;
  EXPECT_NE(compiled().services.begin()->second.hash_seed, seed);
  EXPECT_EQ(seed, 321711828u);  // the same on every node and architecture
}

TEST_F(Compile, FullTables) {
  capacity_.backends = 2;
  EXPECT_EQ(refusal(), "xlb_backends is full: 2 backends needed, room for 1; for more: "
            "xdp-lb detach --all, then attach IFACE --table-sizes backends=4");
  capacity_ = {};
  capacity_.slots = 511;
  EXPECT_EQ(refusal(), "default/s192.168.0.200: xlb_slots is full: 512 slots needed, room for 511; for more: "
            "xdp-lb detach --all, then attach IFACE --table-sizes slots=1024");
  capacity_ = {};
  capacity_.services = 1;
  EXPECT_EQ(refusal(), "xlb_services is full: 1 services needed, room for 0; for more: "
            "xdp-lb detach --all, then attach IFACE --table-sizes services=2");
  capacity_ = {};
  capacity_.sources = 1;
  desired_.services.own(0).source_ranges = {prefix("10.0.0.0/8"), prefix("11.0.0.0/8")};
  EXPECT_EQ(refusal(), "xlb_sources is full: 2 source ranges needed, room for 1; for more: "
            "xdp-lb detach --all, then attach IFACE --table-sizes sources=4");
  capacity_ = {};
  const Link link = desired_.links[0];
  for (std::uint16_t vlan = 1; vlan <= 32; ++vlan) {
    desired_.links.push_back(link);
    desired_.links.back().vlan = vlan;
  }
  EXPECT_EQ(refusal(), "eth0: xlb_links is full: 33 LAN links, VLANs included, needed, room for 32");
  desired_.links = {link};
  backends().clear();
  for (std::uint32_t i = 0; i < XLB_MAX_LINKS; ++i) {
    backends().push_back(
        backend("10.42." + std::to_string(i / 250) + "." + std::to_string(i % 250), test::pod(100 + i)));
  }
  EXPECT_EQ(refusal(), "xlb_links is full: 1025 LAN links and pods needed, room for 1024");
  desired_.vips.clear();
  desired_.services.clear();
  for (std::uint32_t i = 0; i <= XLB_MAX_VIPS; ++i)
    add_vip("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256));
  EXPECT_EQ(refusal(), "xlb_vips is full: 4097 VIPs needed, room for 4096");
}

TEST_F(Compile, AFullTableIsStillTurnedOver) {
  capacity_.backends = 3;
  capacity_.slots = 512;
  installed_ = compiled();
  backends() = {backend("10.42.0.20"), backend("10.42.0.21", test::pod(12))};
  desired_.services.own(0).ports[0].port = 81;
  const Tables after = compiled();
  EXPECT_EQ(after.backends.at(1).generation, 2u);
  EXPECT_EQ(after.services.begin()->second.slot_base, 0u);
}

TEST_F(Compile, AServiceIdIsNotGivenAgainInTheSameStep) {
  capacity_.services = 3;  // ids 1 and 2
  installed_ = compiled();
  const std::uint32_t before = installed_.services.begin()->second.service_id;
  desired_.services.own(0).ports[0].port = 81;
  EXPECT_EQ(compiled().services.begin()->second.service_id, 3 - before);
}

TEST_F(Compile, SlotsOfTwoNewServicesDoNotOverlapInAFullTable) {
  capacity_.slots = 1024;
  installed_ = compiled();
  lb_service& row = installed_.services.begin()->second;
  installed_.slots[512] = installed_.slots.at(0);
  installed_.slots.erase(0);
  row.slot_base = 512;
  desired_.services.own(0).ports[0].port = 81;  // the old one goes, two come: one finds room, the other takes its place
  add_port(0, 82, backends());
  compiled();  // and checks that they do not overlap
}

TEST_F(Compile, PortOfTwoServicesOnOneVip) {
  DesiredService second = desired_.services[0];
  second.name.name = "zeta";
  desired_.services.push_back(second);
  EXPECT_EQ(refusal(), "VIP 192.168.0.200: port TCP/80 is wanted by default/s192.168.0.200 and by default/zeta");
}

TEST_F(Compile, ContradictionsAreMadeAnew) {
  add_vip("192.168.0.201");
  add_port(1, 443, {backend("10.42.0.9", test::pod(12)), backend("10.42.0.10", test::pod(13))});
  const Tables good = compiled();
  installed_ = good;
  for (auto& [key, row] : installed_.services) row.slot_base = 0;   // two services on the same slots
  for (auto& [key, row] : installed_.services) row.service_id = 5;  // and with the same id
  for (auto& [vip, row] : installed_.vips) row.vip_id = 1;          // two VIPs with one id
  installed_.backends[9] = lb_backend(installed_.backends.at(2));               // one endpoint twice
  installed_.services.begin()->second.slot_count = 0xffffffffu;     // out of bounds
  for (auto& [key, row] : installed_.links) row.link_bit = 0xffffffffu;
  const Tables mended = compiled();
  EXPECT_EQ(mended.backends.at(9).flags, 0u);
  std::set<std::uint32_t> ids;
  for (const auto& [key, row] : mended.services) ids.insert(row.service_id);
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_NE(mended.vips.at(address("192.168.0.200")).vip_id, mended.vips.at(address("192.168.0.201")).vip_id);
  EXPECT_EQ(mended.links.at({2, 0}).link_bit, 1u);

  Link second = desired_.links[0];
  second.vlan = 10;
  desired_.links.push_back(second);
  installed_ = compiled();
  installed_.links.at({2, 10}).link_bit = installed_.links.at({2, 0}).link_bit;
  EXPECT_NE(compiled().links.at({2, 10}).link_bit, compiled().links.at({2, 0}).link_bit);
}

}  // namespace
}  // namespace xlb
