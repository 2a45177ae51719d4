// SPDX-License-Identifier: Apache-2.0
// Who gets a new flow: slots, ClientIP affinity, source ranges, clashes between VIPs.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <random>
#include <set>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class SelectionTest : public PacketTest {
 protected:
  IpAddress random_client() {
    const std::uint32_t word = static_cast<std::uint32_t>(random_());
    const std::string low = std::to_string(word >> 8 & 0xff) + (v4() ? "." : ":") + std::to_string(word & 0xff);
    return v4() ? IpAddress("172." + std::to_string(16 + (word >> 16 & 0xf)) + "." + low) : IpAddress("fd01::" + low);
  }
  std::uint16_t random_port() { return static_cast<std::uint16_t>(1024 + random_() % 60000); }

  // Which backend address a SYN from there is sent to; the unspecified address when it is not forwarded.
  IpAddress chosen(const IpAddress& from, std::uint16_t port, const IpAddress& to, std::uint16_t service_port = 80) {
    const Output output = rig().run(
        Program::lan_tc, Input{.frame = from_client(from, to) / tcp(kSyn, port, service_port), .ifindex = lan});
    return output.action == kTcRedirect ? decode(output.frame).destination : IpAddress();
  }

  // Gives the web service backends 100… with addresses of their own and a slot for each, in turn.
  std::vector<IpAddress> many_backends(std::uint32_t count, std::uint32_t flags = 0) {
    std::vector<IpAddress> addresses;
    for (std::uint32_t i = 0; i < count; i++) {
      addresses.emplace_back((v4() ? "10.42.1." : "fd42:1::") + std::to_string(i + 1));
      rig().set_backend(100 + i, backend_row(addresses.back(), 8080, IPPROTO_TCP, sandbox().pod0.ifindex));
    }
    for (std::uint32_t slot = 0; slot < kSlotsPerService; slot++) {
      rig().set_slot(kWeb * kSlotsPerService + slot, {100 + slot % count, 100 + (slot + 1) % count});
    }
    rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, flags));
    return addresses;
  }

  std::mt19937_64 random_{42};
};
XLB_RUN_SUITE(SelectionTest, kEveryWay, kBothNets);

TEST_P(SelectionTest, FlowsSpreadEvenlyOverTheSlots) {
  const std::vector<IpAddress> backends = many_backends(kSlotsPerService);
  std::map<IpAddress, int> hits;
  constexpr int kFlows = 6400;  // 100 a slot
  for (int i = 0; i < kFlows; i++) hits[chosen(random_client(), random_port(), vip)]++;
  EXPECT_EQ(hits.size(), backends.size());
  for (const auto& [backend, count] : hits) {
    EXPECT_NE(backend, IpAddress());
    EXPECT_GT(count, 55) << backend.text();  // 4.5 standard deviations
    EXPECT_LT(count, 145) << backend.text();
  }
}

TEST_P(SelectionTest, PortsOfOneClientSpreadToo) {
  // Behind one NAT address, ports often count up by one or two.
  for (const unsigned step : {1u, 2u, 16u}) {
    const std::vector<IpAddress> backends = many_backends(8);
    std::map<IpAddress, int> hits;
    for (unsigned i = 0; i < 800; i++) hits[chosen(client, static_cast<std::uint16_t>(20000 + i * step), vip)]++;
    EXPECT_EQ(hits.size(), 8u);
    for (const auto& [backend, count] : hits) EXPECT_GT(count, 50) << backend.text() << " step " << step;
    for (const auto& [key, flow] : rig().traces().half_open) rig().remove_flow(key, true);
  }
}

TEST_P(SelectionTest, TheSameTupleChoosesTheSameSlotForEver) {
  many_backends(kSlotsPerService);
  for (int i = 0; i < 50; i++) {
    const IpAddress from = random_client();
    const std::uint16_t port = random_port();
    const IpAddress first = chosen(from, port, vip);
    for (const auto& [key, flow] : rig().traces().half_open) rig().remove_flow(key, true);
    EXPECT_EQ(chosen(from, port, vip), first);
  }
}

TEST_P(SelectionTest, IdsAndPlacesOfSlotsDoNotMatter) {
  // Another node numbers its services, VIPs and backends otherwise: same seed, same slots, same choice.
  many_backends(kSlotsPerService);
  lb_service moved = service_row(9);
  moved.hash_seed = service_row(kWeb).hash_seed;
  rig().set_vip(other_vip, vip_row(77));
  rig().set_service(77, 80, IPPROTO_TCP, moved);
  for (std::uint32_t slot = 0; slot < kSlotsPerService; slot++) {
    const std::uint32_t id = 300 + (slot * 7) % kSlotsPerService;
    const IpAddress address((v4() ? "10.42.1." : "fd42:1::") + std::to_string(slot % kSlotsPerService + 1));
    rig().set_backend(id, backend_row(address, 8080, IPPROTO_TCP, sandbox().pod0.ifindex));
    rig().set_slot(9 * kSlotsPerService + slot, {id, 0});
  }
  for (int i = 0; i < 200; i++) {
    const IpAddress from = random_client();
    const std::uint16_t port = random_port();
    const IpAddress here = chosen(from, port, vip);
    for (const auto& [key, flow] : rig().traces().half_open) rig().remove_flow(key, true);
    EXPECT_EQ(here, chosen(from, port, other_vip));
    for (const auto& [key, flow] : rig().traces().half_open) rig().remove_flow(key, true);
  }
}

TEST_P(SelectionTest, SeedsSeparateServices) {
  many_backends(kSlotsPerService);
  lb_service other = service_row(kWeb);
  other.hash_seed ^= 0x10101;
  std::vector<IpAddress> before, after;
  for (std::uint16_t port = 2000; port < 2100; port++) before.push_back(chosen(client, port, vip));
  for (const auto& [key, flow] : rig().traces().half_open) rig().remove_flow(key, true);
  rig().set_service(kVipId, 80, IPPROTO_TCP, other);
  for (std::uint16_t port = 2000; port < 2100; port++) after.push_back(chosen(client, port, vip));
  int same = 0;
  for (std::size_t i = 0; i < before.size(); i++) same += before[i] == after[i];
  EXPECT_LT(same, 15);
}

TEST_P(SelectionTest, OneSlotIsEnough) {
  lb_service service = service_row(kWeb);
  service.slot_count = 1;
  rig().set_service(kVipId, 80, IPPROTO_TCP, service);
  for (int i = 0; i < 20; i++) EXPECT_EQ(chosen(random_client(), random_port(), vip), pod_a);
}

TEST_P(SelectionTest, SlotsOutsideOfTheTableAreNoBackend) {
  lb_service service = service_row(kWeb);
  service.slot_base = 0xfffffff0;
  rig().set_service(kVipId, 80, IPPROTO_TCP, service);
  expect_sent_back(receive(from_client() / tcp(kSyn)), XLB_VERDICT_NO_BACKEND);
  fill_slots(kWeb, {0xfffffff0, 0x7fffffff});
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb));
  expect_sent_back(receive(from_client() / tcp(kSyn)), XLB_VERDICT_NO_BACKEND);
}

// ---- affinity ----

TEST_P(SelectionTest, AffinityKeepsAClientOnOneBackend) {
  many_backends(kSlotsPerService, XLB_SERVICE_AFFINITY);
  std::set<IpAddress> seen;
  for (int i = 0; i < 30; i++) {
    const IpAddress from = random_client();
    const IpAddress first = chosen(from, random_port(), vip);
    seen.insert(first);
    for (int j = 0; j < 5; j++) EXPECT_EQ(chosen(from, random_port(), vip), first);
  }
  EXPECT_GT(seen.size(), 10u) << "clients still spread";
}

TEST_P(SelectionTest, AffinityRemembersThroughAChangeOfTheSlot) {
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_AFFINITY));
  EXPECT_EQ(chosen(client, 1000, vip), pod_a);
  fill_slots(kWeb, {kPodB, kPodA});
  EXPECT_EQ(chosen(client, 1001, vip), pod_a);
  const Traces now = rig().traces();
  ASSERT_EQ(now.affinity.size(), 1u);
  EXPECT_EQ(IpAddress(now.affinity.begin()->first.client), client);
  EXPECT_EQ(now.affinity.begin()->first.service_id, kWeb);
  EXPECT_EQ(now.affinity.begin()->second.backend_id, kPodA);
  EXPECT_EQ(now.affinity.begin()->second.generation, kGeneration);
}

TEST_P(SelectionTest, AffinityEndsWithItsTimeTheBackendOrItsGeneration) {
  lb_service service = service_row(kWeb, XLB_SERVICE_AFFINITY);
  service.affinity_s = 100;
  rig().set_service(kVipId, 80, IPPROTO_TCP, service);
  fill_slots(kWeb, {kPodB, kPodA});
  const lb_affinity_key key{.client = client.abi(), .service_id = kWeb, .pad = 0};
  rig().put_affinity(
      key, {.seen_mono_ns = mono_ns() - 90 * XLB_SECOND_NS, .backend_id = kPodA, .generation = kGeneration});
  EXPECT_EQ(chosen(client, 1000, vip), pod_a);
  EXPECT_GT(rig().traces().affinity.at(key).seen_mono_ns, mono_ns() - 5 * XLB_SECOND_NS) << "a new flow renews it";
  rig().put_affinity(
      key, {.seen_mono_ns = mono_ns() - 101 * XLB_SECOND_NS, .backend_id = kPodA, .generation = kGeneration});
  EXPECT_EQ(chosen(client, 1001, vip), pod_b);
  rig().put_affinity(key, {.seen_mono_ns = mono_ns(), .backend_id = kPodA, .generation = kGeneration - 1});
  EXPECT_EQ(chosen(client, 1002, vip), pod_b);
  change_backend(kPodA, XLB_BACKEND_LOCAL);
  rig().put_affinity(key, {.seen_mono_ns = mono_ns(), .backend_id = kPodA, .generation = kGeneration});
  EXPECT_EQ(chosen(client, 1003, vip), pod_b);
}

TEST_P(SelectionTest, AffinityBelongsToOneService) {
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_AFFINITY));
  const lb_affinity_key key{.client = client.abi(), .service_id = kDns, .pad = 0};
  rig().put_affinity(key, {.seen_mono_ns = mono_ns(), .backend_id = kPodB, .generation = kGeneration});
  EXPECT_EQ(chosen(client, 1000, vip), pod_a);
}

TEST_P(SelectionTest, WithoutAffinityNothingIsRemembered) {
  chosen(client, 1000, vip);
  EXPECT_TRUE(rig().traces().affinity.empty());
}

// ---- source ranges ----

TEST_P(SelectionTest, SourcesInsideARangeAreServedOthersDenied) {
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_SOURCES));
  rig().allow_source(kWeb, v4() ? "192.168.0.0" : "fd00::", v4() ? 26 : 64);
  EXPECT_EQ(chosen(v4() ? "192.168.0.63" : "fd00::ffff", 1000, vip), pod_a);
  expect_forwarded(receive(from_client() / tcp(kSyn)), from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080),
                   XLB_VERDICT_TO_POD);
  const Packet denied = from_client(v4() ? "192.168.0.64" : "fd00:0:0:1::1", vip) / tcp(kSyn);
  const Fate fate = receive(denied);
  expect_dropped(fate, XLB_VERDICT_DENIED);
  EXPECT_EQ(fate.after.counters[XLB_VERDICT_DENIED].bytes, denied.bytes().size());
  ASSERT_EQ(fate.events().size(), 1u);
  EXPECT_EQ(fate.events()[0].kind, XLB_EVENT_REFUSED);
  EXPECT_EQ(fate.events()[0].verdict, XLB_VERDICT_DENIED);
}

TEST_P(SelectionTest, RangesOfEveryLength) {
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_SOURCES));
  EXPECT_EQ(chosen(client, 999, vip), IpAddress()) << "no range at all: denied";
  const std::uint32_t whole = v4() ? 32 : 128;
  rig().allow_source(kWeb, client, whole);
  EXPECT_EQ(chosen(client, 1000, vip), pod_a);
  EXPECT_EQ(chosen(v4() ? "192.168.0.51" : "fd00::51", 1000, vip), IpAddress());
  rig().allow_source(kWeb, v4() ? "0.0.0.0" : "::", 0);
  EXPECT_EQ(chosen(v4() ? "203.0.113.9" : "2001:db8::9", 1000, vip), pod_a);
}

TEST_P(SelectionTest, AFamilyWithoutRangesIsDenied) {
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_SOURCES));
  rig().allow_source(kWeb, v4() ? "fd00::" : "192.168.0.0", v4() ? 64 : 24);
  expect_dropped(receive(from_client() / tcp(kSyn)), XLB_VERDICT_DENIED);
  // Everything of the other family is still nothing of this one.
  rig().allow_source(kWeb, v4() ? "::" : "0.0.0.0", 0);
  expect_dropped(receive(from_client() / tcp(kSyn, 41000)), XLB_VERDICT_DENIED);
}

TEST_P(SelectionTest, RangesBelongToOneService) {
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_SOURCES));
  rig().allow_source(kDns, client, v4() ? 32 : 128);
  expect_dropped(receive(from_client() / tcp(kSyn)), XLB_VERDICT_DENIED);
}

TEST_P(SelectionTest, TwinFlagLeavesTheServiceToTheTwin) {
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_SOURCES | XLB_SERVICE_TWIN));
  const Fate fate = receive(from_client() / tcp(kSyn));
  expect_dropped(fate, XLB_VERDICT_DENIED);
  EXPECT_FALSE(fate.in_xdp);
}

TEST_P(SelectionTest, RangesAreAskedForNewFlowsOnly) {
  open_connection();
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_SOURCES));
  expect_forwarded(receive(from_client() / tcp(kAck)), from_client(client, pod_a) / tcp(kAck, kClientPort, 8080),
                   XLB_VERDICT_TO_POD);
}

// ---- clashes ----

class ClashTest : public PacketTest {
 protected:
  void SetUp() override {
    PacketTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    rig().set_service(kOtherVipId, 80, IPPROTO_TCP, service_row(5));
    fill_slots(5, {kPodA, kPodB});
  }
  Fate syn(const IpAddress& to) { return receive(from_client(client, to) / tcp(kSyn)); }
};
XLB_RUN_SUITE(ClashTest, kEveryWay, kBothNets);

TEST_P(ClashTest, SamePortThroughTwoVipsGetsTwoBackends) {
  open_connection();
  const Fate second = syn(other_vip);
  expect_forwarded(second, from_client(client, pod_b) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_POD);
  // Both live: each answer carries its own VIP.
  Tcp from_a = tcp_answer(kAck), from_b = tcp_answer(kSyn | kAck);
  EXPECT_EQ(answer(from_pod(pod_a, client) / from_a).decoded().source, vip);
  EXPECT_EQ(answer(from_pod(pod_b, client) / from_b).decoded().source, other_vip);
}

TEST_P(ClashTest, WithoutASecondBackendItIsRefused) {
  fill_slots(5, {kPodA, 0});
  open_connection();
  expect_dropped(syn(other_vip), XLB_VERDICT_CLASH_WAITS);
  const Fate fate = syn(other_vip);
  expect_sent_back(fate, XLB_VERDICT_FLOW_CLASH);
  EXPECT_EQ(fate.decoded().tcp_flags & kRst, kRst);
  EXPECT_EQ(fate.decoded().source, other_vip);
  ASSERT_EQ(fate.events().size(), 1u);
  EXPECT_EQ(fate.events()[0].kind, XLB_EVENT_REFUSED);
  EXPECT_EQ(fate.events()[0].verdict, XLB_VERDICT_FLOW_CLASH);
  // The first connection lives on.
  EXPECT_EQ(answer(from_pod(pod_a, client) / tcp_answer(kAck)).decoded().source, vip);
}

TEST_P(ClashTest, WhoAsksAgainFindsTheOtherOver) {
  fill_slots(5, {kPodA, 0});
  open_connection();
  expect_dropped(syn(other_vip), XLB_VERDICT_CLASH_WAITS);
  receive(from_client() / tcp(kRst));
  expect_forwarded(syn(other_vip), from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_POD);
  EXPECT_EQ(answer(from_pod(pod_a, client) / tcp_answer(kSyn | kAck)).decoded().source, other_vip);
}

TEST_P(ClashTest, AClashMuchLaterIsAFirstOne) {
  fill_slots(5, {kPodA, 0});
  open_connection();
  syn(other_vip);
  lb_flow_key key = forward_key(IPPROTO_TCP);
  key.destination = other_vip.abi();
  lb_flow mark{};
  mark.seen_mono_ns = mono_ns() - XLB_CLASH_NS - XLB_SECOND_NS;
  rig().put_flow(key, mark, true);
  expect_dropped(syn(other_vip), XLB_VERDICT_CLASH_WAITS);
}

TEST_P(ClashTest, AThirdVipOnTwoBackendsIsRefused) {
  open_connection();
  syn(other_vip);
  const IpAddress third(v4() ? "192.168.0.202" : "fd00::202");
  rig().set_vip(third, vip_row(3));
  rig().set_service(3, 80, IPPROTO_TCP, service_row(6));
  fill_slots(6, {kPodB, kPodA});
  expect_dropped(syn(third), XLB_VERDICT_CLASH_WAITS);
  expect_sent_back(syn(third), XLB_VERDICT_FLOW_CLASH);
}

TEST_P(ClashTest, AnEndedFlowIsNoClash) {
  open_connection();
  receive(from_client() / tcp(kRst));
  expect_forwarded(syn(other_vip), from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_POD);
  EXPECT_EQ(answer(from_pod(pod_a, client) / tcp_answer(kSyn | kAck)).decoded().source, other_vip);
}

TEST_P(ClashTest, AnIdleFlowPastItsTimeIsNoClash) {
  open_connection();
  const Traces now = rig().traces();
  for (const auto& [key, flow] : now.flows) {
    lb_flow old = flow;
    old.seen_mono_ns = mono_ns() - node.tcp_idle_ns - XLB_SECOND_NS;
    rig().put_flow(key, old);
  }
  expect_forwarded(syn(other_vip), from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_POD);
}

TEST_P(ClashTest, DatagramsClashToo) {
  rig().set_service(kOtherVipId, 53, IPPROTO_UDP, service_row(6));
  fill_slots(6, {kPodAUdp, kPodBUdp});
  expect_one_verdict(receive(from_client() / udp() / Payload("a")), XLB_VERDICT_TO_POD);
  EXPECT_EQ(receive(from_client(client, other_vip) / udp() / Payload("b")).decoded().destination, pod_b);
  EXPECT_EQ(answer(from_pod(pod_a, client) / udp_answer() / Payload("c")).decoded().source, vip);
  EXPECT_EQ(answer(from_pod(pod_b, client) / udp_answer() / Payload("d")).decoded().source, other_vip);
}

TEST_P(ClashTest, AffinityToAClashingBackendTriesTheSecond) {
  rig().set_service(kOtherVipId, 80, IPPROTO_TCP, service_row(5, XLB_SERVICE_AFFINITY));
  const lb_affinity_key key{.client = client.abi(), .service_id = 5, .pad = 0};
  rig().put_affinity(key, {.seen_mono_ns = mono_ns(), .backend_id = kPodA, .generation = kGeneration});
  open_connection();
  expect_forwarded(syn(other_vip), from_client(client, pod_b) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_POD);
}

TEST_P(ClashTest, TwoPortsOfOneVipClashToo) {
  rig().set_service(kVipId, 81, IPPROTO_TCP, service_row(5));
  fill_slots(5, {kPodA, 0});
  open_connection();
  expect_dropped(receive(from_client() / tcp(kSyn, kClientPort, 81)), XLB_VERDICT_CLASH_WAITS);
  expect_sent_back(receive(from_client() / tcp(kSyn, kClientPort, 81)), XLB_VERDICT_FLOW_CLASH);
}

TEST_P(ClashTest, AnotherClientOrPortIsNoClash) {
  open_connection();
  expect_one_verdict(receive(from_client(client, other_vip) / tcp(kSyn, kClientPort + 1)), XLB_VERDICT_TO_POD);
  EXPECT_EQ(receive(from_client(far_client, other_vip) / tcp(kSyn)).decoded().destination, pod_a);
}

}  // namespace
}  // namespace xlb
