// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/watch.hpp"

#include <gtest/gtest.h>

#include <random>

namespace xlb {
namespace {

using namespace std::chrono_literals;
using Time = Watch::Time;
using Kind = Watch::Failure::Kind;
using Objects = Watch::Objects;

Watch services() {
  return Watch({"services", "", false});
}

Watch::Failure status(unsigned code, const std::string& text = "why", Time retry_after = {}) {
  return {Kind::status, code, text, retry_after};
}

// At its first watch, of version 100, since time 0.
Watch watching() {
  Watch watch = services();
  EXPECT_TRUE(watch.ask(0s, 0));
  watch.page("100", "", 0s, 0);
  EXPECT_TRUE(watch.ask(0s, 0)->watch);
  watch.opened(0s);
  return watch;
}

std::string next_query(Watch& watch, Time* at = nullptr) {
  const Time when = watch.wake();
  if (at != nullptr) *at = when;
  const auto question = watch.ask(when, 0);
  return question ? question->query : "nothing";
}

TEST(Watch, ListsInPagesThenWatchesFromTheListsVersion) {
  Watch watch = services();
  auto question = watch.ask(5s, 0);
  ASSERT_TRUE(question);
  EXPECT_FALSE(question->watch);
  EXPECT_EQ(question->query, "limit=250");
  EXPECT_FALSE(watch.ask(5s, 0)) << "one question at a time";
  auto reaction = watch.page("100", "a b/=", 5s, 0);
  EXPECT_EQ(reaction.objects, Objects::keep);
  question = watch.ask(5s, 0);
  ASSERT_TRUE(question);
  EXPECT_EQ(question->query, "limit=250&continue=a%20b%2F%3D");
  reaction = watch.page("100", "", 5s, 0);
  EXPECT_EQ(reaction.objects, Objects::commit);
  question = watch.ask(5s, 0.5);
  ASSERT_TRUE(question);
  EXPECT_TRUE(question->watch);
  EXPECT_EQ(question->query, "watch=1&allowWatchBookmarks=true&timeoutSeconds=450&resourceVersion=100");
}

TEST(Watch, GoesOnBehindTheLastLine) {
  Watch watch = watching();
  watch.line("105", 20s);
  watch.line("109", 40s);  // a bookmark is as good
  const auto reaction = watch.ended(60s, 0);
  EXPECT_EQ(reaction.objects, Objects::keep);
  Time at{};
  EXPECT_NE(next_query(watch, &at).find("resourceVersion=109"), std::string::npos);
  EXPECT_EQ(at, 60s) << "at once: it ended in good order";
}

TEST(Watch, AShortWatchIsAFailure) {
  Watch watch = watching();
  watch.line("105", 1s);
  watch.ended(1s, 0);
  EXPECT_GT(watch.wake(), 1s);
  EXPECT_NE(next_query(watch).find("resourceVersion=105"), std::string::npos);
}

TEST(Watch, ACutConnectionGoesOnWhereItWas) {
  Watch watch = watching();
  watch.line("105", 15s);
  const auto reaction = watch.failed({Kind::cut, 0, "reset", {}}, 20s, 0);
  EXPECT_TRUE(reaction.trouble.empty()) << "nothing to speak of yet";
  EXPECT_EQ(reaction.objects, Objects::keep);
  const auto question = watch.ask(watch.wake(), 0);
  ASSERT_TRUE(question && question->watch);
  EXPECT_NE(question->query.find("resourceVersion=105"), std::string::npos);
  EXPECT_TRUE(question->fresh_connection);
}

TEST(Watch, AVersionOfNoUseLeadsToAListFromNothing) {
  for (const unsigned code : {410U, 504U, 400U, 404U}) {
    Watch by_status = watching();
    by_status.failed(status(code), 20s, 0);
    EXPECT_EQ(next_query(by_status), "limit=250") << code;
    Watch by_event = watching();
    by_event.failed({Kind::event, code, "gone", {}}, 20s, 0);
    EXPECT_EQ(next_query(by_event), "limit=250") << code;
  }
  Watch nonsense = watching();
  EXPECT_FALSE(nonsense.failed({Kind::nonsense, 0, "not JSON", {}}, 20s, 0).trouble.empty());
  EXPECT_EQ(next_query(nonsense), "limit=250");
  Watch too_long = watching();
  too_long.failed({Kind::too_long, 200, "a line", {}}, 20s, 0);
  EXPECT_EQ(next_query(too_long), "limit=250");
}

TEST(Watch, ABusyServerIsAskedTheSameAgain) {
  for (const unsigned code : {429U, 500U, 502U, 503U, 401U, 403U}) {
    Watch watch = watching();
    watch.line("105", 15s);
    const auto reaction = watch.failed(status(code), 20s, 0);
    EXPECT_EQ(reaction.renew_credentials, code == 401);
    EXPECT_NE(next_query(watch).find("resourceVersion=105"), std::string::npos) << code;
  }
}

TEST(Watch, AnExpiredTokenBeginsTheListAnew) {
  Watch watch = services();
  EXPECT_TRUE(watch.ask(0s, 0));
  watch.page("100", "token", 0s, 0);
  EXPECT_EQ(next_query(watch), "limit=250&continue=token");
  const auto reaction = watch.failed(status(410), 1s, 0);
  EXPECT_EQ(reaction.objects, Objects::forget) << "the pages that came are of another list";
  EXPECT_EQ(next_query(watch), "limit=250");
}

TEST(Watch, APageThatFailedIsAskedForAgain) {
  Watch watch = services();
  EXPECT_TRUE(watch.ask(0s, 0));
  watch.page("100", "token", 0s, 0);
  EXPECT_EQ(next_query(watch), "limit=250&continue=token");
  EXPECT_EQ(watch.failed(status(500), 1s, 0).objects, Objects::keep);
  EXPECT_EQ(next_query(watch), "limit=250&continue=token");
}

TEST(Watch, APageThatIsTooLongIsAskedForInSmallerOnes) {
  Watch watch = services();
  for (const char* limit : {"limit=250", "limit=62", "limit=15", "limit=3"}) {
    EXPECT_EQ(next_query(watch), limit);
    EXPECT_TRUE(watch.failed({Kind::too_long, 200, "32 MiB", {}}, 1s, 0).trouble.empty());
  }
  EXPECT_EQ(next_query(watch), "limit=1");
  EXPECT_FALSE(watch.failed({Kind::too_long, 200, "32 MiB", {}}, 1s, 0).trouble.empty());
  EXPECT_EQ(next_query(watch), "limit=1");
}

TEST(Watch, AListWithoutAnEndIsNone) {
  Watch watch = services();
  Watch::Reaction reaction;
  unsigned pages = 0;
  for (; reaction.trouble.empty() && pages < 100'000; ++pages) {
    ASSERT_TRUE(watch.ask(watch.wake(), 0));
    reaction = watch.page("100", "more", watch.wake() == Time::max() ? 0s : watch.wake(), 0);
  }
  EXPECT_EQ(pages, 4001U);
  EXPECT_EQ(reaction.objects, Objects::forget);
}

// ---- silence
// --------------------------------------------------------------------------------------------------------

TEST(Watch, SilenceIsDeath) {
  Watch watch = watching();
  watch.line("105", 30s);
  EXPECT_EQ(watch.wake(), 120s);
  EXPECT_FALSE(watch.tick(119s, 0).give_up);
  const auto reaction = watch.tick(120s, 0);
  EXPECT_TRUE(reaction.give_up);
  const auto question = watch.ask(watch.wake(), 0);
  ASSERT_TRUE(question);
  EXPECT_EQ(question->query, "limit=250");
  EXPECT_TRUE(question->fresh_connection) << "the connection may be as dead as the watch";
}

TEST(Watch, SilenceCountsBeforeTheAnswerToo) {
  Watch watch = services();
  EXPECT_TRUE(watch.ask(0s, 0));
  watch.page("100", "", 0s, 0);
  EXPECT_TRUE(watch.ask(0s, 0));
  EXPECT_TRUE(watch.tick(90s, 0).give_up);
}

TEST(Watch, WatchesThatAreCutSoonAreSilentTogether) {
  Watch watch = watching();
  watch.ended(40s, 0);
  EXPECT_NE(next_query(watch).find("resourceVersion=100"), std::string::npos);
  watch.opened(40s);
  watch.failed({Kind::cut, 0, "reset by something on the way", {}}, 80s, 0);
  EXPECT_NE(next_query(watch).find("resourceVersion=100"), std::string::npos);
  watch.opened(81s);
  EXPECT_LT(watch.wake(), 92s);
  EXPECT_FALSE(watch.tick(89s, 0).give_up);
  EXPECT_TRUE(watch.tick(92s, 0).give_up);
  EXPECT_EQ(next_query(watch), "limit=250");
}

TEST(Watch, ALineMakesUpForSilence) {
  Watch watch = watching();
  for (Time now = 0s; now < 20min; now += 80s) {
    watch.line("101", now + 40s);
    watch.ended(now + 80s, 0);
    EXPECT_NE(next_query(watch).find("resourceVersion=101"), std::string::npos);
    watch.opened(now + 80s);
  }
}

TEST(Watch, ATimeWithoutAServerIsNoSilence) {
  Watch watch = watching();
  watch.line("101", 1s);
  watch.failed({Kind::cut, 0, "reset", {}}, 30s, 0);
  Time now = watch.wake();
  while (now < 10min) {
    ASSERT_TRUE(watch.ask(now, 0));
    watch.failed({Kind::unreachable, 0, "refused", {}}, now, 0);
    now = watch.wake();
  }
  EXPECT_NE(next_query(watch).find("resourceVersion=101"), std::string::npos);
}

// ---- waits
// ----------------------------------------------------------------------------------------------------------

TEST(Watch, WaitsLongerEachTimeUpToACeiling) {
  Watch watch = services();
  Time now{0};
  std::vector<std::int64_t> waits_ms;
  for (int i = 0; i < 14; ++i) {
    ASSERT_TRUE(watch.ask(now, 0));
    watch.failed({Kind::unreachable, 0, "refused", {}}, now, 1.0 - 1e-9);
    waits_ms.push_back((watch.wake() - now + 1us) / 1ms);
    now = watch.wake();
  }
  EXPECT_EQ(waits_ms, (std::vector<std::int64_t>{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000,
                                                 30000, 30000, 30000}));
}

TEST(Watch, ChanceSpreadsTheSecondHalfOfAWait) {
  for (const double chance : {0.0, 0.25, 0.5, 0.999}) {
    Watch watch = services();
    ASSERT_TRUE(watch.ask(0s, 0));
    watch.failed({Kind::unreachable, 0, "refused", {}}, 0s, chance);
    EXPECT_NEAR(static_cast<double>(watch.wake() / 1us), 50'000 + 50'000 * chance, 2) << chance;
  }
}

TEST(Watch, AListThatWorksDoesNotEndASeriesOfFailures) {
  Watch watch = services();
  Time now{0};
  Time last{0};
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(watch.ask(now, 0));
    watch.page("100", "", now, 0);
    ASSERT_TRUE(watch.ask(now, 0));
    watch.opened(now);
    watch.failed({Kind::event, 410, "gone", {}}, now, 0);
    last = watch.wake() - now;
    now = watch.wake();
  }
  EXPECT_EQ(last, 15s);
}

TEST(Watch, AWatchThatHoldsEndsIt) {
  Watch watch = services();
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(watch.ask(watch.wake(), 0));
    watch.failed({Kind::unreachable, 0, "refused", {}}, 0s, 0);
  }
  const Time now = watch.wake();
  ASSERT_TRUE(watch.ask(now, 0));
  watch.page("100", "", now, 0);
  ASSERT_TRUE(watch.ask(now, 0));
  watch.opened(now);
  EXPECT_FALSE(watch.troubled());
  EXPECT_EQ(watch.wake(), now + 10s) << "to say that it is over";
  EXPECT_FALSE(watch.tick(now + 9s, 0).over);
  EXPECT_TRUE(watch.tick(now + 10s, 0).over);
  EXPECT_FALSE(watch.tick(now + 11s, 0).over) << "once";
  watch.failed({Kind::cut, 0, "reset", {}}, now + 20s, 0);
  EXPECT_EQ(watch.wake() - (now + 20s), 50ms);
}

TEST(Watch, HeedsRetryAfterWithinReason) {
  Watch watch = services();
  ASSERT_TRUE(watch.ask(0s, 0));
  watch.failed(status(429, "", 7s), 0s, 0);
  EXPECT_EQ(watch.wake(), 7s);
  ASSERT_TRUE(watch.ask(7s, 0));
  watch.failed(status(503, "", 24h), 7s, 0);
  EXPECT_EQ(watch.wake(), 7s + 2min);
}

// ---- what is said
// ---------------------------------------------------------------------------------------------------

TEST(Watch, SaysWhatIsRefusedAndWhatToGrant) {
  Watch watch({"endpointslices", "discovery.k8s.io", false});
  Watch::Reaction reaction;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reaction.trouble, "") << "a server that starts forbids for a moment what it will grant";
    EXPECT_FALSE(watch.troubled());
    ASSERT_TRUE(watch.ask(watch.wake(), 0));
    reaction =
        watch.failed(status(403, "User \"x\" cannot list"), watch.wake() == Time::max() ? 0s : watch.wake(), 0);
  }
  EXPECT_EQ(reaction.trouble,
            "the API server refuses to list endpointslices (403): User \"x\" cannot list; grant list and watch on "
            "endpointslices.discovery.k8s.io");
  EXPECT_TRUE(watch.troubled());
}

TEST(Watch, AKindThatMayBeMissingIsAbsent) {
  Watch watch({"ipaddresspools", "metallb.io", true});
  ASSERT_TRUE(watch.ask(0s, 0));
  auto reaction = watch.failed(status(404), 0s, 0);
  EXPECT_EQ(reaction.objects, Objects::absent);
  EXPECT_TRUE(reaction.trouble.empty());
  EXPECT_FALSE(watch.troubled());
  EXPECT_EQ(watch.wake(), 30s);
  ASSERT_TRUE(watch.ask(30s, 0));
  reaction = watch.failed(status(404), 30s, 0);
  EXPECT_EQ(watch.wake(), 60s) << "asked again at the same distance, however often";
  ASSERT_TRUE(watch.ask(60s, 0));
  EXPECT_EQ(watch.page("7", "", 60s, 0).objects, Objects::commit) << "somebody has brought it";
  Watch needed = services();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(needed.ask(needed.wake(), 0));
    reaction = needed.failed(status(404), 0s, 0);
  }
  EXPECT_EQ(reaction.objects, Objects::keep);
  EXPECT_FALSE(reaction.trouble.empty());
}

TEST(Watch, ManySortsOfFailureAreAServerThatStarts) {
  Watch watch = watching();
  Watch::Reaction reaction = watch.failed({Kind::cut, 0, "reset", {}}, 20s, 0);
  EXPECT_EQ(reaction.trouble, "");
  for (const unsigned code : {403U, 429U, 403U, 503U, 410U, 429U, 504U}) {
    ASSERT_TRUE(watch.ask(watch.wake(), 0));
    reaction = watch.failed(status(code), 30s, 0);
    EXPECT_EQ(reaction.trouble, "") << code;
  }
}

TEST(Watch, ConnectionsThatAServerCutsDoNotHideWhatItAnswers) {
  Watch watch = services();
  std::vector<std::string> troubles;
  // An API server ends the connection of whatever it has answered by 401, other questions on it included.
  for (const unsigned code : {401U, 0U, 401U, 0U, 0U, 401U}) {
    ASSERT_TRUE(watch.ask(watch.wake(), 0));
    const Watch::Failure failure = code == 0 ? Watch::Failure{Kind::cut, 0, "GOAWAY", {}} : status(code);
    const auto reaction = watch.failed(failure, watch.wake(), 0);
    if (!reaction.trouble.empty()) troubles.push_back(reaction.trouble);
  }
  ASSERT_EQ(troubles.size(), 1U) << testing::PrintToString(troubles);
  EXPECT_TRUE(troubles[0].starts_with("the API server does not know us (401)")) << troubles[0];
}

TEST(Watch, NothingButCutsIsSaid) {
  Watch watch = services();
  Watch::Reaction reaction;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reaction.trouble, "") << i;
    const auto question = watch.ask(watch.wake(), 0);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->fresh_connection, i > 0);
    reaction = watch.failed({Kind::cut, 0, "nothing came", {}}, watch.wake(), 0);
  }
  EXPECT_EQ(reaction.trouble, "the API server's connections are cut before it has answered: nothing came");
  EXPECT_TRUE(watch.troubled());
}

TEST(Watch, OrdinaryLifeIsNotSpokenOf) {
  Watch watch = watching();
  EXPECT_TRUE(watch.failed(status(410), 20s, 0).trouble.empty());
  EXPECT_FALSE(watch.troubled());
}

// Whatever happens, it asks again, never two questions at once, and no more often than its waits allow.
TEST(Watch, NeverStopsAndNeverHurries) {
  std::mt19937 random(7);
  const auto chance = [&] { return std::uniform_real_distribution<double>(0, 0.999)(random); };
  for (int run = 0; run < 200; ++run) {
    Watch watch({"services", "", run % 2 == 0});
    Time now{0};
    int failures_in_a_row = 0;
    for (int step = 0; step < 300; ++step) {
      const Time when = std::max(now, watch.wake());
      ASSERT_LE(when - now, 2min);
      now = when;
      const auto question = watch.ask(now, chance());
      ASSERT_TRUE(question);
      ASSERT_FALSE(watch.ask(now, chance()));
      const int fate = std::uniform_int_distribution<int>(0, 9)(random);
      const Time before = now;
      if (question->watch && fate < 6) {
        watch.opened(now);
        const int lines = std::uniform_int_distribution<int>(0, 3)(random);
        for (int i = 0; i < lines; ++i) {
          now += Time(static_cast<std::int64_t>(chance() * 8e9));
          watch.line(std::to_string(step * 10 + i + 1), now);
        }
        if (fate < 2) {
          watch.ended(now, chance());
        } else if (fate == 2) {
          now += 90s;
          ASSERT_TRUE(watch.tick(now, chance()).give_up);
        } else {
          watch.failed({fate == 3 ? Kind::event : Kind::nonsense, 410, "x", {}}, now, chance());
        }
      } else if (!question->watch && fate < 6) {
        watch.page("5", fate < 3 ? "more" : "", now, chance());
        failures_in_a_row = 0;
        continue;
      } else {
        constexpr unsigned codes[] = {401, 403, 404, 410, 429, 500, 503, 504, 302, 0};
        const unsigned code = codes[std::uniform_int_distribution<std::size_t>(0, 9)(random)];
        if (code == 0) {
          watch.failed({step % 2 == 0 ? Kind::unreachable : Kind::cut, 0, "x", {}}, now, chance());
        } else {
          watch.failed(status(code), now, chance());
        }
        if (code == 404) failures_in_a_row = -1;  // that a kind is absent is an answer
      }
      if (now - before < 10s) {
        ++failures_in_a_row;
        ASSERT_GE(watch.wake() - now, 50ms) << "a failure is followed by a wait";
        ASSERT_TRUE(failures_in_a_row <= 12 || watch.wake() - now >= 15s);
      } else {
        failures_in_a_row = 0;
      }
    }
  }
}

}  // namespace
}  // namespace xlb
