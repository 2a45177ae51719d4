// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/api_server.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <filesystem>

#include "tests/unit/kube/cluster_objects.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

std::unique_ptr<ApiServer> client_of(const FakeApi& api, ApiSettings settings = hasty()) {
  auto server = ApiServer::connect(credentials_for(api), std::move(settings));
  EXPECT_TRUE(server) << server.error().text;
  return std::move(*server);
}

std::size_t entries_of(const char* folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

TEST(ApiServer, ListsEveryKindAndThenHasAState) {
  FakeApi api;
  put_small_cluster(api);
  api.put(
      "services",
      Json::parse(
          R"({"metadata": {"namespace": "shop", "name": "inner"}, "spec": {"type": "ClusterIP", "ports": [{"port": 80}]}})"));
  api.put("endpointslices", slice_json("inner", "10.42.0.8"));
  const auto server = client_of(api);
  EXPECT_EQ(server->state(), nullptr);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  const ApiState& state = *server->state();
  ASSERT_EQ(state.objects.services.size(), 1U);
  EXPECT_EQ(state.objects.services[0].name.text(), "shop/web");
  EXPECT_EQ(state.objects.slices.size(), 1U);
  ASSERT_EQ(state.objects.nodes.size(), 1U);
  EXPECT_EQ(state.objects.nodes[0].addresses.at(0).text(), "192.168.0.11");
  EXPECT_EQ(state.objects.namespaces->at("shop").at("team"), "sales");
  EXPECT_EQ(state.objects.pools.at(0).name.text(), "metallb-system/home");
  EXPECT_EQ(state.objects.advertisements.size(), 1U);
  EXPECT_TRUE(state.metallb_kinds);
  EXPECT_TRUE(state.unreadable.empty());
  const ApiService& service = state.services->at({"shop", "web"});
  EXPECT_EQ(service.ingress.at(0).text(), "192.168.0.200");
  EXPECT_EQ(service.identity.uid, "uid-of-shop/web");
  EXPECT_TRUE(wait_until(*server, [&] { return server->contact().reached; }));
  EXPECT_EQ(server->counters().lists, 10U);
  EXPECT_GE(server->counters().updates, 8U);
}

TEST(ApiServer, HandsOutNoStateBeforeEachKindWasListed) {
  FakeApi api;
  put_small_cluster(api);
  std::atomic<bool> refuse{true};
  const auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (refuse && request.of("networkpolicies")) return refusal(403, "Forbidden", "networkpolicies is forbidden");
    return std::nullopt;
  });
  const auto server = client_of(api);
  std::vector<std::string> troubles;
  ASSERT_TRUE(wait_until(*server, [&] {
    for (auto& trouble : server->take_troubles()) troubles.push_back(trouble);
    return !troubles.empty();
  }));
  std::this_thread::sleep_for(300ms);
  server->drain();
  EXPECT_EQ(server->state(), nullptr);
  EXPECT_FALSE(server->contact().reached);
  for (auto& trouble : server->take_troubles()) troubles.push_back(trouble);
  ASSERT_EQ(troubles.size(), 1U) << "said once";
  EXPECT_EQ(troubles[0],
            "the API server refuses to list networkpolicies (403): networkpolicies is forbidden; grant list and "
            "watch on networkpolicies.networking.k8s.io");
  EXPECT_EQ(server->contact().trouble, troubles[0]);
  refuse = false;
  EXPECT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  EXPECT_TRUE(wait_until(*server, [&] {
    for (auto& trouble : server->take_troubles()) troubles.push_back(trouble);
    return troubles.size() > 1;
  }));
  EXPECT_EQ(troubles.at(1), "this is over: the API server refuses to list networkpolicies (403)");
}

TEST(ApiServer, FollowsChanges) {
  FakeApi api;
  put_small_cluster(api);
  const auto server = client_of(api);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  const auto before = server->state();
  api.put("services", service_json("web", "192.168.0.201"));
  api.put("services", service_json("dns"));
  api.remove("endpointslices", "shop", "web-1");
  ASSERT_TRUE(agrees(*server, api));
  EXPECT_EQ(server->state()->objects.services.size(), 2U);
  EXPECT_TRUE(server->state()->objects.slices.empty());
  EXPECT_EQ(before->objects.slices.size(), 1U) << "a state that was handed out stays as it was";
  api.put(
      "services",
      Json::parse(
          R"({"metadata": {"namespace": "shop", "name": "dns"}, "spec": {"type": "ClusterIP", "ports": [{"port": 80}]}})"));
  ASSERT_TRUE(agrees(*server, api));
  EXPECT_EQ(server->state()->services->size(), 1U) << "no LoadBalancer any more, and no address";
}

// With nothing else going on that would wake the client's thread.
TEST(ApiServer, AChangeIsSeenAtOnce) {
  FakeApi api;
  put_small_cluster(api);
  ApiSettings settings = hasty();
  settings.pace = WatchPace{};
  const auto server = client_of(api, settings);
  ASSERT_TRUE(wait_until(*server, [&] { return server->contact().reached; }));
  std::this_thread::sleep_for(500ms);
  std::vector<Clock::duration> took;
  for (int i = 0; i < 9; ++i) {
    const std::string name = "at-once-" + std::to_string(i);
    const auto begin = Clock::now();
    api.put("services", service_json(name));
    ASSERT_TRUE(wait_until(*server, [&] { return server->state()->services->contains({"shop", name}); }));
    took.push_back(Clock::now() - begin);
  }
  std::sort(took.begin(), took.end());
  EXPECT_LT(took[4], 300ms) << "the median; milliseconds on a machine that does nothing else";
}

TEST(ApiServer, GathersABurst) {
  FakeApi api;
  put_small_cluster(api);
  ApiSettings settings = hasty();
  settings.gather = 30ms;
  settings.distance = 60ms;
  const auto server = client_of(api, settings);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  const auto states = server->counters().states;
  const auto begin = Clock::now();
  for (int i = 0; i < 300; ++i) api.put("services", service_json("burst" + std::to_string(i)));
  ASSERT_TRUE(agrees(*server, api));
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
  EXPECT_LE(server->counters().states - states, static_cast<std::uint64_t>(took / 60 + 2)) << "one state each 60 ms";
  const auto after = server->counters().states;
  // What changes nothing that is kept gives no state.
  Json node = node_json("pi1", "192.168.0.11");
  node["status"]["images"] = Json::array({"nginx"});
  api.put("nodes", node);
  std::this_thread::sleep_for(150ms);
  EXPECT_EQ(server->counters().states, after);
}

TEST(ApiServer, ListsInPages) {
  FakeApi api;
  put_small_cluster(api);
  for (int i = 0; i < 95; ++i) api.put("services", service_json("s" + std::to_string(i)));
  ApiSettings settings = hasty();
  settings.pace.page = 10;
  const auto server = client_of(api, settings);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  EXPECT_EQ(server->state()->objects.services.size(), 96U);
  EXPECT_EQ(api.lists("services"), 10U);
}

TEST(ApiServer, BeginsAListAnewWhenItsTokenHasExpired) {
  FakeApi api;
  put_small_cluster(api);
  for (int i = 0; i < 95; ++i) api.put("services", service_json("s" + std::to_string(i)));
  std::atomic<int> pages{0};
  const auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    // Between the pages an object of the first one goes away, and the token grows old.
    if (request.of("services") && !request.watch() && ++pages == 5) {
      api.remove("services", "shop", "s0");
      api.compact();
    }
    return std::nullopt;
  });
  ApiSettings settings = hasty();
  settings.pace.page = 10;
  const auto server = client_of(api, settings);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  EXPECT_EQ(server->state()->objects.services.size(), 95U);
  EXPECT_FALSE(server->state()->services->contains({"shop", "s0"}));
  EXPECT_GE(pages, 15);
}

TEST(ApiServer, RunsWithoutMetallbsKindsAndFindsThemLater) {
  FakeApi api;
  put_small_cluster(api);
  for (const char* kind : {"ipaddresspools", "l2advertisements", "servicel2statuses"}) api.unknown(kind, true);
  const auto server = client_of(api);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  EXPECT_FALSE(server->state()->metallb_kinds);
  EXPECT_TRUE(server->state()->objects.pools.empty());
  EXPECT_EQ(server->state()->objects.services.size(), 1U);
  EXPECT_TRUE(server->take_troubles().empty()) << "a cluster without CRDs is in order";
  for (const char* kind : {"ipaddresspools", "l2advertisements", "servicel2statuses"}) api.unknown(kind, false);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state()->metallb_kinds; }));
  EXPECT_EQ(server->state()->objects.pools.size(), 1U);
}

TEST(ApiServer, WatchesOnlyPodsOfItsNode) {
  FakeApi api;
  put_small_cluster(api);
  std::mutex mutex;
  std::string selector;
  const auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    const std::scoped_lock lock(mutex);
    if (request.of("pods")) selector = request.query.at("fieldSelector");
    return std::nullopt;
  });
  ApiSettings settings = hasty();
  settings.node = "pi1";
  const auto server = client_of(api, settings);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(selector, "spec.nodeName=pi1");
}

// ---- requests
// -------------------------------------------------------------------------------------------------------

TEST(ApiServer, CarriesRequests) {
  FakeApi api;
  std::mutex mutex;
  std::vector<FakeRequest> seen;
  const auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.method == "GET" && !request.of("one")) return std::nullopt;
    const std::scoped_lock lock(mutex);
    seen.push_back(request);
    FakeReply reply;
    reply.announced = true;
    reply.status = request.method == "POST" ? 201 : 200;
    reply.body = "{\"kind\":\"Thing\"}";
    return reply;
  });
  const auto server = client_of(api);
  using Verb = ApiRequest::Verb;
  int answered = 0;
  const auto ask = [&](Verb verb, const std::string& path, const std::string& body) {
    ApiRequest request;
    request.verb = verb;
    request.path = path;
    request.body = body;
    server->request(std::move(request), [&](const ApiAnswer& answer) {
      EXPECT_TRUE(answer.good()) << answer.error;
      EXPECT_EQ(answer.body, "{\"kind\":\"Thing\"}");
      ++answered;
    });
    const int before = answered;
    EXPECT_TRUE(wait_until(*server, [&] { return answered > before; }));
  };
  ask(Verb::get, "/api/v1/one", "");
  ask(Verb::create, "/api/v1/things", "{\"a\":1}");
  ask(Verb::replace, "/api/v1/things/x?dryRun=All", "{\"a\":2}");
  ask(Verb::merge_patch, "/api/v1/things/x/status", "{\"a\":3}");
  ask(Verb::strategic_patch, "/api/v1/things/x", "{\"a\":4}");
  ask(Verb::apply_patch, "/api/v1/things/x", "{\"a\":5}");
  ApiRequest removal;
  removal.verb = Verb::remove;
  removal.path = "/api/v1/things/x";
  removal.only_uid = "u1";
  removal.only_version = "77";
  int removed = 0;
  server->request(removal, [&](const ApiAnswer&) { ++removed; });
  ASSERT_TRUE(wait_until(*server, [&] { return removed == 1; }));
  const std::scoped_lock lock(mutex);
  ASSERT_EQ(seen.size(), 7U);
  EXPECT_EQ(seen[1].method, "POST");
  EXPECT_EQ(seen[1].body, "{\"a\":1}");
  EXPECT_EQ(seen[1].query.at("fieldManager"), "xdp-lb");
  EXPECT_EQ(seen[1].header("content-type"), "application/json");
  EXPECT_EQ(seen[2].method, "PUT");
  EXPECT_EQ(seen[2].query.at("dryRun"), "All");
  EXPECT_EQ(seen[3].method, "PATCH");
  EXPECT_EQ(seen[3].header("content-type"), "application/merge-patch+json");
  EXPECT_EQ(seen[4].header("content-type"), "application/strategic-merge-patch+json");
  EXPECT_EQ(seen[5].header("content-type"), "application/apply-patch+yaml");
  EXPECT_EQ(seen[5].query.at("force"), "true");
  EXPECT_EQ(seen[6].method, "DELETE");
  EXPECT_EQ(Json::parse(seen[6].body)["preconditions"], (Json{{"uid", "u1"}, {"resourceVersion", "77"}}));
  EXPECT_EQ(server->counters().requests, 7U);
}

TEST(ApiServer, SaysWhyARequestFailed) {
  FakeApi api;
  const auto hooked = api.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.of("taken")) return refusal(409, "AlreadyExists", "leases \"taken\" already exists");
    FakeReply reply;
    if (request.of("late")) {
      reply.before = 500ms;
      return reply;
    }
    if (request.of("cut")) {
      reply.announced = true;
      reply.body = "{\"kind\":\"Thing\"}";
      reply.send = 5;
      reply.end = FakeReply::End::cut;
      return reply;
    }
    if (request.of("endless")) {
      reply.body = std::string(100'000, 'x');
      reply.endless = true;
      return reply;
    }
    return std::nullopt;
  });
  const auto server = client_of(api);
  const auto ask = [&](const std::string& path) {
    ApiRequest request;
    request.path = path;
    request.timeout = path.ends_with("late") ? 100ms : 5000ms;
    std::optional<ApiAnswer> got;
    server->request(std::move(request), [&](const ApiAnswer& answer) { got = answer; });
    EXPECT_TRUE(wait_until(*server, [&] { return got.has_value(); }));
    return *got;
  };
  const ApiAnswer taken = ask("/x/taken");
  EXPECT_TRUE(taken.conflict());
  EXPECT_EQ(taken.reason, "AlreadyExists");
  EXPECT_EQ(taken.error, "GET /x/taken: 409 AlreadyExists: leases \"taken\" already exists");
  EXPECT_FALSE(taken.unknown());
  const ApiAnswer late = ask("/x/late");
  EXPECT_EQ(late.status, 0U);
  EXPECT_TRUE(late.unknown());
  EXPECT_NE(late.error.find("timed out"), std::string::npos) << late.error;
  const ApiAnswer cut = ask("/x/cut");
  EXPECT_TRUE(cut.unknown());
  EXPECT_FALSE(cut.good());
  const ApiAnswer endless = ask("/x/endless");
  EXPECT_EQ(endless.error, "GET /x/endless: the answer is longer than 4 MiB");
  EXPECT_NE(ask("no/slash").error, "");
  EXPECT_NE(ask("/with blank").error, "");
}

TEST(ApiServer, ACallbackMayAskTheNextQuestion) {
  FakeApi api;
  put_small_cluster(api);
  const auto server = client_of(api);
  int depth = 0;
  std::function<void(const ApiAnswer&)> next = [&](const ApiAnswer& answer) {
    EXPECT_TRUE(answer.good()) << answer.error;
    if (++depth == 5) return;
    ApiRequest request;
    request.path = "/api/v1/nodes";
    server->request(std::move(request), next);
  };
  ApiRequest request;
  request.path = "/api/v1/nodes";
  server->request(std::move(request), next);
  EXPECT_TRUE(wait_until(*server, [&] { return depth == 5; }));
}

TEST(ApiServer, ManyRequestsAreAnsweredOnceEach) {
  FakeApi api;
  put_small_cluster(api);
  const auto server = client_of(api);
  std::map<int, int> answered;
  for (int i = 0; i < 200; ++i) {
    ApiRequest request;
    request.path = "/api/v1/nodes";
    server->request(std::move(request), [&answered, i](const ApiAnswer&) { ++answered[i]; });
  }
  ASSERT_TRUE(wait_until(*server, [&] { return answered.size() == 200; }));
  for (const auto& [number, times] : answered) EXPECT_EQ(times, 1) << number;
}

// ---- the end
// --------------------------------------------------------------------------------------------------------

void come_and_go(int times) {
  FakeApi api;
  put_small_cluster(api);
  for (int i = 0; i < times; ++i) {
    auto server = client_of(api);
    EXPECT_TRUE(i % 2 == 0 || wait_until(*server, [&] { return server->state() != nullptr; }));
    bool called = false;
    ApiRequest request;
    request.path = "/api/v1/nodes";
    server->request(std::move(request), [&](const ApiAnswer&) { called = true; });
    const auto begin = Clock::now();
    server.reset();
    EXPECT_LT(Clock::now() - begin, 1s);
    EXPECT_FALSE(called);
  }
}

TEST(ApiServer, EndsAtOnceAndLeavesNothing) {
  come_and_go(2);  // libcurl and OpenSSL open what they keep
  const std::size_t descriptors = entries_of("/proc/self/fd");
  const std::size_t threads = entries_of("/proc/self/task");
  come_and_go(20);
  EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
  EXPECT_EQ(entries_of("/proc/self/task"), threads);
}

TEST(ApiServer, EndsAtOnceWhileNobodyAnswers) {
  FakeApi api;
  const auto hooked = api.hook([](const FakeRequest&) -> std::optional<FakeReply> {
    FakeReply reply;
    reply.before = 60s;
    return reply;
  });
  auto server = client_of(api);
  std::this_thread::sleep_for(100ms);
  const auto begin = Clock::now();
  server.reset();
  EXPECT_LT(Clock::now() - begin, 1s);
}

TEST(ApiServer, RefusesCredentialsThatMakeNoSense) {
  ApiCredentials credentials;
  credentials.origin = "/etc/x.yaml, context home";
  credentials.server = "10.0.0.1:6443";
  const auto server = ApiServer::connect(credentials, {});
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().text,
            "/etc/x.yaml, context home: server: \"10.0.0.1:6443\" is no URL of an API server: write it as "
            "https://192.168.0.10:6443");
}

}  // namespace
}  // namespace xlb
