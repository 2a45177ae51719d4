// SPDX-License-Identifier: Apache-2.0
// What the control socket says about the cluster, by a view that answers as told.
#include "userspace/daemon/cluster_document.hpp"

#include "tests/unit/daemon/fakes.hpp"
#include "userspace/daemon/request.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;

class Told : public ClusterView {
 public:
  std::vector<PeerView> peer_views;
  std::vector<VipView> vip_views;
  Drain state = Drain::none;
  std::optional<Error> refusal;

  [[nodiscard]] const std::vector<PeerView>& peers() const override { return peer_views; }
  [[nodiscard]] const std::vector<VipView>& vips() const override { return vip_views; }
  [[nodiscard]] Drain drained() const override { return state; }
  Result<void> drain(bool) override { return begin(Drain::handing_over); }
  Result<void> undrain() override { return begin(Drain::none); }

 private:
  Result<void> begin(Drain next) {
    if (refusal) return *refusal;
    state = next;
    return {};
  }
};

Json json_of(const Result<ClusterAnswer>& told) {
  EXPECT_TRUE(told) << told.error().text;
  return Json::parse(told->json);
}

VipView vip(const std::string& address, bool owned, const std::string& owner, const std::string& reason) {
  VipView view;
  view.address = fake::address(address);
  view.owned = owned;
  view.owner = owner;
  view.reason = reason;
  return view;
}

TEST(ClusterTest, PeersAndOwners) {
  Told told;
  PeerView peer;
  peer.name = "pi2";
  peer.listed = peer.known = peer.reached = peer.stale = true;
  peer.reason = "nobody minds it";
  peer.detection = 89'600us;
  peer.since = 10s;
  peer.said.addresses = {fake::address("192.168.0.12"), fake::address("fd00::12")};
  PeerView other;
  other.name = "pi3";
  told.peer_views = {peer, other};
  told.vip_views = {vip("192.168.0.200", false, "pi2", "pi2 claims it"),
                    vip("192.168.0.201", false, "", "no candidate")};
  const Now now{12s, std::chrono::system_clock::time_point(1'700'000'002'125ms)};
  EXPECT_EQ(cluster_document(told, now), Json::parse(R"({
    "draining": false,
    "peers": [
      {"name": "pi2", "address": "192.168.0.12", "state": "stale", "detection_ms": 90, "last_change": "2023-11-14T22:13:20.125Z",
       "reason": "nobody minds it"},
      {"name": "pi3", "address": "", "state": "unknown", "detection_ms": 0, "last_change": null,
       "reason": "not declared on this node"}],
    "vips": [{"vip": "192.168.0.200", "owner": "pi2", "reason": "pi2 claims it"},
             {"vip": "192.168.0.201", "owner": "", "reason": "no candidate"}]})"));
  told.state = Drain::done;
  EXPECT_EQ(json_of(answer(ClusterRequest{}, &told))["draining"], true);
}

TEST(ClusterTest, StatesOfAPeer) {
  PeerView peer;
  EXPECT_STREQ(peer_state(peer), "unknown");
  peer.known = true;
  EXPECT_STREQ(peer_state(peer), "lost");
  peer.heard = true;
  EXPECT_STREQ(peer_state(peer), "heard");
  peer.stale = true;
  EXPECT_STREQ(peer_state(peer), "heard") << "echoes told of an old lease, and do not come home any more";
  peer.reached = true;
  EXPECT_STREQ(peer_state(peer), "stale");
  peer.stale = false;
  EXPECT_STREQ(peer_state(peer), "reached");
  PeerView lost;
  lost.losses = 1;
  EXPECT_STREQ(peer_state(lost), "lost");
}

TEST(ClusterTest, AnotherConfigurationIsSaid) {
  PeerView peer;
  peer.listed = peer.known = peer.reached = true;
  peer.same_configuration = false;
  EXPECT_TRUE(fake::has(peer_document(peer, {})["reason"].get<std::string>(), "declares something else"));
}

TEST(ClusterTest, Times) {
  const auto at = [](std::chrono::milliseconds since) { return std::chrono::system_clock::time_point(since); };
  EXPECT_EQ(time_text(at(0ms)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(time_text(at(-1ms)), "1969-12-31T23:59:59.999Z");
}

TEST(ClusterTest, WhyNamesTheVipAndEveryCandidate) {
  Told told;
  told.vip_views = {vip("192.168.0.200", false, "pi2", "pi2 has the newer claim")};
  told.vip_views[0].candidates = {{"pi2", true, "owner", 1}, {"pi1", false, "draining", 2}};
  EXPECT_EQ(json_of(answer(WhyRequest{fake::address("192.168.0.200")}, &told)), Json::parse(R"({
    "vip": "192.168.0.200", "owner": "pi2", "reason": "pi2 has the newer claim",
    "candidates": [{"node": "pi2", "eligible": true, "reason": "owner", "rank": 1},
                   {"node": "pi1", "eligible": false, "reason": "draining", "rank": 2}]})"));
  EXPECT_EQ(json_of(answer(WhyRequest{fake::address("192.168.0.201")}, &told)), Json());
}

TEST(ClusterTest, DrainSaysWhatIsLeftAndMayRefuse) {
  Told told;
  told.vip_views = {vip("192.168.0.200", true, "pi1", "handing over to pi2"), vip("192.168.0.201", false, "pi2", "")};
  EXPECT_EQ(json_of(answer(DrainRequest{}, &told)), Json::parse(R"({
    "state": "handing_over", "left": [{"vip": "192.168.0.200", "reason": "handing over to pi2"}]})"));
  told.vip_views[0].owned = false;
  EXPECT_EQ(json_of(answer(UndrainRequest{}, &told)), Json::parse(R"({"state": "none", "left": []})"));
  told.refusal = Error{"listening still"};
  const auto refused = answer(DrainRequest{}, &told);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text, "listening still");
}

TEST(ClusterTest, ADaemonWithoutPeersKnowsNoMoreThanTheTables) {
  EXPECT_EQ(json_of(answer(ClusterRequest{}, nullptr)), Json());
  EXPECT_EQ(json_of(answer(WhyRequest{}, nullptr)), Json());
  for (const Demand& demand : {Demand(DrainRequest{}), Demand(UndrainRequest{})}) {
    const auto refused = answer(demand, nullptr);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(fake::has(refused.error().text, "xdp-lb peer add"));
  }
}

TEST(ClusterTest, ChangesAndQuestionsAreKeptApart) {
  for (const Demand& demand :
       {Demand(ClusterRequest{}), Demand(WhyRequest{}), Demand(DrainRequest{}), Demand(UndrainRequest{})})
    EXPECT_TRUE(asks_cluster(demand));
  for (const Demand& demand : {Demand(ApplyRequest{}), Demand(DeleteRequest{}), Demand(AttachWish{}),
                               Demand(DetachRequest{}), Demand(UpgradeRequest{}), Demand(TraceRequest{})}) {
    EXPECT_FALSE(asks_cluster(demand));
    EXPECT_FALSE(answer(demand, nullptr));
  }
}

}  // namespace
}  // namespace xlb
