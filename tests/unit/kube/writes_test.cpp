// SPDX-License-Identifier: Apache-2.0
// What goes over the wire, field by field; that a real server takes it is asked in tests/kube.
#include "userspace/kube/writes.hpp"

#include <nlohmann/json.hpp>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using Json = nlohmann::json;
using Verb = ApiRequest::Verb;
using test::address;

const ApiWriter kWriter{"metallb-system", "pi1", "xdp-lb-x7k2p", "pod-uid"};
constexpr std::uint64_t kNow = 1'764'180'957'000'042;  // 2025-11-26T18:15:57.000042Z

Json body(const ApiRequest& request) {
  return Json::parse(request.body);
}

TEST(WritesTest, Times) {
  EXPECT_EQ(micro_time(0), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(micro_time(kNow), "2025-11-26T18:15:57.000042Z");
}

TEST(WritesTest, ALeaseIsMadeWithoutAVersionAndReplacedWithOne) {
  const ApiLease lease = address_lease_object({address("192.168.0.200"), {{"u-1", {"shop", "web"}}}, false, {}});
  const ApiRequest made = write_lease(kWriter, "vip-192.168.0.200", lease, kNow);
  EXPECT_EQ(made.verb, Verb::create);
  EXPECT_EQ(made.path, "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases");
  EXPECT_EQ(body(made)["spec"], (Json{{"holderIdentity", "u-1"}})) << "it never runs out";
  EXPECT_EQ(body(made)["metadata"]["annotations"][kServicesAnnotation], "u-1 shop/web");
  EXPECT_FALSE(body(made)["metadata"].contains("resourceVersion"));

  ApiLease elected;
  elected.identity = {"lease-uid", "17", false};
  elected.holder = "pi1";
  elected.duration_s = 15;
  elected.transitions = 2;
  const ApiRequest renewed = write_lease(kWriter, "xdp-lb-allocator", elected, kNow);
  EXPECT_EQ(renewed.verb, Verb::replace);
  EXPECT_EQ(renewed.path, "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/xdp-lb-allocator");
  EXPECT_EQ(body(renewed)["metadata"]["resourceVersion"], "17");
  EXPECT_EQ(body(renewed)["metadata"]["uid"], "lease-uid");
  EXPECT_EQ(body(renewed)["spec"]["leaseDurationSeconds"], 15);
  EXPECT_EQ(body(renewed)["spec"]["leaseTransitions"], 2);
  EXPECT_EQ(body(renewed)["spec"]["renewTime"], "2025-11-26T18:15:57.000042Z");
}

TEST(WritesTest, ALeaseGoesOnlyAsItWasSeen) {
  const ApiRequest gone = remove_lease(kWriter, "vip-192.168.0.200", {"lease-uid", "17", false});
  EXPECT_EQ(gone.verb, Verb::remove);
  EXPECT_EQ(gone.only_uid, "lease-uid");
  EXPECT_EQ(gone.only_version, "17");
  EXPECT_TRUE(gone.body.empty());
}

TEST(WritesTest, AStatusHasAddressesModeAndPoolTogether) {
  const StatusOrder order{{"shop", "web"}, {"u-1", "9", false}, {address("192.168.0.200"), address("fd00::200")}, "home", {}};
  const ApiRequest request = write_status(order);
  EXPECT_EQ(request.verb, Verb::merge_patch);
  EXPECT_EQ(request.path, "/api/v1/namespaces/shop/services/web/status");
  EXPECT_EQ(body(request), Json::parse(R"({
    "metadata": {"resourceVersion": "9", "uid": "u-1", "annotations": {"metallb.io/ip-allocated-from-pool": "home"}},
    "status": {"loadBalancer": {"ingress": [{"ip": "192.168.0.200", "ipMode": "VIP"}, {"ip": "fd00::200", "ipMode": "VIP"}]}}})"));
}

TEST(WritesTest, TakingAwayLeavesNothing) {
  EXPECT_EQ(body(write_status({{"shop", "web"}, {"u-1", "9", false}, {}, {}, "why"})), Json::parse(R"({
    "metadata": {"resourceVersion": "9", "uid": "u-1", "annotations": {"metallb.io/ip-allocated-from-pool": null,
                                                                          "metallb.universe.tf/ip-allocated-from-pool": null}},
    "status": {"loadBalancer": {"ingress": null}}})"));
}

TEST(WritesTest, WhoIsStillThere) {
  const auto answer = [](unsigned status, const std::string& text) {
    ApiAnswer answer;
    answer.status = status;
    answer.body = text;
    return answer;
  };
  EXPECT_TRUE(still_there(answer(200, R"({"metadata":{"uid":"u-1"},"spec":{"type":"LoadBalancer"}})"), "u-1"));
  EXPECT_FALSE(still_there(answer(200, R"({"metadata":{"uid":"u-2"},"spec":{"type":"LoadBalancer"}})"), "u-1")) << "made again";
  EXPECT_FALSE(still_there(answer(200, R"({"metadata":{"uid":"u-1"},"spec":{"type":"ClusterIP"}})"), "u-1"));
  EXPECT_FALSE(still_there(answer(404, "{}"), "u-1"));
  // What is not known is not gone.
  for (const auto& unknown : {answer(0, ""), answer(504, ""), answer(403, "{}"), answer(200, ""), answer(200, "[]"), answer(200, "{\"metadata\":3}")})
    EXPECT_TRUE(still_there(unknown, "u-1")) << unknown.status << unknown.body;
}

TEST(WritesTest, AnEventIsAboutItsService) {
  const ApiRequest request = write_event(kWriter, {{"shop", "web"}, "u-1", true, "AllocationFailed", "no \xff available IPs"}, kNow);
  EXPECT_EQ(request.path, "/api/v1/namespaces/shop/events");
  const Json event = body(request);
  EXPECT_EQ(event["involvedObject"]["uid"], "u-1");
  EXPECT_EQ(event["type"], "Warning");
  EXPECT_EQ(event["reason"], "AllocationFailed");
  EXPECT_EQ(event["firstTimestamp"], "2025-11-26T18:15:57Z");
  EXPECT_EQ(event["source"]["host"], "pi1");
  EXPECT_TRUE(event["metadata"]["name"].get<std::string>().starts_with("web."));
}

TEST(WritesTest, WhatANodeAnnouncesIsOwnedByItsPod) {
  const ObjectName web{"shop", "web"};
  const Json made = body(make_l2_status(kWriter, web));
  EXPECT_EQ(made["metadata"]["labels"]["metallb.io/service-name"], "web");
  EXPECT_EQ(made["metadata"]["labels"]["metallb.io/node"], "pi1");
  ASSERT_TRUE(made["metadata"]["ownerReferences"].is_array());
  EXPECT_EQ(made["metadata"]["ownerReferences"][0]["uid"], "pod-uid");
  EXPECT_EQ(made["metadata"]["ownerReferences"][0]["kind"], "Pod");
  EXPECT_EQ(body(fill_l2_status(kWriter, web, {"eth0"})),
            Json::parse(R"({"status":{"node":"pi1","serviceName":"web","serviceNamespace":"shop","interfaces":[{"name":"eth0"}]}})"));
  EXPECT_NE(l2_status_name(kWriter, web), l2_status_name({"metallb-system", "pi2", "", ""}, web));
  EXPECT_FALSE(body(make_l2_status({"metallb-system", "pi2", "", ""}, web))["metadata"].contains("ownerReferences"));
}

TEST(WritesTest, AStateOfTheConfigurationBelongsToWhoeverWritesIt) {
  const ApiRequest made = make_configuration_state(kWriter, Reporter::node);
  EXPECT_EQ(made.verb, Verb::apply_patch);
  EXPECT_EQ(made.path, "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates/speaker-pi1");
  EXPECT_EQ(body(made)["metadata"]["labels"],
            (Json{{"metallb.io/component-type", "speaker"}, {"metallb.io/node-name", "pi1"}}));
  EXPECT_EQ(body(made)["metadata"]["ownerReferences"][0]["uid"], "pod-uid");
  const Json valid = body(fill_configuration_state(kWriter, Reporter::node, "", kNow))["status"];
  EXPECT_EQ(valid, Json::parse(R"({"result": "Valid", "conditions": [{"type": "configReconcilerValid", "status": "True",
      "reason": "Reconciled", "message": "", "lastTransitionTime": "2025-11-26T18:15:57Z"}]})"));

  const ApiRequest invalid = fill_configuration_state(kWriter, Reporter::allocator, "missing pool name", kNow);
  EXPECT_EQ(invalid.path, "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates/controller/status");
  EXPECT_EQ(body(invalid)["status"]["result"], "Invalid");
  EXPECT_EQ(body(invalid)["status"]["errorSummary"], "missing pool name");
  EXPECT_EQ(body(invalid)["status"]["conditions"][0]["type"], "poolReconcilerValid");
  EXPECT_EQ(body(invalid)["status"]["conditions"][0]["status"], "False");
}

TEST(WritesTest, NamesThatAreTooLongForALabelOrAName) {
  const ApiWriter far{"metallb-system", std::string(249, 'n') + ".lan", "", ""};
  EXPECT_LE(configuration_state_name(far, Reporter::node).size(), 253U);
  EXPECT_FALSE(body(make_configuration_state(far, Reporter::node))["metadata"]["labels"].contains("metallb.io/node-name"));
  EXPECT_FALSE(body(make_l2_status(far, {"shop", "web"}))["metadata"]["labels"].contains("metallb.io/node"));
  EXPECT_EQ(body(make_l2_status(far, {"shop", "web"}))["metadata"]["labels"]["metallb.io/service-name"], "web");
}

TEST(WritesTest, AnnotationsOfALeaseAreSetAndTakenAway) {
  const ApiRequest request = annotate_lease(kWriter, "vip-192.168.0.200", {"u", "7", false}, {{"a", "pi1"}, {"b", ""}});
  EXPECT_EQ(request.path, "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/vip-192.168.0.200");
  EXPECT_EQ(request.verb, ApiRequest::Verb::merge_patch);
  EXPECT_EQ(body(request), Json::parse(R"({"metadata":{"uid":"u","resourceVersion":"7","annotations":{"a":"pi1","b":null}}})"));
}

TEST(WritesTest, PoolsAreCountedByFamily) {
  const Pool pool = test::pool("home", {"192.168.0.200-192.168.0.203", "fd00::/64"});
  Assignments held;
  held[{"a", "a"}] = {{address("192.168.0.200"), address("fd00::1")}, "home"};
  held[{"a", "b"}] = {{address("192.168.0.200")}, "home"};  // shares it
  held[{"a", "c"}] = {{address("10.0.0.1")}, "other"};
  const PoolCounts counts = count(pool, held);
  EXPECT_EQ(counts.assigned4, 1u);
  EXPECT_EQ(counts.available4, 3u);
  EXPECT_EQ(counts.assigned6, 1u);
  EXPECT_EQ(counts.available6, 9'223'372'036'854'775'806u) << "as far as the server can count";
  EXPECT_EQ(body(write_pool_status({"metallb-system", "home"}, counts))["status"]["assignedIPv4"], 1);
}

}  // namespace
}  // namespace xlb
