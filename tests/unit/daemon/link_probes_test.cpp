// SPDX-License-Identifier: Apache-2.0
// On a wire between two network namespaces. Needs root; without it tests are skipped.
#include "userspace/daemon/link_probes.hpp"

#include <gtest/gtest.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>

#include "tests/unit/loader/network_space.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

const Mac kOurs{{2, 0, 0, 0, 0, 1}}, kNeighbour{{2, 0, 0, 0, 0, 9}};

Address address(const std::string& text) { return *parse_address(text); }

class LinkProbesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes network namespaces";
    auto node = NetworkSpace::enter();
    auto neighbour = NetworkSpace::make();
    ASSERT_TRUE(node) << node.error().text;
    ASSERT_TRUE(neighbour) << neighbour.error().text;
    node_.emplace(std::move(*node));
    neighbour_.emplace(std::move(*neighbour));
    ASSERT_TRUE(node_->run("ip link set lo up"));  // this thread stays there, and other tests have servers of their own
    for (const char* lan : {"lan", "lan2"}) {
      const auto made = node_->run(std::string("ip link add ") + lan + " address " + kOurs.text() + " type veth peer name " +
                                   lan + " address " + kNeighbour.text() + " netns " + neighbour_->path() +
                                   "; ip link set " + lan + " up");
      ASSERT_TRUE(made) << made.error().text;
      const auto up = neighbour_->run(std::string("ip link set ") + lan + " up");
      ASSERT_TRUE(up) << up.error().text;
    }
    // A link that has just been set up passes nothing until the kernel has looked at its carrier, once a second.
    for (const NetworkSpace* space : {&*node_, &*neighbour_}) {
      const auto ready = space->run(
          "for lan in lan lan2; do i=0; until ip -br link show $lan | grep -q ' UP '; do sleep 0.02; i=$((i+1)); [ $i -lt 500 ]; done; "
          "done");
      ASSERT_TRUE(ready) << ready.error().text;
    }
    const auto given = neighbour_->run("ip addr add 192.168.0.9/24 dev lan");
    ASSERT_TRUE(given) << given.error().text;
    auto loop = Loop::open();
    ASSERT_TRUE(loop);
    loop_.emplace(std::move(*loop));
    probes_ = std::make_unique<LinkProbes>(*loop_, [this] { ++settled_; });
  }
  static Link link(const std::string& name) {
    Link link;
    link.name = link.l3_name = name;
    link.attach_ifindex = link.l3_ifindex = if_nametoindex(name.c_str());
    link.mac = kOurs;
    return link;
  }
  Result<WireAnswers> ask(const std::string& on, const std::vector<Address>& addresses, LinkProbes::Clock::time_point since = {}) {
    return probes_->ask(link(on), addresses, {}, since);
  }
  void turn_until_settled(int times) {
    const auto last = Loop::Clock::now() + 20s;
    while (settled_ < times && Loop::Clock::now() < last) ASSERT_TRUE(loop_->turn(Loop::Clock::now() + 100ms));
    ASSERT_EQ(settled_, times);
  }

  std::optional<NetworkSpace> node_, neighbour_;
  std::optional<Loop> loop_;
  std::unique_ptr<LinkProbes> probes_;
  int settled_ = 0;
};

TEST_F(LinkProbesTest, TimersKeepFiringWhileTheWireIsAsked) {
  const std::vector<Address> asked{address("192.168.0.9"), address("192.168.0.200"), address("fd00::200")};
  auto first = ask("lan", asked);
  ASSERT_TRUE(first) << first.error().text;
  EXPECT_TRUE(first->taken.empty());
  EXPECT_EQ(first->open.size(), 3u);
  int ticks = 0;
  std::function<void()> tick = [&] {
    ++ticks;
    loop_->at(Loop::Clock::now() + 10ms, tick);
  };
  tick();
  turn_until_settled(1);
  EXPECT_GT(ticks, 20);  // of some eighty in the 0.8 s of a probe
  auto second = ask("lan", asked);
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->open.empty());
  ASSERT_EQ(second->taken.size(), 1u);
  EXPECT_EQ(second->taken[0].address, address("192.168.0.9"));
  EXPECT_EQ(second->taken[0].mac, kNeighbour);
}

TEST_F(LinkProbesTest, LinksAndAddressesAreAskedAtOnceAndEachQuestionOnce) {
  ASSERT_TRUE(ask("lan", {address("192.168.0.200")}));
  ASSERT_TRUE(ask("lan", {address("192.168.0.200"), address("192.168.0.201")}));
  ASSERT_TRUE(ask("lan2", {address("192.168.0.9")}));
  ASSERT_TRUE(ask("lan2", {address("192.168.0.9")}));
  turn_until_settled(3);
  auto other = ask("lan2", {address("192.168.0.9")});  // the neighbour answers on the wire that it has the address on
  ASSERT_TRUE(other);
  EXPECT_TRUE(other->open.empty());
}

TEST_F(LinkProbesTest, AnAnswerThatIsTooOldIsAskedForAgain) {
  ASSERT_TRUE(ask("lan", {address("192.168.0.9")}));
  turn_until_settled(1);
  ASSERT_TRUE(neighbour_->run("ip addr del 192.168.0.9/24 dev lan"));
  const auto since = LinkProbes::Clock::now();
  EXPECT_EQ(ask("lan", {address("192.168.0.9")})->taken.size(), 1u);
  EXPECT_EQ(ask("lan", {address("192.168.0.9")}, since)->open.size(), 1u);
  turn_until_settled(2);
  auto now = ask("lan", {address("192.168.0.9")}, since);
  ASSERT_TRUE(now);
  EXPECT_TRUE(now->open.empty());
  EXPECT_TRUE(now->taken.empty());
}

TEST_F(LinkProbesTest, ALinkThatCannotBeAskedIsAnErrorAndNotAnAnswer) {
  ASSERT_TRUE(node_->run("ip link set lan down"));
  ASSERT_TRUE(ask("lan", {address("192.168.0.200")}));
  turn_until_settled(1);
  auto failed = ask("lan", {address("192.168.0.200")});
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().text.find("lan"), std::string::npos) << failed.error().text;
}

TEST_F(LinkProbesTest, PeersDoNotCount) {
  ASSERT_TRUE(ask("lan", {address("192.168.0.9")}));
  turn_until_settled(1);
  auto answers = probes_->ask(link("lan"), {address("192.168.0.9")}, {kNeighbour}, {});
  ASSERT_TRUE(answers);
  EXPECT_TRUE(answers->taken.empty());
  EXPECT_TRUE(answers->open.empty());
}

}  // namespace
}  // namespace xlb
