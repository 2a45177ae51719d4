// SPDX-License-Identifier: Apache-2.0
// Against servers on the loopback of this machine, each with a port that the kernel chose.
#include "userspace/daemon/health_probes.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

namespace xlb {
namespace {

using namespace std::chrono_literals;

// Listens, and answers each connection with a text; without one it says nothing and keeps the connection open.
class Server {
 public:
  explicit Server(std::optional<std::string> answer) : answer_(std::move(answer)), fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(listen(fd_, 128), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &length), 0);
    port_ = ntohs(at.sin_port);
    if (answer_) thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    shutdown(fd_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    close(fd_);
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  void serve() {
    for (;;) {
      const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      // A probe may have connected and its loop never turned again: at the end of a test nobody writes the request.
      const timeval patience{.tv_sec = 1, .tv_usec = 0};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      std::array<char, 2048> request;
      if (recv(fd, request.data(), request.size(), 0) > 0) (void)send(fd, answer_->data(), answer_->size(), MSG_NOSIGNAL);
      close(fd);
    }
  }
  std::optional<std::string> answer_;
  int fd_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

class HealthProbesTest : public testing::Test {
 protected:
  HealthProbesTest()
      : loop_(std::move(*Loop::open())),
        probes_(loop_, HealthPace{.interval = 50ms, .timeout = 300ms, .up = 2, .down = 2},
                [this](const HealthTarget&, const HealthState&) { ++changes_; }) {}
  static HealthTarget target(const std::string& check, std::uint16_t port) {
    return health_target(*parse_health_check(check), *parse_address("127.0.0.1"), port);
  }
  void turn_until(const std::function<bool()>& done) {
    const auto last = Loop::Clock::now() + 20s;
    while (!done() && Loop::Clock::now() < last) ASSERT_TRUE(loop_.turn(Loop::Clock::now() + 50ms));
    ASSERT_TRUE(done());
  }
  std::string reason(const HealthTarget& target) {
    const auto ill = probes_.ill();
    const auto found = ill.find(target);
    return found == ill.end() ? "" : found->second;
  }

  Loop loop_;
  HealthProbes probes_;
  int changes_ = 0;
};

TEST_F(HealthProbesTest, EachWayOfBeingIllIsSaid) {
  const Server ok("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), bad("HTTP/1.1 503 Busy\r\n\r\n"), ssh("SSH-2.0-x\r\n"), empty(""),
      silent(std::nullopt);
  std::uint16_t closed = 0;
  { closed = Server(std::nullopt).port(); }
  const std::map<HealthTarget, std::string> expected{
      {target("tcp", closed), "connection refused"},
      {target("http:/ready", bad.port()), "answered 503, not 200 to 399"},
      {target("http:/ready:204", ok.port()), "answered 200, not 204"},
      {target("http:/", ssh.port()), "answered something else than HTTP"},
      {target("http:/", empty.port()), "closed without an answer"},
      {target("http:/", silent.port()), "no answer within 300 ms"},
  };
  std::set<HealthTarget> targets{target("tcp", ok.port()), target("http:/", ok.port()), target("tcp", silent.port())};
  for (const auto& [one, why] : expected) targets.insert(one);
  probes_.follow(targets, {});
  EXPECT_TRUE(probes_.ill().empty());
  turn_until([&] { return probes_.ill().size() == expected.size(); });
  EXPECT_EQ(changes_, static_cast<int>(expected.size()));
  for (const auto& [one, why] : expected) EXPECT_EQ(reason(one), one.text() + ": " + why);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(loop_.turn(Loop::Clock::now() + 50ms));
  EXPECT_EQ(probes_.ill().size(), expected.size()) << "who is well stays so";
}

TEST_F(HealthProbesTest, OneFallsIllAndGetsWell) {
  auto server = std::make_unique<Server>("HTTP/1.0 204 No Content\r\n\r\n");
  const auto one = target("http:/", server->port());
  probes_.follow({one}, {{one, "it was before"}});
  EXPECT_EQ(reason(one), "it was before");
  turn_until([&] { return probes_.ill().empty(); });
  server.reset();
  turn_until([&] { return !probes_.ill().empty(); });
  EXPECT_EQ(changes_, 2);
  probes_.follow({}, {});
  EXPECT_TRUE(probes_.ill().empty());
}

TEST_F(HealthProbesTest, MoreTargetsThanSocketsAllHaveTheirTurn) {
  const Server silent(std::nullopt);
  std::set<HealthTarget> targets;
  for (std::size_t i = 0; i < HealthProbes::kSockets + 20; ++i) targets.insert(target("http:/" + std::to_string(i), silent.port()));
  probes_.follow(targets, {});
  turn_until([&] { return probes_.ill().size() == targets.size(); });
}

}  // namespace
}  // namespace xlb
