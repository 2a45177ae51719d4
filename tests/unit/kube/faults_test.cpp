// SPDX-License-Identifier: Apache-2.0
// Whatever a server and the network do: afterwards the client sees what a newcomer sees, until then it keeps what it
// had, and it never asks without a pause.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/kube/cluster_objects.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using End = FakeReply::End;

// Waits of a two-hundredth of the real ones: a fault of a second is one of minutes.
ApiSettings brisk() {
  ApiSettings settings = hasty();
  settings.pace.first_wait = 5ms;
  settings.pace.longest_wait = 150ms;
  settings.pace.silence = 300ms;
  settings.pace.settled = 100ms;
  return settings;
}

std::unique_ptr<ApiServer> client_of(const FakeApi& api, ApiSettings settings) {
  auto server = ApiServer::connect(credentials_for(api), std::move(settings));
  EXPECT_TRUE(server) << server.error().text;
  return std::move(*server);
}

FakeReply watch_reply(std::string body, End end = End::orderly) {
  FakeReply reply;
  reply.body = std::move(body);
  reply.end = end;
  return reply;
}

FakeReply list_reply(std::string body) {
  FakeReply reply;
  reply.announced = true;
  reply.body = std::move(body);
  return reply;
}

std::string error_event(unsigned code, const std::string& message) {
  return Json{{"type", "ERROR"}, {"object", {{"kind", "Status"}, {"code", code}, {"message", message}}}}.dump() +
         "\n";
}

// ---- a line, cut
// ----------------------------------------------------------------------------------------------------

class Cut : public testing::TestWithParam<End> {};

Json namespace_json(std::size_t turn) {
  return {{"metadata", {{"name", "shop"}, {"labels", {{"turn", std::to_string(turn)}}}}}};
}

// Namespaces, since their lines are short.
TEST_P(Cut, AWatchLineMayEndAtEveryByte) {
  FakeApi api;
  put_small_cluster(api);
  ApiSettings settings = hasty();
  settings.pace.first_wait = 1ms;
  settings.pace.settled = 0ms;
  settings.pace.silence = 60s;
  const auto server = client_of(api, settings);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  std::mutex mutex;
  std::optional<std::size_t> cut_at;
  const auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (!request.of("namespaces") || !request.watch()) return std::nullopt;
    const std::scoped_lock lock(mutex);
    if (!cut_at) return std::nullopt;
    api.put("namespaces", namespace_json(*cut_at));
    FakeReply reply = watch_reply(api.line("MODIFIED", "namespaces", "", "shop"), GetParam());
    reply.send = *cut_at;
    cut_at.reset();
    return reply;
  });
  api.put("namespaces", namespace_json(100));
  const std::size_t length = api.line("MODIFIED", "namespaces", "", "shop").size();
  const unsigned lists = api.lists("namespaces");
  for (std::size_t at = 0; at <= length; ++at) {
    {
      const std::scoped_lock lock(mutex);
      cut_at = at;
    }
    api.end_watches("namespaces");
    const auto seen = [&] {
      const Labels& labels = server->state()->objects.namespaces->at("shop");
      return labels.contains("turn") && labels.at("turn") == std::to_string(at);
    };
    ASSERT_TRUE(wait_until(*server, seen)) << "cut after " << at << " bytes of " << length;
  }
  EXPECT_EQ(api.lists("namespaces"), lists) << "a cut line is no reason for a list";
  EXPECT_TRUE(agrees(*server, api));
}

INSTANTIATE_TEST_SUITE_P(Ways, Cut, testing::Values(End::cut, End::orderly),
                         [](const auto& info) { return std::string(info.param == End::cut ? "Cut" : "Orderly"); });

// ---- storms
// ---------------------------------------------------------------------------------------------------------

struct Storm {
  const char* name;
  std::function<std::optional<FakeReply>(const FakeRequest&)> reply;
  unsigned most_requests = 40;  // of services, in 0.9 s
};

std::optional<FakeReply> at_watch(const FakeRequest& request, FakeReply reply) {
  return request.watch() ? std::optional(std::move(reply)) : std::nullopt;
}

std::optional<FakeReply> at_list(const FakeRequest& request, FakeReply reply) {
  return request.watch() ? std::optional(watch_reply(error_event(410, "gone"))) : std::optional(std::move(reply));
}

const std::vector<Storm>& storms() {
  static const std::vector<Storm> all = {
      {"Watch410Status", [](const auto& r) { return at_watch(r, refusal(410, "Expired", "too old")); }},
      {"Watch410Event", [](const auto& r) { return at_watch(r, watch_reply(error_event(410, "too old"))); }},
      {"Watch504",
       [](const auto& r) {
         return at_watch(r, refusal(504, "Timeout", "Too large resource version: 9, current: 5"));
       }},
      {"Watch504Event",
       [](const auto& r) { return at_watch(r, watch_reply(error_event(504, "Too large resource version"))); }},
      {"Watch500Event", [](const auto& r) { return at_watch(r, watch_reply(error_event(500, "etcd is gone"))); }},
      {"WatchEventWithoutCode",
       [](const auto& r) { return at_watch(r, watch_reply("{\"type\":\"ERROR\",\"object\":{}}\n")); }},
      {"Watch500", [](const auto& r) { return at_watch(r, refusal(500, "InternalError", "no")); }},
      {"WatchEndsAtOnce", [](const auto& r) { return at_watch(r, watch_reply("")); }},
      {"WatchCutAtOnce", [](const auto& r) { return at_watch(r, watch_reply("", End::cut)); }},
      {"WatchGarbage", [](const auto& r) { return at_watch(r, watch_reply("{]\n")); }},
      {"WatchHtml",
       [](const auto& r) { return at_watch(r, watch_reply("<html><body>please log in</body></html>\n")); }},
      {"WatchUnknownType",
       [](const auto& r) { return at_watch(r, watch_reply("{\"type\":\"MOVED\",\"object\":{}}\n")); }},
      {"WatchNoName",
       [](const auto& r) {
         return at_watch(r,
                         watch_reply("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}\n"));
       }},
      {"WatchDeep",
       [](const auto& r) {
         return at_watch(r, watch_reply("{\"type\":\"ADDED\",\"object\":" + std::string(100'000, '[') + "\n"));
       }},
      {"WatchEndlessLine",
       [](const auto& r) {
         FakeReply reply = watch_reply(std::string(65'536, 'x'));
         reply.endless = true;
         return at_watch(r, reply);
       }},
      {"WatchSlowLine",
       [](const auto& r) {
         FakeReply reply = watch_reply(std::string(10'000, ' '));
         reply.each_byte = 5ms;
         return at_watch(r, reply);
       }},
      {"WatchSilent", [](const auto& r) { return at_watch(r, watch_reply("", End::hang)); }},
      {"WatchRedirect",
       [](const auto& r) {
         FakeReply reply = refusal(302, "", "");
         reply.headers["Location"] = "http://127.0.0.1:1/";
         return at_watch(r, reply);
       }},
      {"List410", [](const auto& r) { return at_list(r, refusal(410, "Expired", "too old")); }},
      {"List504", [](const auto& r) { return at_list(r, refusal(504, "Timeout", "Too large resource version")); }},
      {"List500", [](const auto& r) { return at_list(r, refusal(500, "InternalError", "no")); }},
      {"List503", [](const auto& r) { return at_list(r, refusal(503, "ServiceUnavailable", "starting")); }},
      {"List403", [](const auto& r) { return at_list(r, refusal(403, "Forbidden", "no")); }},
      {"List404", [](const auto& r) { return at_list(r, refusal(404, "NotFound", "no")); }},
      {"List429",
       [](const auto& r) {
         FakeReply reply = refusal(429, "TooManyRequests", "slower");
         reply.headers["Retry-After"] = "1";
         return at_list(r, reply);
       },
       6},
      {"ListGarbage", [](const auto& r) { return at_list(r, list_reply("{\"items\":[{}")); }},
      {"ListHtml", [](const auto& r) { return at_list(r, list_reply("<html></html>")); }},
      {"ListEmpty", [](const auto& r) { return at_list(r, list_reply("")); }},
      {"ListOfNumbers",
       [](const auto& r) {
         return at_list(r, list_reply("{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[1,2]}"));
       }},
      {"ListWithoutNames",
       [](const auto& r) {
         return at_list(r, list_reply("{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"metadata\":{}}]}"));
       }},
      {"ListWithoutVersion", [](const auto& r) { return at_list(r, list_reply("{\"metadata\":{},\"items\":[]}")); }},
      {"ListCut",
       [](const auto& r) {
         FakeReply reply = list_reply("{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[]}");
         reply.send = 20;
         reply.end = End::cut;
         return at_list(r, reply);
       }},
      {"ListEndless",
       [](const auto& r) {
         FakeReply reply = watch_reply(std::string(1 << 20, ' '));
         reply.endless = true;
         return at_list(r, reply);
       }},
      {"ListLate",
       [](const auto& r) {
         FakeReply reply = list_reply("{}");
         reply.before = 300ms;
         return at_list(r, reply);
       }},
  };
  return all;
}

class Storms : public testing::TestWithParam<std::size_t> {};

TEST_P(Storms, PassAndLeaveTheStateRight) {
  const Storm& storm = storms()[GetParam()];
  FakeApi api;
  put_small_cluster(api);
  const auto server = client_of(api, brisk());
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  const auto before = server->state();
  auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    return request.of("services") ? storm.reply(request) : std::nullopt;
  });
  const unsigned asked = api.lists("services") + api.watches("services");
  const unsigned others = api.requests() - asked;
  api.end_watches("services");
  const auto end = Clock::now() + 900ms;
  std::vector<std::string> troubles;
  while (Clock::now() < end) {
    std::this_thread::sleep_for(20ms);
    server->drain();
    for (auto& trouble : server->take_troubles()) troubles.push_back(std::move(trouble));
    ASSERT_EQ(*server->state(), *before) << "a fault changes nothing";
  }
  const unsigned during = api.lists("services") + api.watches("services") - asked;
  EXPECT_LE(during, storm.most_requests);
  EXPECT_GE(during, 2U) << "it goes on asking";
  EXPECT_LE(api.requests() - during - asked, others + 60) << "other kinds are not drawn into it";
  EXPECT_LE(troubles.size(), 2U) << "said once: " << testing::PrintToString(troubles);
  for (const std::string& trouble : troubles) {
    EXPECT_LT(trouble.size(), 400U);
    EXPECT_EQ(trouble.find('\n'), std::string::npos);
  }
  // Meanwhile one has gone and one has come; only a list or the events say so.
  api.remove("services", "shop", "web");
  api.put("services", service_json("other", "192.168.0.201"));
  hooked.end();
  EXPECT_TRUE(agrees(*server, api));
  EXPECT_FALSE(server->state()->services->contains({"shop", "web"}));
  EXPECT_TRUE(wait_until(*server, [&] { return server->contact().reached; }));
}

TEST_P(Storms, AtTheBeginningThereIsNoStateUntilTheyPass) {
  const Storm& storm = storms()[GetParam()];
  FakeApi api;
  put_small_cluster(api);
  auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    return request.of("services") ? storm.reply(request) : std::nullopt;
  });
  const auto server = client_of(api, brisk());
  std::this_thread::sleep_for(300ms);
  server->drain();
  EXPECT_TRUE(server->state() == nullptr || std::string_view(storm.name).starts_with("Watch"));
  EXPECT_LE(api.lists("services") + api.watches("services"), storm.most_requests);
  hooked.end();
  EXPECT_TRUE(agrees(*server, api));
}

std::vector<std::size_t> storm_numbers() {
  std::vector<std::size_t> numbers(storms().size());
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  return numbers;
}
INSTANTIATE_TEST_SUITE_P(All, Storms, testing::ValuesIn(storm_numbers()),
                         [](const auto& info) { return std::string(storms()[info.param].name); });

// ---- what a server may go through
// -----------------------------------------------------------------------------------

TEST(Faults, AServerThatIsAwayChangesNothingAndIsSaidOnce) {
  FakeApi api;
  put_small_cluster(api);
  const auto server = client_of(api, brisk());
  ASSERT_TRUE(wait_until(*server, [&] { return server->contact().reached; }));
  const auto before = server->state();
  api.stop_listening();
  api.cut_all();
  std::vector<std::string> troubles;
  const auto take = [&] {
    for (auto& trouble : server->take_troubles()) troubles.push_back(std::move(trouble));
  };
  ASSERT_TRUE(wait_until(*server, [&] { return !server->contact().reached; }));
  std::this_thread::sleep_for(1s);
  server->drain();
  take();
  EXPECT_EQ(server->state(), before);
  ASSERT_EQ(troubles.size(), 1U) << testing::PrintToString(troubles);
  EXPECT_TRUE(troubles[0].starts_with("the API server cannot be reached: ")) << troubles[0];
  api.put("services", service_json("new"));
  api.listen_again();
  ASSERT_TRUE(agrees(*server, api));
  ASSERT_TRUE(wait_until(*server, [&] {
    take();
    return troubles.size() > 1;
  }));
  EXPECT_EQ(troubles[1], "this is over: the API server cannot be reached");
  EXPECT_TRUE(server->contact().reached);
}

TEST(Faults, ARestoredServerIsNoticed) {
  FakeApi api;
  put_small_cluster(api);
  for (int i = 0; i < 50; ++i) api.put("services", service_json("web", "192.168.0.200"));
  const auto server = client_of(api, brisk());
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  // Versions now lie in the future, and a watch from one hangs without a byte.
  api.restore(10);
  api.cut_all();
  api.put("services", service_json("restored"));
  EXPECT_TRUE(agrees(*server, api));
  EXPECT_TRUE(server->state()->services->contains({"shop", "restored"}));
}

TEST(Faults, AfterACompactionWhatIsGoneIsGone) {
  FakeApi api;
  put_small_cluster(api);
  const auto server = client_of(api, brisk());
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  api.stop_listening();
  api.cut_all();
  api.remove("services", "shop", "web");
  api.remove("ipaddresspools", "metallb-system", "home");
  api.compact();
  api.listen_again();
  EXPECT_TRUE(agrees(*server, api));
  EXPECT_TRUE(server->state()->services->empty());
  EXPECT_TRUE(server->state()->objects.pools.empty());
}

TEST(Faults, BookmarksCarryAQuietWatchOn) {
  FakeApi api;
  put_small_cluster(api);
  ApiSettings settings = brisk();
  settings.pace.silence = 600ms;
  const auto server = client_of(api, settings);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  const unsigned lists = api.lists("services");
  for (int i = 0; i < 10; ++i) {
    api.bookmark("services");
    std::this_thread::sleep_for(150ms);
  }
  EXPECT_EQ(api.lists("services"), lists) << "each bookmark is a sign of life";
  // And they are what a watch goes on from: everything older is forgotten, and no list is needed.
  api.compact();
  api.bookmark("services");
  ASSERT_TRUE(wait_until(*server, [&] { return true; }));
  std::this_thread::sleep_for(100ms);
  api.end_watches("services");
  api.put("services", service_json("later"));
  ASSERT_TRUE(wait_until(*server, [&] { return server->state()->services->contains({"shop", "later"}); }));
  EXPECT_EQ(api.lists("services"), lists);
}

TEST(Faults, RetryAfterIsHeeded) {
  FakeApi api;
  put_small_cluster(api);
  std::atomic<bool> busy{true};
  std::atomic<int> asked{0};
  const auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (!request.of("services") || !busy) return std::nullopt;
    ++asked;
    FakeReply reply = refusal(429, "TooManyRequests", "slower");
    reply.headers["Retry-After"] = "1";
    return reply;
  });
  const auto server = client_of(api, brisk());
  std::this_thread::sleep_for(800ms);
  EXPECT_EQ(asked, 1);
  busy = false;
  EXPECT_TRUE(agrees(*server, api));
}

// ---- credentials
// ----------------------------------------------------------------------------------------------------

class Token : public testing::Test {
 protected:
  Token() {
    std::string name = (std::filesystem::temp_directory_path() / "xlb-token-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    put_small_cluster(api_);
    hooked_.emplace(api_, [this](const FakeRequest& request) -> std::optional<FakeReply> {
      const std::scoped_lock lock(mutex_);
      if (request.header("authorization") == "Bearer " + good_) return std::nullopt;
      return refusal(401, "Unauthorized", "Unauthorized");
    });
  }
  ~Token() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string file() const { return folder_ + "/token"; }
  void write_token(const std::string& token) const { std::ofstream(file()) << token << "\n"; }
  void accept(const std::string& token) {
    const std::scoped_lock lock(mutex_);
    good_ = token;
  }
  std::string folder_, good_ = "one";
  std::mutex mutex_;
  FakeApi api_;
  std::optional<FakeApi::Hooked> hooked_;
};

TEST_F(Token, IsReadAgainWhenItIsRefused) {
  write_token("one");
  ApiCredentials credentials = credentials_for(api_);
  credentials.token.file = file();
  auto server = ApiServer::connect(credentials, brisk());
  ASSERT_TRUE(server) << server.error().text;
  ASSERT_TRUE(wait_until(**server, [&] { return (*server)->state() != nullptr; }));
  write_token("two");
  accept("two");
  ApiRequest request;
  request.path = "/api/v1/nodes";
  std::optional<ApiAnswer> got;
  (*server)->request(request, [&](const ApiAnswer& answer) { got = answer; });
  ASSERT_TRUE(wait_until(**server, [&] { return got.has_value(); }));
  EXPECT_TRUE(got->good()) << got->error;
  api_.cut_all();
  api_.put("services", service_json("new"));
  EXPECT_TRUE(wait_until(**server, [&] { return (*server)->state()->services->contains({"shop", "new"}); }));
}

TEST_F(Token, IsAskedForAnewWhereSomebodyKnowsMore) {
  std::atomic<int> asked{0};
  ApiSettings settings = brisk();
  ApiCredentials credentials = credentials_for(api_);
  credentials.token.text = "old";
  settings.again = [&]() -> Result<ApiCredentials> {
    ApiCredentials fresh = credentials_for(api_);
    fresh.token.text = ++asked > 1 ? "one" : "old";
    return fresh;
  };
  auto server = ApiServer::connect(credentials, settings);
  ASSERT_TRUE(server) << server.error().text;
  EXPECT_TRUE(wait_until(**server, [&] { return (*server)->state() != nullptr; }));
  const auto troubles = (*server)->take_troubles();
  ASSERT_FALSE(troubles.empty());
  EXPECT_TRUE(troubles[0].starts_with("the API server does not know us (401): ")) << troubles[0];
  EXPECT_EQ(asked, 2);
}

TEST_F(Token, AFileThatHasGoneLeavesTheTokenInUse) {
  write_token("one");
  ApiCredentials credentials = credentials_for(api_);
  credentials.token.file = file();
  auto server = ApiServer::connect(credentials, brisk());
  ASSERT_TRUE(server) << server.error().text;
  ASSERT_TRUE(wait_until(**server, [&] { return (*server)->state() != nullptr; }));
  std::filesystem::remove(file());
  api_.cut_all();
  api_.put("services", service_json("new"));
  EXPECT_TRUE(wait_until(**server, [&] { return (*server)->state()->services->contains({"shop", "new"}); }));
}

}  // namespace
}  // namespace xlb
