// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/request.hpp"

#include <cstring>

#include "tests/unit/daemon/fakes.hpp"

namespace xlb {
namespace {


Request round_trip(const Request& request) {
  const std::string line = encode(request);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << "one line";
  auto decoded = decode_request(line);
  EXPECT_TRUE(decoded) << decoded.error().text;
  return *decoded;
}

TEST(RequestTest, EveryDemandSurvivesTheSocket) {
  const auto apply = round_trip({"/etc/a", "/pins", "none", ApplyRequest{{{"a.yaml", "kind: \"x\"\n---\n\xff"}}}});
  EXPECT_EQ(apply.config_dir, "/etc/a");
  EXPECT_EQ(apply.pin_dir, "/pins");
  EXPECT_EQ(apply.cgroup, "none");
  ASSERT_EQ(std::get<ApplyRequest>(apply.demand).documents.size(), 1u);
  EXPECT_TRUE(fake::has(std::get<ApplyRequest>(apply.demand).documents[0].yaml, "kind: \"x\"\n---\n"));

  const auto remove = round_trip({"", "", "", DeleteRequest{{{"Service", {"default", "web"}}}}});
  EXPECT_EQ(std::get<DeleteRequest>(remove.demand).objects[0], (ObjectId{"Service", {"default", "web"}}));

  const auto attach = round_trip({"", "", "", AttachWish{"eth0", AttachMode::generic, std::chrono::milliseconds(30000), {{"backends", 131072}, {"flows", 65536}}}});
  EXPECT_EQ(std::get<AttachWish>(attach.demand).interface, "eth0");
  EXPECT_EQ(std::get<AttachWish>(attach.demand).mode, AttachMode::generic);
  EXPECT_EQ(std::get<AttachWish>(attach.demand).try_for, std::chrono::milliseconds(30000));
  EXPECT_EQ(std::get<AttachWish>(attach.demand).table_sizes, (TableSizes{{"backends", 131072}, {"flows", 65536}}));
  const auto plain = round_trip({"", "", "", AttachWish{"eth0", AttachMode::tc, {}}});
  EXPECT_FALSE(std::get<AttachWish>(plain.demand).try_for);
  EXPECT_TRUE(std::get<AttachWish>(plain.demand).table_sizes.empty());

  EXPECT_EQ(std::get<DetachRequest>(round_trip({"", "", "", DetachRequest{"eth1"}}).demand).interface, "eth1");
  EXPECT_TRUE(std::holds_alternative<UpgradeRequest>(round_trip({"", "", "", UpgradeRequest{}}).demand));
  EXPECT_EQ(std::get<TraceRequest>(round_trip({"", "", "", TraceRequest{16}}).demand).every, 16u);
  EXPECT_TRUE(std::holds_alternative<ClusterRequest>(round_trip({"", "", "", ClusterRequest{}}).demand));
  EXPECT_FALSE(std::get<DrainRequest>(round_trip({"", "", "", DrainRequest{}}).demand).for_cordon);
  EXPECT_TRUE(std::get<DrainRequest>(round_trip({"", "", "", DrainRequest{true}}).demand).for_cordon);
  EXPECT_TRUE(std::holds_alternative<UndrainRequest>(round_trip({"", "", "", UndrainRequest{}}).demand));
  const auto why = round_trip({"", "", "", WhyRequest{fake::address("fd00::200")}});
  EXPECT_EQ(std::get<WhyRequest>(why.demand).vip, fake::address("fd00::200"));
}

TEST(RequestTest, NonsenseIsRefusedWithASentence) {
  for (const char* line : {"", "{", "[]", "42", "{}", R"({"xdp_lb":1})", R"({"xdp_lb":1,"config_dir":"","pin_dir":"","cgroup":"","verb":"dance"})",
                           R"({"xdp_lb":1,"config_dir":"","pin_dir":"","cgroup":"","verb":"apply","documents":[1]})",
                           R"({"xdp_lb":1,"config_dir":"","pin_dir":"","cgroup":"","verb":"attach","interface":"e","mode":"fast"})",
                           R"({"xdp_lb":1,"config_dir":"","pin_dir":"","cgroup":"","verb":"why","vip":"web"})",
                           R"({"xdp_lb":1,"config_dir":7,"pin_dir":"","cgroup":"","verb":"upgrade"})"}) {
    auto decoded = decode_request(line);
    ASSERT_FALSE(decoded) << line;
    EXPECT_TRUE(fake::has(decoded.error().text, "control socket"));
  }
  auto other = decode_request(R"({"xdp_lb":99})");
  ASSERT_FALSE(other);
  EXPECT_TRUE(fake::has(other.error().text, "version 99"));
}

TEST(RequestTest, ADaemonOfOtherFoldersRefuses) {
  Settings settings;
  EXPECT_TRUE(same_node(make_request(settings, UpgradeRequest{}), settings));
  Settings other = settings;
  other.config_dir = "/elsewhere";
  auto refused = same_node(make_request(other, UpgradeRequest{}), settings);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(fake::has(refused.error().text, "--config-dir"));
  other = settings;
  other.config_dir = "/etc/./xdp-lb/";
  other.pin_dir += "/";
  EXPECT_TRUE(same_node(make_request(other, UpgradeRequest{}), settings)) << "other spellings of the same";
  other.pin_dir = "/sys/fs/bpf/b";
  EXPECT_FALSE(same_node(make_request(other, UpgradeRequest{}), settings));
}

TEST(RequestTest, OutcomesErrorsAndEventsSurviveTheSocket) {
  Outcome outcome;
  outcome.changes = {{{"Service", {"default", "web"}}, Change::configured}};
  outcome.link = AttachedLink{"eth0", 2, AttachMode::native, "driver", {"xlb_lan", "xlb_lan_tc"}};
  outcome.attached = {"eth0"};
  outcome.services = {{{"default", "web"}, {fake::address("192.168.0.200"), fake::address("fd00::1")}, "home", ""},
                      {{"default", "poor"}, {}, "", "no available IPs"}};
  outcome.taken = {{fake::address("192.168.0.200"), {"eth0"}}};
  outcome.dropped = {fake::address("192.168.0.201")};
  outcome.edits = {"backend 1"};
  outcome.warnings = {"careful\nnow"};
  auto decoded = decode_answer(encode(outcome));
  ASSERT_TRUE(decoded) << decoded.error().text;
  const auto& back = std::get<Outcome>(*decoded);
  EXPECT_EQ(back.changes[0].object, outcome.changes[0].object);
  EXPECT_EQ(back.changes[0].change, Change::configured);
  ASSERT_TRUE(back.link);
  EXPECT_EQ(back.link->mode, AttachMode::native);
  EXPECT_EQ(back.link->programs, outcome.link->programs);
  EXPECT_EQ(back.services[0].addresses, outcome.services[0].addresses);
  EXPECT_EQ(back.services[1].refusal, "no available IPs");
  EXPECT_EQ(back.taken[0].links, outcome.taken[0].links);
  EXPECT_EQ(back.dropped, outcome.dropped);
  EXPECT_EQ(back.edits, outcome.edits);
  EXPECT_EQ(back.warnings, outcome.warnings);

  decoded = decode_answer(encode(Error{"so not"}));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<Error>(*decoded).text, "so not");

  lb_event event{};
  event.mono_ns = 0x0123456789abcdefull;
  event.verdict = XLB_VERDICT_TO_POD;
  event.mac[5] = 0xfe;
  decoded = decode_answer(encode(event));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::memcmp(&std::get<lb_event>(*decoded), &event, sizeof(event)), 0);

  decoded = decode_answer(encode(ClusterAnswer{R"({"left":[], "node":"pi1\n"})"}));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<ClusterAnswer>(*decoded).json, R"({"left":[],"node":"pi1\n"})");

  EXPECT_FALSE(decode_answer(R"({"event":"00"})"));
  EXPECT_FALSE(decode_answer("{}"));
}

}  // namespace
}  // namespace xlb
