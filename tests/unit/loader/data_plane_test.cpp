// SPDX-License-Identifier: Apache-2.0
// What lives beside the tables: the ways back of pods and the groups of IPv6 VIPs; and plans carried out on a real
// kernel.
#include <bpf/bpf.h>
#include <linux/pkt_cls.h>
#include <unistd.h>

#include <random>

#include "tests/unit/loader/attached_node.hpp"
#include "userspace/core/plan.hpp"

namespace xlb {
namespace {

class DataPlaneTest : public AttachedNode {
 protected:
  Tables installed() const {
    auto tables = plane().installed();
    EXPECT_TRUE(tables) << tables.error().text;
    return tables ? *tables : Tables{};
  }
  void apply(const Edits& edits) const {
    const auto done = plane().apply(edits);
    EXPECT_TRUE(done) << done.error().text;
  }
  Edits way_back(const std::string& veth) const {
    lb_link row{};
    row.role = XLB_LINK_RETURN;
    return {EditLink{{ifindex(veth), 0}, row}, EditReturn{ifindex(veth), true}};
  }
  Edits no_way_back(std::uint32_t veth) const { return {EditReturn{veth, false}, EditLink{{veth, 0}, std::nullopt}}; }
  std::uint32_t flags(const std::string& interface) const {
    return installed().links.at({ifindex(interface), 0}).flags;
  }
  Group group(const std::string& interface, const std::string& vip) const {
    return {ifindex(interface), solicited_node_group(*parse_address(vip))};
  }
};

TEST_F(DataPlaneTest, NothingIsInstalledBeforeAttaching) {
  const auto tables = plane().installed();
  ASSERT_FALSE(tables);
  EXPECT_TRUE(has(tables.error().text, "xdp-lb attach")) << tables.error().text;
  EXPECT_FALSE(plane().node());
  EXPECT_FALSE(plane().counters());
  EXPECT_FALSE(plane().flows());
  EXPECT_TRUE(plane().apply({}));
  const auto attached = plane().attached();
  ASSERT_TRUE(attached) << attached.error().text;
  EXPECT_TRUE(attached->empty());
}

TEST_F(DataPlaneTest, WayBackComesAndGoes) {
  attach("lan0");
  const std::string before = everything();
  apply(way_back("pod0"));
  EXPECT_TRUE(has(filters("pod0"), "xlb_return"));
  EXPECT_EQ(installed().returns, std::set<std::uint32_t>{ifindex("pod0")});
  EXPECT_EQ(flags("pod0"), XLB_LINK_MADE_CLSACT);
  const std::string once = everything();
  apply({EditReturn{ifindex("pod0"), true}});
  EXPECT_EQ(difference(once, everything()), "");
  EXPECT_EQ(flags("pod0"), XLB_LINK_MADE_CLSACT) << "whose the qdisc is, is not forgotten";
  apply(no_way_back(ifindex("pod0")));
  EXPECT_TRUE(installed().returns.empty());
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(DataPlaneTest, WayBackBesideOthers) {
  auto theirs = foreign_program(false, TC_ACT_UNSPEC, "their_tc");
  ASSERT_TRUE(theirs);
  const std::string path = pin_dir() + "-their";
  ASSERT_EQ(bpf_obj_pin(theirs->get(), path.c_str()), 0);
  run("tc qdisc add dev pod0 clsact; tc filter add dev pod0 ingress pref 1 bpf da object-pinned " + path +
      "; tc qdisc add dev pod1 ingress");
  const std::string before = everything();
  attach("lan0");
  for (const char* pod : {"pod0", "pod1"}) {
    apply(way_back(pod));
    EXPECT_EQ(flags(pod), 0u) << "the qdisc is theirs";
  }
  EXPECT_EQ(installed().returns.size(), 2u);
  ASSERT_TRUE(plane().detach_all());
  EXPECT_EQ(difference(before, everything()), "");
  unlink(path.c_str());
}

TEST_F(DataPlaneTest, WayBackWhereOurPlaceIsTaken) {
  auto theirs = foreign_program(false, TC_ACT_UNSPEC, "their_tc");
  ASSERT_TRUE(theirs);
  const std::string path = pin_dir() + "-their";
  ASSERT_EQ(bpf_obj_pin(theirs->get(), path.c_str()), 0);
  attach("lan0");
  run("tc qdisc add dev pod0 clsact; tc filter add dev pod0 ingress pref 49374 handle 1 bpf da object-pinned " +
      path);
  const auto done = plane().apply(way_back("pod0"));
  ASSERT_FALSE(done);
  EXPECT_TRUE(has(done.error().text, "their_tc")) << done.error().text;
  EXPECT_TRUE(has(done.error().text, "pod0")) << done.error().text;
  EXPECT_TRUE(has(filters("pod0"), "their_tc"));
  EXPECT_TRUE(installed().returns.empty());
  unlink(path.c_str());
}

TEST_F(DataPlaneTest, LostWayBackIsNoticed) {
  attach("lan0");
  apply(way_back("pod0"));
  apply(way_back("pod1"));
  const std::uint32_t pod1 = ifindex("pod1");
  run("tc qdisc del dev pod0 clsact; ip link del pod1");
  EXPECT_TRUE(installed().returns.empty());
  apply({EditReturn{ifindex("pod0"), true}});
  EXPECT_EQ(installed().returns, std::set<std::uint32_t>{ifindex("pod0")});
  apply(no_way_back(pod1));
  EXPECT_FALSE(installed().links.contains({pod1, 0}));
  const auto done = plane().apply({EditReturn{pod1, true}});
  ASSERT_FALSE(done);
  EXPECT_TRUE(has(done.error().text, "has gone")) << done.error().text;
}

TEST_F(DataPlaneTest, LastDetachTakesTheWaysBackToo) {
  const std::string before = everything();
  attach("lan0");
  apply(way_back("pod0"));
  apply({EditGroup{group("lan0", "fd00::c8"), true}});
  ASSERT_TRUE(plane().detach("lan0"));
  EXPECT_EQ(difference(before, everything()), "");
}

TEST_F(DataPlaneTest, UpgradeReplacesTheWaysBackInPlace) {
  attach("lan0");
  apply(way_back("pod0"));
  const std::string old = filters("pod0");
  ASSERT_TRUE(plane().upgrade());
  EXPECT_NE(old, filters("pod0")) << "the program id is in the listing";
  EXPECT_EQ(installed().returns.size(), 1u);
}

TEST_F(DataPlaneTest, PodInterfaceIsNoLan) {
  attach("lan0");
  run("ip link set pod0 nomaster");
  apply(way_back("pod0"));
  EXPECT_TRUE(has(refusal({"pod0", AttachMode::tc, {}, {}}), "way to a pod"));
}

// ---- groups
// ---------------------------------------------------------------------------------------------------------

TEST_F(DataPlaneTest, GroupsComeAndGo) {
  attach("lan0");
  const std::string before = everything();
  const Group first = group("lan0", "fd00::c8"), second = group("lan0", "fd00::12:3456");
  apply({EditGroup{first, true}, EditGroup{second, true}});
  EXPECT_EQ(installed().groups, (std::set<Group>{first, second}));
  EXPECT_TRUE(has(output("ip maddr show dev lan0"), "ff02::1:ff00:c8"));
  EXPECT_TRUE(has(output("ip maddr show dev lan0"), "33:33:ff:12:34:56"));
  apply({EditGroup{first, true}});  // once more
  apply({EditGroup{first, false}, EditGroup{second, false}, EditGroup{second, false}});
  EXPECT_TRUE(installed().groups.empty());
  EXPECT_EQ(difference(before, everything()), "") << "no address, group or route is left";
}

TEST_F(DataPlaneTest, GroupsOfTheKernelsOwnAddressesAreNotOurs) {
  attach("lan0");  // which has fd00::10
  EXPECT_TRUE(has(output("ip maddr show dev lan0"), "ff02::1:ff00:10"));
  EXPECT_TRUE(installed().groups.empty());
  const Group shared = group("lan0", "fd00:1::10");
  apply({EditGroup{shared, true}});
  EXPECT_EQ(installed().groups, std::set<Group>{shared});
  apply({EditGroup{shared, false}});
  EXPECT_TRUE(has(output("ip maddr show dev lan0"), "ff02::1:ff00:10")) << "the node's own membership stays";
}

TEST_F(DataPlaneTest, GroupsLostWithTheLinkAreNoticed) {
  attach("lan0");
  const Group joined = group("lan0", "fd00::c8");
  apply({EditGroup{joined, true}});
  run("ip link set lan0 down; ip link set lan0 up");
  EXPECT_TRUE(installed().groups.empty()) << "the kernel forgets them with a link that goes down";
  EXPECT_FALSE(has(output("ip maddr show dev lan0"), "ff02::1:ff00:c8"));
  apply({EditGroup{joined, true}});
  EXPECT_EQ(installed().groups, std::set<Group>{joined});
  EXPECT_TRUE(has(output("ip maddr show dev lan0"), "ff02::1:ff00:c8"));
  apply({EditGroup{joined, false}});
  EXPECT_FALSE(has(output("ip maddr show dev lan0"), "ff02::1:ff00:c8"));
}

TEST_F(DataPlaneTest, GroupWhereThereIsNoIpv6) {
  attach("lan0");
  run("ip link set lan0 mtu 1000");  // below 1280 the kernel has no IPv6 on it
  const auto done = plane().apply({EditGroup{group("lan0", "fd00::c8"), true}});
  ASSERT_FALSE(done);
  EXPECT_TRUE(has(done.error().text, "ff02::1:ff00:c8")) << done.error().text;
  EXPECT_TRUE(has(done.error().text, "IPv6 switched off")) << done.error().text;
}

// ---- plans
// ----------------------------------------------------------------------------------------------------------

TEST_F(DataPlaneTest, PlansAreCarriedOut) {
  attach("lan0");
  std::mt19937 random(4711);
  const auto below = [&](std::uint32_t limit) { return static_cast<std::uint32_t>(random() % limit); };
  Tables now = installed();
  for (int round = 0; round < 15; ++round) {
    Tables wanted;
    wanted.links = installed().links;
    for (auto link = wanted.links.begin(); link != wanted.links.end();) {
      link = link->second.role == XLB_LINK_RETURN ? wanted.links.erase(link) : std::next(link);
    }
    for (const char* pod : {"pod0", "pod1"}) {
      if (below(2) == 0) continue;
      lb_link row{};
      row.role = XLB_LINK_RETURN;
      if (const auto old = now.links.find({ifindex(pod), 0}); old != now.links.end()) row.flags = old->second.flags;
      wanted.links[{ifindex(pod), 0}] = row;
      wanted.returns.insert(ifindex(pod));
    }
    for (std::uint32_t vip = 1; vip < 6; ++vip) {
      if (below(3) == 0) continue;
      const Address address = *parse_address("fd00::" + std::to_string(vip));
      lb_vip row{};
      row.vip_id = vip;
      row.owned_epoch = below(2);
      wanted.vips[address] = row;
      if (row.owned_epoch != 0) wanted.groups.insert({ifindex("lan0"), solicited_node_group(address)});
      lb_service service{};
      service.service_id = vip;
      service.slot_base = vip * 256;
      service.slot_count = 128u << below(2);
      wanted.services[{vip, 80, Protocol::tcp}] = service;
      wanted.slots[service.slot_base] = std::vector<lb_slot>(service.slot_count, lb_slot{vip, below(5) + 1});
    }
    for (std::uint32_t id = 1; id < 6; ++id) {
      lb_backend row{};
      row.generation = 1;
      row.flags = XLB_BACKEND_LIVE;
      row.port = static_cast<__be16>(below(65536));
      wanted.backends[id] = row;
    }
    apply(plan(now, wanted));
    now = installed();
    // Whose a qdisc is, is noted by the loader beside what was planned.
    for (auto& [key, row] : wanted.links) {
      if (now.links.contains(key)) row.flags = now.links.at(key).flags;
    }
    ASSERT_TRUE(now == wanted) << "round " << round;
    EXPECT_TRUE(plan(now, wanted).empty());
  }
}

TEST_F(DataPlaneTest, WhatIsKeptIsNotReadAgainUntilItIsForgotten) {
  attach("lan0");
  const auto opened = open_data_plane(pin_dir());
  ASSERT_TRUE(opened) << opened.error().text;
  DataPlane& here = **opened;
  auto before = here.installed();
  ASSERT_TRUE(before) << before.error().text;
  here.keep(*before);
  // By somebody else: a service, a peer and a way back.
  lb_service service{};
  service.service_id = 7;
  lb_peer peer{};
  peer.flags = XLB_PEER_ALIVE;
  apply({EditService{{1, 80, Protocol::tcp}, service}, EditPeer{3, peer}});
  apply(way_back("pod0"));
  auto kept = here.installed();
  ASSERT_TRUE(kept) << kept.error().text;
  EXPECT_TRUE(kept->services.empty());
  EXPECT_TRUE(kept->peers.contains(3));
  EXPECT_TRUE(kept->links.contains({ifindex("pod0"), 0}));
  EXPECT_EQ(kept->returns, std::set<std::uint32_t>{ifindex("pod0")});
  // Given once, it is to be given back. What is forgotten is read, as it is in the first place.
  EXPECT_TRUE(*here.installed() == installed());
  here.keep(*kept);
  here.forget();
  EXPECT_TRUE(*here.installed() == installed());
}

TEST_F(DataPlaneTest, WhatIsKeptDoesNotOutliveADetach) {
  attach("lan0");
  const auto opened = open_data_plane(pin_dir());
  ASSERT_TRUE(opened) << opened.error().text;
  DataPlane& here = **opened;
  auto tables = here.installed();
  ASSERT_TRUE(tables) << tables.error().text;
  tables->services[{1, 80, Protocol::tcp}] = {};
  here.keep(*tables);
  ASSERT_TRUE(here.detach_all());
  attach("lan0");
  EXPECT_TRUE(here.installed()->services.empty());
}

TEST_F(DataPlaneTest, FailureNamesTheEdit) {
  attach("lan0");
  const auto done = plane().apply({EditSlots{0xfffffff0u, std::vector<lb_slot>(64, lb_slot{1, 1})}});
  ASSERT_FALSE(done);
  EXPECT_TRUE(has(done.error().text, "slots")) << done.error().text;
}

}  // namespace
}  // namespace xlb
