// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/allocator_election.hpp"

#include <random>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

// One Lease as a server keeps it.
struct Server {
  std::optional<ApiLease> lease;
  int version = 0;
  bool take(const AllocatorElection::Order& order) {
    if (order.create ? lease.has_value() : !lease || lease->identity.version != order.lease.identity.version) return false;
    lease = order.lease;
    lease->identity.version = std::to_string(++version);
    lease->renewed = std::to_string(version);
    return true;
  }
};

struct Candidate {
  AllocatorElection election;
  std::optional<ApiLease> view;
  void run(Server& server, std::chrono::nanoseconds now) {
    view = server.lease;
    step(server, now);
  }
  void step(Server& server, std::chrono::nanoseconds now) {
    if (const auto order = election.step(view, now)) election.answered(server.take(*order), now);
  }
};

TEST(AllocatorElectionTest, TheFirstMakesTheLeaseAndRenewsIt) {
  Server server;
  Candidate pi1{AllocatorElection("pi1"), {}};
  pi1.run(server, 1s);
  ASSERT_TRUE(server.lease);
  EXPECT_EQ(server.lease->holder, "pi1");
  EXPECT_EQ(server.lease->duration_s, 15u);
  EXPECT_TRUE(pi1.election.leads(2s));
  EXPECT_EQ(pi1.election.next_step(), 6s);
  pi1.run(server, 2s);
  EXPECT_EQ(server.version, 1) << "not before it is time";
  pi1.run(server, 6s);
  EXPECT_EQ(server.version, 2);
  EXPECT_TRUE(pi1.election.leads(20s));
  EXPECT_FALSE(pi1.election.leads(21s));
  EXPECT_EQ(server.lease->transitions, 0u);
}

TEST(AllocatorElectionTest, AnotherTakesOverWhenItHasSeenNoChangeForTheDuration) {
  Server server;
  Candidate pi1{AllocatorElection("pi1"), {}}, pi2{AllocatorElection("pi2"), {}};
  pi1.run(server, 0s);
  pi2.run(server, 10s);  // sees it for the first time
  pi2.run(server, 24s);
  EXPECT_FALSE(pi2.election.leads(24s));
  EXPECT_EQ(pi2.election.next_step(), 25s);
  pi2.run(server, 25s);
  EXPECT_TRUE(pi2.election.leads(25s));
  EXPECT_EQ(server.lease->transitions, 1u);
  EXPECT_EQ(pi2.election.holder(), "pi1") << "as seen";
  pi1.run(server, 26s);
  EXPECT_FALSE(pi1.election.leads(26s));
  EXPECT_EQ(pi1.election.holder(), "pi2");
}

TEST(AllocatorElectionTest, WhoIsRefusedDoesNotLead) {
  Server server;
  Candidate pi1{AllocatorElection("pi1"), {}}, pi2{AllocatorElection("pi2"), {}};
  pi1.run(server, 0s);
  pi2.step(server, 0s);  // has not seen the Lease: its create fails
  EXPECT_FALSE(pi2.election.leads(0s));
  pi2.run(server, 1s);
  EXPECT_FALSE(pi2.election.leads(1s));
}

TEST(AllocatorElectionTest, AHolderThatGaveUpIsFollowedAtOnce) {
  Server server;
  server.lease = ApiLease{};
  Candidate pi2{AllocatorElection("pi2"), {}};
  pi2.run(server, 0s);
  EXPECT_TRUE(pi2.election.leads(0s));
}

TEST(AllocatorElectionTest, AnAbsurdDurationIsNotWaitedFor) {
  Server server;
  server.lease = ApiLease{};
  server.lease->holder = "pi9";
  server.lease->duration_s = 4'000'000'000;
  Candidate pi2{AllocatorElection("pi2"), {}};
  pi2.run(server, 0s);
  pi2.run(server, 60s);
  EXPECT_TRUE(pi2.election.leads(60s));
}

// With clocks that only run and views that may lag, two lead at once at most while one of them was paused: never when both see.
TEST(AllocatorElectionTest, ThereIsOneOrNobody) {
  for (unsigned seed = 1; seed <= 100; ++seed) {
    std::mt19937 chance(seed);
    Server server;
    std::vector<Candidate> all;
    for (const char* name : {"pi1", "pi2", "pi3"}) all.push_back({AllocatorElection(name), {}});
    std::chrono::nanoseconds now = 0s;
    std::vector<std::chrono::nanoseconds> back(all.size(), 0s);
    int led = 0;
    for (int turn = 0; turn < 400; ++turn) {
      now += 500ms;
      int leaders = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (chance() % 100 == 0) back[i] = now + std::chrono::seconds(chance() % 60);  // hangs
        if (now < back[i]) continue;
        all[i].run(server, now);
        leaders += all[i].election.leads(now) ? 1 : 0;
      }
      ASSERT_LE(leaders, 1) << "seed " << seed << " turn " << turn;
      led += leaders;
    }
    EXPECT_GT(led, 200) << "seed " << seed;
  }
}

}  // namespace
}  // namespace xlb
