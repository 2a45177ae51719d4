// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/waiting_requests.hpp"

#include "tests/unit/daemon/fakes.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using fake::address;

const char* const kWeb = R"(apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: home, namespace: metallb-system}
spec: {addresses: ["192.168.0.200-192.168.0.250"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: home, namespace: metallb-system}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8000, protocol: TCP}]
endpoints: [{addresses: ["10.42.0.8"]}]
)";

class WaitingRequestsTest : public testing::Test {
 protected:
  WaitingRequestsTest()
      : loop_(std::move(*Loop::open())),
        reconciler_(folder_.settings(), fake::edges(world_)),
        waiting_(loop_, reconciler_,
                 {[this](const Outcome& outcome) { done_.push_back(outcome); },
                  [this](WaitingRequests::Connection connection, const std::string& line) {
                    answers_.emplace_back(connection, line);
                  }}) {
    world_.attached = {{"eth0", 2, AttachMode::tc, "test", {"xlb_lan_tc"}}};
    world_.places[address("10.42.0.8")] = {Place::Kind::pod, 7, "veth7", "found"};
  }
  void ask(int connection, Demand demand) { waiting_.take(connection, make_request(folder_.settings(), std::move(demand))); }
  void add_web() { ask(3, ApplyRequest{{{"web.yaml", kWeb}}}); }
  // The only answer, to that connection, when it is an outcome.
  std::optional<Outcome> outcome(int connection = 3) {
    if (answers_.size() != 1 || answers_[0].first != connection) return std::nullopt;
    auto answer = decode_answer(answers_[0].second);
    if (!answer || !std::holds_alternative<Outcome>(*answer)) return std::nullopt;
    return std::get<Outcome>(*answer);
  }
  bool owned(const std::string& vip) {
    const auto row = world_.tables.vips.find(address(vip));
    return row != world_.tables.vips.end() && row->second.owned_epoch == world_.node.epoch;
  }
  // Turns the loop until an answer is there; false: none came in a long time.
  bool turn_until_answered() {
    const auto last = Loop::Clock::now() + 20s;
    while (answers_.empty() && Loop::Clock::now() < last) EXPECT_TRUE(loop_.turn(Loop::Clock::now() + 20ms));
    return !answers_.empty();
  }

  fake::World world_;
  fake::Folder folder_;
  Loop loop_;
  Reconciler reconciler_;
  std::vector<Outcome> done_;
  std::vector<std::pair<int, std::string>> answers_;
  WaitingRequests waiting_;
};

TEST_F(WaitingRequestsTest, WithNothingToWaitForTheAnswerComesAtOnce) {
  add_web();
  ASSERT_TRUE(outcome());
  EXPECT_EQ(outcome()->taken.size(), 1u);
  EXPECT_EQ(done_.size(), 1u);
  EXPECT_TRUE(waiting_.empty());
}

TEST_F(WaitingRequestsTest, AChangeIsNotMadeBeforeTheWireHasAnswered) {
  world_.silent_wire = true;
  add_web();
  EXPECT_TRUE(answers_.empty());
  EXPECT_TRUE(folder_.content().empty());
  EXPECT_EQ(world_.edits, 0u);
  waiting_.wire_answered();  // to somebody else's question
  EXPECT_TRUE(answers_.empty());
  world_.silent_wire = false;
  waiting_.wire_answered();
  ASSERT_TRUE(outcome());
  EXPECT_TRUE(owned("192.168.0.200"));
}

TEST_F(WaitingRequestsTest, WhatTheWireAnswersIsHeeded) {
  world_.silent_wire = true;
  add_web();
  world_.strangers[address("192.168.0.200")] = Mac{{2, 0, 0, 0, 0, 9}};
  world_.silent_wire = false;
  waiting_.wire_answered();
  ASSERT_TRUE(outcome());
  EXPECT_FALSE(owned("192.168.0.200"));
  EXPECT_TRUE(owned("192.168.0.201"));
}

TEST_F(WaitingRequestsTest, AnAttachStandsAndIsToldWithWhatFollowed) {
  add_web();
  ASSERT_EQ(answers_.size(), 1u);
  answers_.clear();
  std::filesystem::remove(folder_.settings().state_file());
  world_.attached.clear();
  world_.tables = {};
  world_.silent_wire = true;
  ask(4, AttachWish{"eth0", AttachMode::automatic, {}});
  EXPECT_EQ(world_.attach_calls, 1u);
  EXPECT_TRUE(answers_.empty());
  EXPECT_FALSE(owned("192.168.0.200"));
  world_.silent_wire = false;
  waiting_.wire_answered();
  ASSERT_TRUE(outcome(4));
  EXPECT_EQ(world_.attach_calls, 1u);
  ASSERT_TRUE(outcome(4)->link);
  EXPECT_EQ(outcome(4)->link->interface, "eth0");
  ASSERT_EQ(outcome(4)->taken.size(), 1u);
  EXPECT_TRUE(owned("192.168.0.200"));
}

TEST_F(WaitingRequestsTest, TheLockIsWaitedForWhileTheLoopTurns) {
  auto lock = Lock::try_take(folder_.settings().lock_file());
  ASSERT_TRUE(lock && *lock);
  add_web();
  EXPECT_TRUE(answers_.empty());
  int turns = 0;
  for (; turns < 5; ++turns) ASSERT_TRUE(loop_.turn(Loop::Clock::now() + 20ms));
  EXPECT_TRUE(answers_.empty());
  *lock = std::nullopt;
  ASSERT_TRUE(turn_until_answered());
  EXPECT_TRUE(outcome());
}

TEST_F(WaitingRequestsTest, ANeighbourIsWaitedForAndNotForEver) {
  world_.routed_until[address("10.42.0.8")] = 1;
  add_web();
  EXPECT_TRUE(answers_.empty());
  EXPECT_EQ(world_.asked_neighbours.size(), 1u);
  waiting_.neighbours_changed();
  ASSERT_TRUE(turn_until_answered());
  EXPECT_EQ(*world_.tables.returns.begin(), 7u);
  // This one never answers: it is served by the kernel path.
  answers_.clear();
  world_.routed_until[address("10.42.0.8")] = 1'000'000;
  ask(3, ApplyRequest{{{"web.yaml", std::string(kWeb) + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n"}}});
  EXPECT_TRUE(answers_.empty());
  ASSERT_TRUE(turn_until_answered());
  EXPECT_TRUE(outcome());
}

TEST_F(WaitingRequestsTest, WhoHasGoneChangesNothing) {
  world_.silent_wire = true;
  add_web();
  waiting_.forget(3);
  world_.silent_wire = false;
  waiting_.wire_answered();
  EXPECT_TRUE(answers_.empty());
  EXPECT_TRUE(folder_.content().empty());
}

}  // namespace
}  // namespace xlb
