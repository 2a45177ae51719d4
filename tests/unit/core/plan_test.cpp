// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/plan.hpp"

#include <algorithm>

#include "tests/unit/core/tables.hpp"

namespace xlb {
namespace {

using test::address;
using test::below;
using test::chance;

Address pick_address(test::Random& random) {
  return address("10.0.0." + std::to_string(1 + below(random, 6)));
}

// Consistent in itself, and with few ids, so that two of them disagree about nearly all.
Tables random_tables(test::Random& random) {
  Tables tables;
  tables.links[{1, 0}] = {};
  for (std::uint32_t id = 1; id < 4; ++id) {
    if (chance(random, 50)) continue;
    lb_peer row{};
    row.attach_ifindex = 1;
    row.flags = below(random, 2);
    tables.peers[id] = row;
    tables.peer_macs[Mac{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(below(random, 4))}}] = id;
  }
  for (std::uint32_t id = 1; id < 7; ++id) {
    if (chance(random, 25)) continue;
    lb_backend row{};
    row.generation = 1 + below(random, 2);
    if (chance(random, 75)) {
      row.address = pick_address(random).to_abi();
      row.flags = XLB_BACKEND_LIVE | (chance(random, 50) ? XLB_BACKEND_LOCAL : 0);
      row.protocol = static_cast<std::uint8_t>(Protocol::tcp);
      if (chance(random, 50)) row.veth_ifindex = 100 + below(random, 4);
      if (!tables.peers.empty() && chance(random, 30)) row.node_id = tables.peers.begin()->first;
      if (row.veth_ifindex != 0) tables.returns.insert(row.veth_ifindex);
    }
    tables.backends[id] = row;
  }
  std::vector<std::uint32_t> ids;
  for (const auto& [id, row] : tables.backends) {
    if (live(row)) ids.push_back(id);
  }
  std::uint32_t base = below(random, 3);
  for (std::uint32_t vip = 1; vip < 4; ++vip) {
    for (std::uint16_t port = 80; port < 82; ++port) {
      if (chance(random, 40)) continue;
      lb_service row{};
      row.service_id = 1 + below(random, 9);
      if (!ids.empty() && chance(random, 80)) {
        row.slot_count = 1u << (chance(random, 50) ? below(random, 3) : 6);
        row.slot_base = base;
        std::vector<lb_slot> slots;
        for (std::uint32_t i = 0; i < row.slot_count; ++i) {
          slots.push_back(
              {ids[below(random, static_cast<std::uint32_t>(ids.size()))], chance(random, 50) ? ids.front() : 0});
        }
        tables.slots[base] = slots;
        base += row.slot_count + below(random, 3);
        row.local_slot_base = row.slot_base;
        row.local_slot_count = row.slot_count;
        if (chance(random, 40)) {
          row.local_slot_base = base;
          tables.slots[base] = std::vector<lb_slot>(row.slot_count, lb_slot{ids.back(), 0});
          base += row.slot_count;
        }
      }
      if (chance(random, 30)) tables.sources.insert({row.service_id, test::prefix("10.0.0.0/8")});
      tables.services[{vip, port, Protocol::tcp}] = row;
    }
    if (chance(random, 50)) {
      lb_vip row{};
      row.vip_id = vip;
      row.healthy = below(random, 2);
      tables.vips[pick_address(random)] = row;
    }
  }
  for (std::uint32_t ifindex = 2; ifindex < 5; ++ifindex) {
    if (chance(random, 50)) continue;
    lb_link row{};
    row.l3_ifindex = ifindex + below(random, 2);
    tables.links[{ifindex, static_cast<std::uint16_t>(below(random, 2))}] = row;
    if (chance(random, 50)) tables.groups.insert({ifindex, address("ff02::1:ff00:1")});
  }
  return tables;
}

// Edit by edit; the first contradiction, or flow that would go astray.
std::string walk(const Edits& edits, const Tables& from, const Tables& to) {
  test::Endpoints allowed = test::endpoints_of(from);
  for (auto& [key, endpoints] : test::endpoints_of(to)) allowed[key].insert(endpoints.begin(), endpoints.end());
  Tables tables = from;
  std::set<std::string> said;
  for (const Edit& edit : edits) {
    const bool slots = std::holds_alternative<EditSlots>(edit);
    if (!slots && !said.insert(describe(edit)).second) return "twice: " + describe(edit);
    tables = xlb::apply({edit}, std::move(tables));
    std::string wrong = test::contradiction(tables);
    if (wrong.empty()) wrong = test::misdirection(tables, allowed);
    if (!wrong.empty()) return "after " + describe(edit) + ": " + wrong;
  }
  return "";
}

TEST(Plan, LeadsFromAnyTablesToAnyOthersThroughConsistentOnes) {
  for (std::uint32_t seed = 0; seed < 4000; ++seed) {
    test::Random random(seed);
    const Tables from = random_tables(random);
    const Tables to = random_tables(random);
    ASSERT_EQ(test::contradiction(from), "") << seed;
    const Edits edits = plan(from, to);
    ASSERT_EQ(xlb::apply(edits, from), to) << seed;
    ASSERT_EQ(walk(edits, from, to), "") << seed;
    ASSERT_TRUE(plan(to, to).empty());
    ASSERT_EQ(xlb::apply(plan(to, Tables{}), to), Tables{});
  }
}

TEST(Plan, LeadsThroughARandomHistoryOfIntents) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    test::Random random(seed);
    Tables installed;
    Capacity capacity;
    if (seed % 2 == 1) capacity = {24, 28, 9400, 64};
    for (int step = 0; step < 10; ++step) {
      const auto wanted = compile(test::random_desired(random), installed, capacity, 1);
      if (!wanted) continue;
      const Edits edits = plan(installed, *wanted);
      ASSERT_EQ(walk(edits, installed, *wanted), "") << "seed " << seed << " step " << step;
      ASSERT_EQ(xlb::apply(edits, installed), *wanted);
      installed = *wanted;
    }
  }
}

// A daemon that dies between two edits finds the tables as they are then, and still gets where it was going.
TEST(Plan, CanBeTakenUpAfterAnyEdit) {
  for (std::uint32_t seed = 0; seed < 25; ++seed) {
    test::Random random(seed);
    const auto from = compile(test::random_desired(random), {}, {}, 1);
    const Desired desired = test::random_desired(random);
    ASSERT_TRUE(from);
    const auto wanted = compile(desired, *from, {}, 1);
    ASSERT_TRUE(wanted);
    const Edits edits = plan(*from, *wanted);
    for (std::size_t done = 0; done <= edits.size(); done += 1 + edits.size() / 12) {
      const Tables torn = xlb::apply(Edits(edits.begin(), edits.begin() + static_cast<std::ptrdiff_t>(done)), *from);
      const auto again = compile(desired, torn, {}, 1);
      ASSERT_TRUE(again);
      ASSERT_EQ(xlb::apply(plan(torn, *again), torn), *again) << "seed " << seed << " edit " << done;
      ASSERT_EQ(walk(plan(torn, *again), torn, *again), "");
    }
  }
}

// Kinds in the order of first appearance; "-" in front of a removal.
std::string order(const Edits& edits) {
  std::string text;
  for (const Edit& edit : edits) {
    const std::string line = describe(edit);
    const bool removal = line.find(" removed") != std::string::npos || line.find(" freed") != std::string::npos ||
                         line.find(" cleared") != std::string::npos || line.find(" off ") != std::string::npos ||
                         line.find(" left ") != std::string::npos;
    const std::string word = (removal ? "-" : "") + line.substr(0, line.find(' '));
    if (text.empty() || !text.ends_with(" " + word)) text += " " + word;
  }
  return text;
}

Desired one_service(const std::string& vip) {
  Desired desired;
  Link link;
  link.name = link.l3_name = "eth0";
  link.attach_ifindex = link.l3_ifindex = 2;
  desired.links = {link};
  DesiredVip row;
  row.address = address(vip);
  row.owned = true;
  row.links = {"eth0"};
  desired.vips = {row};
  DesiredService service;
  service.vip = row.address;
  service.source_ranges = {test::prefix("fd00::/8")};
  DesiredPort port;
  port.port = 80;
  for (std::uint32_t i = 1; i <= 10; ++i) {
    DesiredBackend backend;
    backend.address = address("fd00:42::" + std::to_string(i));
    backend.port = 8000;
    backend.place = test::pod(100 + i);
    port.backends.push_back(backend);
  }
  service.ports = {port};
  desired.services = {service};
  return desired;
}

TEST(Plan, MakesFromTheBottomUpAndBreaksFromTheTopDown) {
  const auto up = compile(one_service("fd00::200"), {}, {}, 1);
  ASSERT_TRUE(up);
  EXPECT_EQ(order(plan({}, *up)), " link xlb_return backend slots source service VIP group");
  const auto down = compile({}, *up, {}, 1);
  ASSERT_TRUE(down);
  EXPECT_EQ(order(plan(*up, *down)), " -group -VIP -service -source -slots -backend -xlb_return -link");
}

// The slots name others first: no flow may meet a slot whose only backend takes none.
TEST(Plan, ABackendDrainsAfterTheSlotsHaveLeftIt) {
  Desired desired = one_service("fd00::200");
  const auto before = compile(desired, {}, {}, 1);
  desired.services.own(0).ports[0].backends[3].draining = true;
  const auto after = compile(desired, *before, {}, 1);
  EXPECT_EQ(order(plan(*before, *after, {})), " slots VIP backend");
}

TEST(Plan, APeerComesBeforeItsBackendsAndGoesAfterThem) {
  Desired desired = one_service("fd00::200");
  const auto before = compile(desired, {}, {}, 1);
  ASSERT_TRUE(before);
  desired.peers = {{"pi2", {address("fd00::12")}, {Mac{{2, 0, 0, 0, 0, 2}}}, 2, 0, true}};
  DesiredBackend there;
  there.address = address("fd00:42::99");
  there.port = 8000;
  there.node = "pi2";
  desired.services.own(0).ports[0].backends.push_back(there);
  const auto with = compile(desired, *before, {}, 1);
  ASSERT_TRUE(with);
  EXPECT_EQ(order(plan(*before, *with)), " peer MAC backend slots service VIP");
  EXPECT_EQ(order(plan(*with, *before)), " slots service VIP -slots -backend -MAC -peer");
}

// Tables with room for three services, wholly turned over.
TEST(Plan, ACrowdedTableIsEmptiedFirst) {
  const Capacity capacity{4, 64, 4096, 8};
  Tables from;
  Tables to;
  for (std::uint32_t vip = 1; vip <= 3; ++vip) {
    from.services[{vip, 80, Protocol::tcp}] = {};
    to.services[{vip, 81, Protocol::tcp}] = {};
  }
  const Edits edits = plan(from, to, capacity);
  ASSERT_EQ(xlb::apply(edits, from), to);
  test::Endpoints allowed = test::endpoints_of(from);
  for (auto& [key, endpoints] : test::endpoints_of(to)) allowed[key].insert(endpoints.begin(), endpoints.end());
  Tables tables = from;
  for (const Edit& edit : edits) {
    tables = xlb::apply({edit}, std::move(tables));
    ASSERT_LE(tables.services.size(), capacity.services);
  }
  EXPECT_EQ(describe(edits.front()), "service of VIP 1 port 80/TCP removed");
  EXPECT_EQ(describe(plan(from, to).front()), "service of VIP 1 port 81/TCP = 0 without backend");
}

TEST(Plan, GrowsWithTheChange) {
  Desired desired = one_service("fd00::200");
  const auto before = compile(desired, {}, {}, 1);
  ASSERT_TRUE(before);
  desired.services.own(0).ports[0].backends.pop_back();
  const auto after = compile(desired, *before, {}, 1);
  ASSERT_TRUE(after);
  const Edits edits = plan(*before, *after);
  std::size_t slots = 0;
  std::size_t others = 0;
  for (const Edit& edit : edits) {
    if (const auto* written = std::get_if<EditSlots>(&edit)) {
      slots += written->slots.size();
    } else {
      ++others;
    }
  }
  EXPECT_GT(slots, 0u);
  EXPECT_LE(slots, 512u);
  EXPECT_EQ(others, 4u);  // the VIP's count of healthy backends, the backend, its veth's program and row
}

TEST(Plan, SlotsAreWrittenInRuns) {
  Tables from;
  from.slots[100] = std::vector<lb_slot>(512, lb_slot{1, 2});
  Tables to = from;
  to.slots[100].set(3, {2, 1});
  to.slots[100].set(20, {2, 1});   // near: one run with the first
  to.slots[100].set(400, {2, 1});  // far: a run of its own
  const Edits edits = plan(from, to);
  ASSERT_EQ(edits.size(), 2u);
  EXPECT_EQ(describe(edits[0]), "slots 103..120 written");
  EXPECT_EQ(describe(edits[1]), "slots 500..500 written");
  EXPECT_EQ(xlb::apply(edits, from), to);
}

TEST(Describe, IsOneLineForEachKind) {
  lb_backend backend{};
  backend.address = address("10.42.0.8").to_abi();
  const std::uint8_t port[2] = {0x1f, 0x40};
  std::memcpy(&backend.port, port, 2);
  backend.protocol = 6;
  backend.flags = XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL;
  backend.generation = 2;
  EXPECT_EQ(describe(EditBackend{3, backend}), "backend 3 = 10.42.0.8:8000/TCP live local generation 2");
  backend.address = address("fd00::8").to_abi();
  backend.flags |= XLB_BACKEND_HOST | XLB_BACKEND_KERNEL | XLB_BACKEND_DRAINING;
  EXPECT_EQ(describe(EditBackend{3, backend}),
            "backend 3 = [fd00::8]:8000/TCP live local host kernel draining generation 2");
  backend.flags = 0;
  EXPECT_EQ(describe(EditBackend{3, backend}), "backend 3 freed after generation 2");
  lb_link link{};
  link.role = XLB_LINK_LAN;
  link.l3_ifindex = 5;
  EXPECT_EQ(describe(EditLink{{2, 10}, link}), "link 2 vlan 10 = LAN, replies by interface 5");
  link.role = XLB_LINK_RETURN;
  EXPECT_EQ(describe(EditLink{{11, 0}, link}), "link 11 = way back of a pod");
  EXPECT_EQ(describe(EditLink{{2, 0}, std::nullopt}), "link 2 removed");
  lb_peer peer{};
  peer.address4 = address("192.168.0.12").to_abi();
  peer.address6 = address("fd00::12").to_abi();
  peer.attach_ifindex = 2;
  peer.vlan = 10;
  peer.mac[0] = 2;
  EXPECT_EQ(describe(EditPeer{1, peer}),
            "peer 1 = 192.168.0.12 fd00::12 at 02:00:00:00:00:00 by link 2 vlan 10 dead");
  peer.address6 = {};
  peer.vlan = 0;
  peer.flags = XLB_PEER_AWAITED;
  EXPECT_EQ(describe(EditPeer{1, peer}), "peer 1 = 192.168.0.12 at 02:00:00:00:00:00 by link 2 awaited");
  peer.flags = XLB_PEER_ALIVE;
  EXPECT_EQ(describe(EditPeer{1, peer}), "peer 1 = 192.168.0.12 at 02:00:00:00:00:00 by link 2 alive");
  EXPECT_EQ(describe(EditPeer{1, std::nullopt}), "peer 1 removed");
  EXPECT_EQ(describe(EditPeerMac{Mac{{2, 0, 0, 0, 0, 2}}, 1}), "MAC 02:00:00:00:00:02 = peer 1");
  EXPECT_EQ(describe(EditPeerMac{Mac{{2, 0, 0, 0, 0, 2}}, std::nullopt}), "MAC 02:00:00:00:00:02 removed");
  lb_backend remote = backend;
  remote.address = address("10.42.1.8").to_abi();
  remote.flags = XLB_BACKEND_LIVE;
  remote.node_id = 1;
  EXPECT_EQ(describe(EditBackend{3, remote}), "backend 3 = 10.42.1.8:8000/TCP on peer 1 live generation 2");
  EXPECT_EQ(describe(EditReturn{11, true}), "xlb_return onto interface 11");
  EXPECT_EQ(describe(EditReturn{11, false}), "xlb_return off interface 11");
  EXPECT_EQ(describe(EditSlots{5, std::vector<lb_slot>(3)}), "slots 5..7 cleared");
  lb_service service{};
  service.service_id = 9;
  EXPECT_EQ(describe(EditService{{1, 80, Protocol::tcp}, service}),
            "service of VIP 1 port 80/TCP = 9 without backend");
  service.slot_count = 512;
  service.flags = XLB_SERVICE_AFFINITY | XLB_SERVICE_SOURCES | XLB_SERVICE_TWIN | XLB_SERVICE_LOCAL;
  EXPECT_EQ(describe(EditService{{1, 80, Protocol::udp}, service}),
            "service of VIP 1 port 80/UDP = 9 slots 0..511 affinity sources twin local");
  service.flags = 0;
  service.local_slot_base = 512;
  service.local_slot_count = 512;
  EXPECT_EQ(describe(EditService{{1, 80, Protocol::tcp}, service}),
            "service of VIP 1 port 80/TCP = 9 slots 0..511 of this node 512..1023");
  EXPECT_EQ(describe(EditService{{1, 80, Protocol::tcp}, std::nullopt}), "service of VIP 1 port 80/TCP removed");
  EXPECT_EQ(describe(EditSource{{9, test::prefix("10.0.0.0/8")}, true}), "source 10.0.0.0/8 of service 9 allowed");
  lb_vip vip{};
  vip.vip_id = 1;
  vip.owned_epoch = 3;
  vip.healthy = 2;
  EXPECT_EQ(describe(EditVip{address("192.168.0.200"), vip}), "VIP 192.168.0.200 = 1 owned healthy 2");
  vip.owned_epoch = 0;
  EXPECT_EQ(describe(EditVip{address("192.168.0.200"), vip}), "VIP 192.168.0.200 = 1 not owned healthy 2");
  EXPECT_EQ(describe(EditGroup{{2, address("ff02::1:ff00:1")}, true}), "group ff02::1:ff00:1 joined on interface 2");
}

}  // namespace
}  // namespace xlb
