// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/metrics.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "tests/unit/daemon/fakes.hpp"
#include "userspace/daemon/metrics_server.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using fake::address;
using fake::has;

// What this room needs of a data plane, besides what the other fakes do.
class CountingDataPlane : public fake::DataPlane {
 public:
  using fake::DataPlane::DataPlane;
  Result<Counters> counters() override {
    Counters counters;
    counters.verdicts.resize(XLB_VERDICT_COUNT);
    counters.verdicts[1] = {5, 600};
    counters.services.push_back({1, {1, 2, 3, 4, 5}});
    counters.services.push_back({9, {1, 1, 1, 1, 1}});  // nobody's any more
    counters.vips.push_back({address("192.168.0.200"), {7}});
    return counters;
  }
};

std::shared_ptr<LastPass> facts() {
  auto facts = std::make_shared<LastPass>();
  facts->node = "pi1";
  facts->attached = true;
  Pool pool;
  pool.name = {"metallb-system", "home"};
  pool.ranges = {{address("192.168.0.200"), address("192.168.0.203"), ""}, {address("fd00::200"), address("fd00::201"), ""}};
  facts->pools = {pool};
  facts->held[{"default", "web"}] = {{address("192.168.0.200"), address("fd00::200")}, "home"};
  DesiredVip vip;
  vip.address = address("192.168.0.200");
  vip.owned = true;
  vip.services = {{"default", "web"}};
  facts->vips = {vip};
  vip.address = address("fd00::200");
  vip.owned = false;
  facts->vips.push_back(vip);
  DesiredService service;
  service.name = {"default", "web"};
  DesiredBackend healthy, draining;
  draining.draining = true;
  service.ports = {{80, Protocol::tcp, {healthy, draining, healthy}, ""}};
  facts->services = {service};
  facts->ports[1] = {{"default", "web"}, address("192.168.0.200"), 80, Protocol::tcp};
  facts->tables = {{"xlb_vips", 2, 4096}};
  return facts;
}

TEST(MetricsTest, TheNamesOfMetalLBAndOurs) {
  fake::World world;
  CountingDataPlane data_plane(world);
  Metrics metrics;
  metrics.passed(20ms, false);
  metrics.passed(10ms, true);
  metrics.learned(facts());
  metrics.announced({address("192.168.0.200")});
  metrics.announced({address("192.168.0.200")});
  metrics.conflict(address("192.168.0.200"));
  metrics.add([](MetricsText& text) {
    text.family("xdp_lb_peers", MetricsText::Kind::gauge, "Others.");
    text.sample(std::uint64_t{2});
  });
  const std::string text = metrics.text(data_plane, {address("192.168.0.200")});
  for (const char* line :
       {"metallb_allocator_addresses_total{pool=\"home\"} 6\n", "metallb_allocator_addresses_in_use_total{pool=\"home\"} 2\n",
        "metallb_allocator_ipv4_addresses_total{pool=\"home\"} 4\n", "metallb_allocator_ipv4_addresses_in_use_total{pool=\"home\"} 1\n",
        "metallb_allocator_ipv6_addresses_total{pool=\"home\"} 2\n", "metallb_allocator_ipv6_addresses_in_use_total{pool=\"home\"} 1\n",
        "metallb_k8s_client_config_loaded_bool 1\n", "metallb_k8s_client_config_stale_bool 1\n",
        "metallb_speaker_announced{service=\"default/web\",protocol=\"layer2\",node=\"pi1\",ip=\"192.168.0.200\"} 1\n",
        "metallb_layer2_gratuitous_sent{ip=\"192.168.0.200\"} 2\n", "metallb_layer2_requests_received{ip=\"192.168.0.200\"} 7\n",
        "metallb_layer2_responses_sent{ip=\"192.168.0.200\"} 7\n", "xdp_lb_vips 2\n", "xdp_lb_vips_owned 1\n",
        "xdp_lb_conflict_frames_total{ip=\"192.168.0.200\"} 1\n",
        "xdp_lb_service_backends{service=\"default/web\",state=\"healthy\"} 2\n",
        "xdp_lb_service_backends{service=\"default/web\",state=\"draining\"} 1\n", "xdp_lb_table_rows{table=\"xlb_vips\"} 2\n",
        "xdp_lb_service_packets_total{service=\"default/web\",ip=\"192.168.0.200\",port=\"80\",protocol=\"TCP\",direction=\"in\"} 1\n",
        "xdp_lb_service_bytes_total{service=\"default/web\",ip=\"192.168.0.200\",port=\"80\",protocol=\"TCP\",direction=\"out\"} 4\n",
        "xdp_lb_service_flows_total{service=\"default/web\",ip=\"192.168.0.200\",port=\"80\",protocol=\"TCP\"} 5\n",
        "xdp_lb_passes_total 2\n", "xdp_lb_passes_failed_total 1\n", "xdp_lb_pass_seconds 0.01\n",
        "xdp_lb_pass_seconds_most 0.02\n", "xdp_lb_peers 2\n"})
    EXPECT_TRUE(has(text, line));
  EXPECT_FALSE(has(text, "ip=\"fd00::200\"} 1"));
}

// What the last pass decided is old news once a peer has died or come back.
TEST(MetricsTest, WhatMovedSinceTheLastPassHasMoved) {
  fake::World world;
  CountingDataPlane data_plane(world);
  Metrics metrics;
  auto moved = std::make_shared<LastPass>(*facts());
  moved->vips[1].services = {{"default", "web"}};
  metrics.learned(moved);
  const std::string text = metrics.text(data_plane, {address("fd00::200")});
  EXPECT_TRUE(has(text, "metallb_speaker_announced{service=\"default/web\",protocol=\"layer2\",node=\"pi1\",ip=\"fd00::200\"} 1\n"));
  EXPECT_FALSE(has(text, "metallb_speaker_announced{service=\"default/web\",protocol=\"layer2\",node=\"pi1\",ip=\"192.168.0.200\"}"));
  EXPECT_TRUE(has(text, "xdp_lb_vips_owned 1\n"));
  EXPECT_TRUE(has(metrics.text(data_plane, {}), "xdp_lb_vips_owned 0\n"));
}

TEST(MetricsTest, BeforeTheFirstPassThereIsLittleToSay) {
  fake::World world;
  CountingDataPlane data_plane(world);
  const std::string text = Metrics().text(data_plane, {});
  EXPECT_TRUE(has(text, "metallb_k8s_client_config_loaded_bool 0\n"));
  EXPECT_FALSE(has(text, "xdp_lb_verdict"));
}

TEST(MetricsServerTest, AddressesThatAreNoneAreRefusedInASentence) {
  for (const char* good : {"127.0.0.1:7472", "[::1]:7472", "0.0.0.0:1", "[::]:65535"}) {
    auto parsed = parse_listen_address(good);
    ASSERT_TRUE(parsed) << good;
    EXPECT_EQ(parsed->text(), good);
  }
  for (const char* bad : {"", "7472", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "localhost:7472",
                          "::1:7472", "[127.0.0.1]:7472", ":7472"}) {
    auto parsed = parse_listen_address(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_TRUE(has(parsed.error().text, "write ADDRESS:PORT"));
  }
}

TEST(MetricsServerTest, OnePageAndSentencesForTheRest) {
  const auto page = [] { return std::string("x 1\n"); };
  const auto answer = [&](const std::string& request) { return metrics_response(request + "\r\nHost: x\r\n\r\n", page); };
  EXPECT_TRUE(has(answer("GET /metrics HTTP/1.1"), "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
  EXPECT_TRUE(has(answer("GET /metrics?name=x HTTP/1.0"), "\r\n\r\nx 1\n"));
  EXPECT_TRUE(has(answer("HEAD /metrics HTTP/1.1"), "Content-Length: 4"));
  EXPECT_FALSE(has(answer("HEAD /metrics HTTP/1.1"), "x 1"));
  EXPECT_TRUE(has(answer("GET / HTTP/1.1"), "404"));
  EXPECT_TRUE(has(answer("POST /metrics HTTP/1.1"), "405"));
  for (const char* bad : {"", "GET", "GET /metrics", "GET /metrics HTTP/2", "\x16\x03\x01"}) EXPECT_TRUE(has(answer(bad), "400")) << bad;
}

class ServedMetricsTest : public testing::Test {
 protected:
  ServedMetricsTest() : loop_(std::move(*Loop::open())) {
    auto server = MetricsServer::open(loop_, {address("127.0.0.1"), 0}, [this] {
      ++pages_;
      return std::string(2'000'000, 'x');
    });
    EXPECT_TRUE(server) << server.error().text;
    if (server) server_ = std::move(*server);
  }
  int connect() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(server_->port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    sockets_.push_back(fd);
    turn();
    return fd;
  }
  void turn() { EXPECT_TRUE(loop_.turn(Loop::Clock::now() + 10ms)); }
  // Everything until the end of the connection; nothing: it did not end.
  std::optional<std::string> rest(int fd, Loop::Clock::duration patience = 20s) {
    std::string all;
    std::vector<char> buffer(65536);
    for (const auto last = Loop::Clock::now() + patience; Loop::Clock::now() < last;) {
      turn();
      for (;;) {
        const ssize_t length = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (length < 0 && errno == EAGAIN) break;
        if (length <= 0) return all;
        all.append(buffer.data(), static_cast<std::size_t>(length));
      }
    }
    return std::nullopt;
  }
  static void say(int fd, const std::string& text) { ASSERT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), ssize_t(text.size())); }
  ~ServedMetricsTest() override {
    for (const int fd : sockets_) close(fd);
  }

  Loop loop_;
  std::unique_ptr<MetricsServer> server_;
  int pages_ = 0;
  std::vector<int> sockets_;
};

TEST_F(ServedMetricsTest, ALongPageInPiecesAndAShortMemory) {
  for (int i = 0; i < 3; ++i) {
    const int fd = connect();
    say(fd, "GET /met");
    turn();
    say(fd, "rics HTTP/1.1\r\n\r\n");
    const auto answer = rest(fd);
    ASSERT_TRUE(answer);
    EXPECT_GT(answer->size(), 2'000'000u);
  }
  EXPECT_LT(pages_, 3);
}

TEST_F(ServedMetricsTest, TheLongWindedAreCutOff) {
  const int long_winded = connect();
  say(long_winded, std::string(HttpServer::kRequestBytes, 'x'));
  EXPECT_TRUE(rest(long_winded));
  EXPECT_EQ(pages_, 0);
}

TEST_F(ServedMetricsTest, WhoKeepsStillKeepsNobodyOut) {
  std::vector<int> still;
  for (std::size_t i = 0; i < HttpServer::kConnections; ++i) still.push_back(connect());
  const int asking = connect();
  say(asking, "GET /metrics HTTP/1.1\r\n\r\n");
  const auto answer = rest(asking, 1s);
  ASSERT_TRUE(answer);
  EXPECT_GT(answer->size(), 2'000'000u);
  EXPECT_TRUE(rest(still.front(), 1s)) << "it was here longest";
  EXPECT_FALSE(rest(still.back(), 100ms)) << "there is room for it";
}

TEST_F(ServedMetricsTest, TheSilentAreCutOff) {
  const int silent = connect();
  EXPECT_TRUE(rest(silent)) << "it has five seconds";
}

TEST_F(ServedMetricsTest, APortThatIsTakenIsSaid) {
  auto second = MetricsServer::open(loop_, {address("127.0.0.1"), server_->port()}, [] { return std::string(); });
  ASSERT_FALSE(second);
  EXPECT_TRUE(has(second.error().text, "in use"));
}

}  // namespace
}  // namespace xlb
