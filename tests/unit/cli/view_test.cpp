// SPDX-License-Identifier: Apache-2.0
// The documents of `-o json` keep to docs/schema, and say what the tables say.
#include "userspace/cli/view.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "tests/unit/cli/schema.hpp"
#include "userspace/core/allocator.hpp"
#include "userspace/core/verdict.hpp"

namespace xlb {
namespace {

Address address(const std::string& text) {
  auto parsed = parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

void expect_valid(const Json& document, const std::string& schema) {
  EXPECT_EQ(schema::violation(schema::Json::parse(document.dump()), schema::read(schema)), "") << document.dump(2);
}

// One pool, a service with a pod and a host backend, one without an address; attached, and everything in the tables.
class ViewTest : public testing::Test {
 protected:
  ViewTest() {
    Pool pool;
    pool.name.name = "home";
    pool.ranges = {{address("192.168.0.200"), address("192.168.0.200"), "192.168.0.200-192.168.0.200"}};
    seen_.objects.pools = {pool};
    L2Advertisement advertisement;
    advertisement.name.name = "home";
    seen_.objects.advertisements = {advertisement};
    for (const char* name : {"poor", "web"}) {
      Service service;
      service.name = {"default", name};
      service.ports = {{"http", Protocol::tcp, 80, "8000"}};
      EndpointSlice slice;
      slice.name = {"default", std::string(name) + "-1"};
      slice.service = name;
      slice.ports = {{"http", Protocol::tcp, 8000}};
      slice.endpoints = {{{address("10.42.0.8")}, true, true, false, ""}, {{address("192.168.0.11")}, true, true, false, ""}};
      seen_.objects.services.push_back(service);
      seen_.objects.slices.push_back(slice);
    }
    seen_.state.held[{"default", "web"}] = {{address("192.168.0.200")}, "home"};
    seen_.state.conflicts[address("192.168.0.201")] = "192.168.0.201 is in use by somebody";
    seen_.machine.node_name = "pi1";
    Link link;
    link.name = link.l3_name = "eth0";
    link.attach_ifindex = link.l3_ifindex = 2;
    link.subnets = {*parse_prefix("192.168.0.0/24")};
    seen_.machine.links = {link};
    seen_.machine.places[address("10.42.0.8")] = {Place::Kind::pod, 7, "veth7", "found"};
    seen_.machine.places[address("192.168.0.11")] = {Place::Kind::host, 0, "", "an address of this node"};
    seen_.attached = {{"eth0", 2, AttachMode::tc, "asked for", {"xlb_lan_tc", "xlb_egress"}}};
    seen_.node.epoch = 1;
    seen_.node.tcp_idle_ns = XLB_TCP_IDLE_DEFAULT_NS;
    judge();
    seen_.installed = judged_.wanted;
  }
  void judge() {
    const Allocation allocation = allocate(seen_.objects, seen_.state.held, seen_.state.conflicts);
    judged_.desired = decide(seen_.objects, allocation.held, seen_.machine, allocation.refusals, seen_.state.conflicts);
    auto wanted = compile(judged_.desired, seen_.installed, seen_.capacity, seen_.node.epoch);
    ASSERT_TRUE(wanted);
    judged_.wanted = *wanted;
  }
  const lb_service& service_row() { return seen_.installed.services.begin()->second; }

  Observation seen_;
  Judgement judged_;
};

TEST_F(ViewTest, StatusKeepsItsSchemaAndTellsWhatIsInForce) {
  const Json status = status_json(seen_, judged_, Json(), 0);
  expect_valid(status, "status");
  EXPECT_EQ(status["node"], "pi1");
  EXPECT_EQ(status["links"][0]["mode"], "tc");
  ASSERT_EQ(status["vips"].size(), 1u);
  EXPECT_EQ(status["vips"][0]["owner"], "pi1");
  EXPECT_EQ(status["vips"][0]["owned"], true);
  EXPECT_EQ(status["vips"][0]["services"][0], "default/web");
  ASSERT_EQ(status["services"].size(), 2u);
  const Json& web = status["services"][0];
  EXPECT_EQ(web["name"], "default/web");
  ASSERT_EQ(web["backends"].size(), 2u);
  EXPECT_EQ(web["backends"][0]["path"], "fast");
  EXPECT_EQ(web["backends"][0]["interface"], "veth7");
  EXPECT_EQ(web["backends"][1]["path"], "host");
  EXPECT_EQ(web["backends"][1]["healthy"], true);
  EXPECT_EQ(status["services"][1]["name"], "default/poor");
  EXPECT_EQ(status["services"][1]["vip"], "");
  EXPECT_NE(status["services"][1]["reason"], "");
  EXPECT_EQ(status["pending_edits"], 0);
  EXPECT_TRUE(status["try"].is_null());
}

TEST_F(ViewTest, AVipThatWasTakenOverIsToldApart) {
  Json vip = status_json(seen_, judged_, Json(), 0)["vips"][0];
  EXPECT_EQ(vip["taken_over"], false);
  const auto reason = vip["reason"].get<std::string>();
  seen_.installed.vips.begin()->second.flags |= XLB_VIP_TAKEN_OVER;
  const Json status = status_json(seen_, judged_, Json(), 0);
  expect_valid(status, "status");
  vip = status["vips"][0];
  EXPECT_EQ(vip["taken_over"], true);
  EXPECT_EQ(vip["reason"], (reason.empty() ? "" : reason + "; ") + "taken over from MetalLB, which is kept silent about it");
}

TEST_F(ViewTest, ABackendOnALostPeerIsNotHealthy) {
  judged_.desired.services.own(0).ports[0].backends[0].node = "pi2";
  seen_.installed.backends.begin()->second.node_id = 3;
  for (const bool alive : {true, false}) {
    seen_.installed.peers[3].flags = alive ? XLB_PEER_ALIVE : XLB_PEER_AWAITED;
    const Json backend = status_json(seen_, judged_, Json(), 0)["services"][0]["backends"][0];
    EXPECT_EQ(backend["healthy"], alive) << backend;
    EXPECT_EQ(backend["reason"] == "node pi2 is lost", !alive) << backend;
  }
}

TEST_F(ViewTest, StatusBelievesTheTablesAndNotTheDeclarations) {
  seen_.installed.vips.begin()->second.owned_epoch = 0;
  seen_.node.try_mono_ns = 5 * XLB_SECOND_NS;
  Json status = status_json(seen_, judged_, Json(), 2 * XLB_SECOND_NS);
  expect_valid(status, "status");
  EXPECT_EQ(status["vips"][0]["owned"], false);
  EXPECT_EQ(status["vips"][0]["owner"], "");
  EXPECT_NE(status["pending_edits"], 0);
  EXPECT_EQ(status["try"]["seconds_left"], 3);
  status = status_json(seen_, judged_, Json(), 6 * XLB_SECOND_NS);
  EXPECT_EQ(status["try"]["over"], true);
}

TEST_F(ViewTest, StatusWithoutALink) {
  seen_.attached.clear();
  seen_.installed = {};
  const Json status = status_json(seen_, judged_, Json(), 0);
  expect_valid(status, "status");
  EXPECT_TRUE(status["links"].empty());
  EXPECT_EQ(status["vips"][0]["owned"], false);
}

TEST_F(ViewTest, Pools) {
  const Json pools = pools_json(seen_);
  expect_valid(pools, "pools");
  EXPECT_EQ(pools[0]["total"], 1);
  EXPECT_EQ(pools[0]["assigned"], 1);
  EXPECT_EQ(pools[0]["available"], 0);
  EXPECT_EQ(pools[0]["holders"][0]["service"], "default/web");
  expect_valid(services_json(seen_, judged_), "services");
}

TEST_F(ViewTest, Stats) {
  Counters counters;
  counters.verdicts.resize(XLB_VERDICT_COUNT);
  counters.verdicts[XLB_VERDICT_ARP_REPLY] = {3, 180};
  counters.services.push_back({service_row().service_id, {10, 1000, 20, 2000, 4}});
  counters.services.push_back({service_row().service_id + 1, {9, 9, 9, 9, 9}});  // an id that nobody has any more
  const Json stats = stats_json(seen_, judged_, counters);
  expect_valid(stats, "stats");
  EXPECT_EQ(stats["verdicts"].size(), verdicts().size());
  EXPECT_EQ(stats["verdicts"]["arp_reply"]["packets"], 3);
  ASSERT_EQ(stats["services"].size(), 1u);
  EXPECT_EQ(stats["services"][0]["name"], "default/web");
  EXPECT_EQ(stats["services"][0]["packets"], 30);
  EXPECT_EQ(stats["services"][0]["bytes"], 3000);
  EXPECT_EQ(stats["services"][0]["flows"], 4);
}

TEST_F(ViewTest, Flows) {
  FlowRow row;
  row.key.source = address("192.168.0.50").to_abi();
  row.key.destination = address("192.168.0.200").to_abi();
  row.key.source_port = htons(40000);
  row.key.destination_port = htons(80);
  row.key.protocol = IPPROTO_TCP;
  row.key.direction = XLB_TO_BACKEND;
  row.value.vip = row.key.destination;
  row.value.vip_port = htons(80);
  row.value.service_id = service_row().service_id;
  row.value.state = XLB_FLOW_ESTABLISHED;
  row.value.seen_mono_ns = 10 * XLB_SECOND_NS;
  for (const auto& [id, backend] : seen_.installed.backends)
    if (Address::from_abi(backend.address) == address("10.42.0.8")) {
      row.value.backend_id = id;
      row.value.generation = backend.generation;
    }
  FlowRow reverse = row;
  reverse.key.direction = XLB_FROM_BACKEND;
  FlowRow stale = row;
  stale.value.generation += 1;
  FlowRow left_behind = row;
  left_behind.value.state = XLB_FLOW_ENDED;
  const std::vector<FlowRow> rows{row, reverse, stale, left_behind};

  Json flows = flows_json(seen_, judged_, rows, {}, 13 * XLB_SECOND_NS);
  expect_valid(flows, "flows");
  ASSERT_EQ(flows.size(), 2u) << "one a flow, not one a direction, and none that has ended";
  EXPECT_EQ(flows[0]["client_port"], 40000);
  EXPECT_EQ(flows[0]["backend"], "10.42.0.8");
  EXPECT_EQ(flows[0]["backend_port"], 8000);
  EXPECT_EQ(flows[0]["service"], "default/web");
  EXPECT_EQ(flows[0]["idle_seconds"], 3);
  EXPECT_EQ(flows[1]["state"], "gone");

  FlowFilter filter;
  filter.client = address("192.168.0.51");
  EXPECT_TRUE(flows_json(seen_, judged_, rows, filter, 0).empty());
  filter = {};
  const std::uint64_t late = 10 * XLB_SECOND_NS + XLB_TCP_IDLE_DEFAULT_NS + 1;
  EXPECT_TRUE(flows_json(seen_, judged_, {row}, filter, late).empty());
  filter.all = true;
  flows = flows_json(seen_, judged_, {row}, filter, late);
  ASSERT_EQ(flows.size(), 1u);
  EXPECT_EQ(flows[0]["state"], "over");
}

TEST_F(ViewTest, PeersAsDeclaredAndAsTheDaemonKnowsThem) {
  const auto node = [](const std::string& name, const std::string& text) {
    Node made;
    made.name = name;
    if (!text.empty()) made.addresses = {address(text)};
    return made;
  };
  seen_.objects.nodes = {node("pi3", "192.168.0.13"), node("pi1", "192.168.0.11"), node("pi2", "192.168.0.12")};
  Json peers = peers_json(seen_.objects, "pi1", Json());
  expect_valid(peers, "peers");
  ASSERT_EQ(peers.size(), 2u) << "this node is not its own peer";
  EXPECT_EQ(peers[0]["name"], "pi2");
  EXPECT_EQ(peers[0]["address"], "192.168.0.12");
  EXPECT_EQ(peers[0]["state"], "unknown");
  EXPECT_NE(peers[0]["reason"].get<std::string>().find("no daemon"), std::string::npos);

  const Json cluster = Json::parse(R"({"draining": true, "peers": [
    {"name": "pi9", "address": "192.168.0.19", "state": "reached", "detection_ms": 0, "last_change": null, "reason": "not declared on this node"},
    {"name": "pi2", "address": "", "state": "lost", "detection_ms": 91, "last_change": "2026-01-31T12:00:00.125Z", "reason": "silent"}],
    "vips": [{"vip": "192.168.0.200", "owner": "pi2", "reason": "pi2 claims it"}]})");
  peers = peers_json(seen_.objects, "pi1", cluster);
  expect_valid(peers, "peers");
  ASSERT_EQ(peers.size(), 3u);
  EXPECT_EQ(peers[0]["address"], "192.168.0.12") << "declared, where it has not stated one";
  EXPECT_EQ(peers[0]["state"], "lost");
  EXPECT_EQ(peers[1]["name"], "pi3");
  EXPECT_NE(peers[1]["reason"].get<std::string>().find("not known yet"), std::string::npos);
  EXPECT_EQ(peers[2]["name"], "pi9");

  Json status = status_json(seen_, judged_, cluster, 0);
  expect_valid(status, "status");
  EXPECT_EQ(status["peers"], peers);
  EXPECT_EQ(status["draining"], true);
  EXPECT_EQ(status["vips"][0]["owner"], "pi1") << "the tables say so";
  seen_.installed.vips.at(address("192.168.0.200")).owned_epoch = 0;
  status = status_json(seen_, judged_, cluster, 0);
  EXPECT_EQ(status["vips"][0]["owner"], "pi2");
  EXPECT_EQ(status["vips"][0]["reason"], "pi2 claims it");
  EXPECT_EQ(status["vips"][0]["owned"], false);
}

TEST_F(ViewTest, WhyAsFarAsOneNodeKnows) {
  Node other;
  other.name = "pi2";
  seen_.objects.nodes = {other};
  Json why = why_json(seen_, judged_, address("192.168.0.200"));
  expect_valid(why, "why");
  EXPECT_EQ(why["owner"], "pi1");
  ASSERT_EQ(why["candidates"].size(), 2u);
  EXPECT_EQ(why["candidates"][0]["node"], "pi1");
  EXPECT_EQ(why["candidates"][0]["eligible"], true);
  EXPECT_EQ(why["candidates"][1]["node"], "pi2");
  EXPECT_NE(why["candidates"][1]["reason"].get<std::string>().find("not known"), std::string::npos);
  expect_valid({{"service", "default/web"}, {"reason", ""}, {"vips", Json::array({why})}}, "why");
  EXPECT_TRUE(why_json(seen_, judged_, address("192.168.0.9")).is_null());

  seen_.machine.places.clear();
  judge();
  why = why_json(seen_, judged_, address("192.168.0.200"));
  EXPECT_EQ(why["candidates"][0]["eligible"], false);
  EXPECT_EQ(why["candidates"][0]["reason"], judged_.desired.vips[0].obstacle);
  EXPECT_NE(why["candidates"][0]["reason"], "");

  seen_.attached.clear();
  why = why_json(seen_, judged_, address("192.168.0.200"));
  EXPECT_EQ(why["owner"], "");
  EXPECT_NE(why["reason"].get<std::string>().find("xdp-lb attach"), std::string::npos);
}

TEST_F(ViewTest, Events) {
  lb_event event{};
  event.source = address("192.168.0.50").to_abi();
  event.destination = address("fd00::200").to_abi();
  event.source_port = htons(40000);
  event.destination_port = htons(80);
  event.backend = address("10.42.0.8").to_abi();
  event.backend_port = htons(8000);
  event.kind = XLB_EVENT_TRACE;
  event.verdict = XLB_VERDICT_TO_POD;
  event.protocol = IPPROTO_TCP;
  event.program = XLB_PROGRAM_LAN_TC;
  event.length = 74;
  const Json json = event_json(event, 0, "eth0");
  expect_valid(json, "trace");
  const std::string line = event_line(json);
  EXPECT_NE(line.find("eth0  xlb_lan_tc  to_pod  192.168.0.50:40000 > [fd00::200]:80  TCP  74 bytes  backend 10.42.0.8:8000"),
            std::string::npos)
      << line;
  event.verdict = 9999;
  expect_valid(event_json(event, 0, "eth0"), "trace");
}

}  // namespace
}  // namespace xlb
