// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/migration.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "userspace/kube/json.hpp"

namespace xlb {
namespace {

using Json = nlohmann::json;

TreeNode tree(const std::string& json) {
  TreeNode read;
  auto page = parse_list(R"({"kind":"List","metadata":{"resourceVersion":"1"},"items":[)" + json + "]}", {}, [&](TreeNode item) { read = std::move(item); });
  EXPECT_TRUE(page) << json;
  return read;
}

TEST(KubeMigrationTest, AWorkloadByChartOrManifest) {
  const Workload chart = read_workload(tree(R"({"metadata":{"name":"metallb-controller","namespace":"lb","uid":"u","resourceVersion":"9",
      "labels":{"app.kubernetes.io/name":"metallb","app.kubernetes.io/component":"controller"},"annotations":{"xdp-lb.io/replicas":"1"}},
      "spec":{"replicas":2,"selector":{"matchLabels":{"a":"b","c":"d"}},
              "template":{"spec":{"containers":[{"args":["--port=7472"]},{"command":["x"],"args":["--lb-class=y"]}]}}}})"));
  EXPECT_EQ(chart.name, (ObjectName{"lb", "metallb-controller"}));
  EXPECT_EQ(chart.identity, (ApiIdentity{"u", "9", false}));
  EXPECT_EQ(chart.replicas, 2u);
  EXPECT_EQ(chart.selector, "a=b,c=d");
  EXPECT_EQ(chart.arguments, (std::vector<std::string>{"--port=7472", "x", "--lb-class=y"}));
  EXPECT_EQ(chart.annotations.at(kReplicasAnnotation), "1");
  EXPECT_TRUE(is_metallb(chart, "controller"));
  EXPECT_FALSE(is_metallb(chart, "speaker"));
  const Workload manifest = read_workload(tree(R"({"metadata":{"name":"speaker","labels":{"app":"metallb","component":"speaker"}}})"));
  EXPECT_TRUE(is_metallb(manifest, "speaker"));
  EXPECT_FALSE(is_xdp_lb(manifest));
  EXPECT_TRUE(is_xdp_lb(read_workload(tree(R"({"metadata":{"name":"x","labels":{"app.kubernetes.io/name":"xdp-lb"}}})"))));
}

TEST(KubeMigrationTest, APodIsReadyWhenItsConditionSaysSoAndItStays) {
  const std::string pod = R"({"metadata":{"name":"p"},"spec":{"nodeName":"pi1","containers":[{"args":["run","--standby"]}]},
      "status":{"conditions":[{"type":"Initialized","status":"True"},{"type":"Ready","status":"True"}]}})";
  const MigratingPod read = read_migrating_pod(tree(pod));
  EXPECT_TRUE(read.ready);
  EXPECT_EQ(read.node, "pi1");
  EXPECT_EQ(read.arguments.back(), "--standby");
  for (const auto& [part, other] : {std::pair<std::string, std::string>{R"("Ready","status":"True")", R"("Ready","status":"False")"},
                                    {R"("name":"p")", R"("name":"p","deletionTimestamp":"2026-11-26T00:00:00Z")"}}) {
    std::string bent = pod;
    bent.replace(bent.find(part), part.size(), other);
    EXPECT_FALSE(read_migrating_pod(tree(bent)).ready) << bent;
  }
}

TEST(KubeMigrationTest, WhoseADefinitionIs) {
  const Definition helm = read_definition(tree(R"({"metadata":{"name":"ipaddresspools.metallb.io","annotations":{
      "meta.helm.sh/release-name":"metallb","meta.helm.sh/release-namespace":"lb"}}})"));
  EXPECT_EQ(helm.release, "lb/metallb");
  EXPECT_FALSE(helm.kept);
  const Definition kept = read_definition(tree(R"({"metadata":{"name":"x","annotations":{"helm.sh/resource-policy":"keep"}}})"));
  EXPECT_EQ(kept.release, "");
  EXPECT_TRUE(kept.kept);
}

TEST(KubeMigrationTest, TheControllerIsStoppedWithANoteAndStartedWithoutIt) {
  Workload controller;
  controller.name = {"lb", "controller"};
  controller.identity = {"u", "9", false};
  controller.replicas = 2;
  const ApiRequest stop = stop_controller(controller);
  EXPECT_EQ(stop.path, "/apis/apps/v1/namespaces/lb/deployments/controller");
  EXPECT_EQ(Json::parse(stop.body), Json::parse(R"({"metadata":{"uid":"u","resourceVersion":"9","annotations":{"xdp-lb.io/replicas":"2"}},
                                                    "spec":{"replicas":0}})"));
  EXPECT_EQ(Json::parse(start_controller(controller, 2).body),
            Json::parse(R"({"metadata":{"uid":"u","resourceVersion":"9","annotations":{"xdp-lb.io/replicas":null}},"spec":{"replicas":2}})"));
}

TEST(KubeMigrationTest, ACopyIsWithoutWhatTheServerAdds) {
  const ApiRequest copy = copy_metallb_object(
      R"({"apiVersion":"metallb.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"home","namespace":"lb","uid":"u","resourceVersion":"9",
          "labels":{"zone":"a"}},"spec":{"addresses":["192.168.0.0/24"]},"status":{"assignedIPv4":1}})",
      "ipaddresspools", "own");
  EXPECT_EQ(copy.path, "/apis/metallb.io/v1beta1/namespaces/own/ipaddresspools");
  EXPECT_EQ(copy.verb, ApiRequest::Verb::create);
  EXPECT_EQ(Json::parse(copy.body), Json::parse(R"({"apiVersion":"metallb.io/v1beta1","kind":"IPAddressPool",
      "metadata":{"name":"home","namespace":"own","labels":{"zone":"a"},"annotations":{"xdp-lb.io/copied-from":"lb"}},
      "spec":{"addresses":["192.168.0.0/24"]}})"));
}

}  // namespace
}  // namespace xlb
