// SPDX-License-Identifier: Apache-2.0
// Against the loopback of this machine, with ports that nobody had a moment ago.
#include "userspace/daemon/service_health_ports.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <array>

namespace xlb {
namespace {

using namespace std::chrono_literals;

class ServiceHealthPortsTest : public testing::Test {
 protected:
  ServiceHealthPortsTest() : loop_(std::move(*Loop::open())) {
    ports_ = std::make_unique<ServiceHealthPorts>(
        loop_, ServiceHealthPace{kLook, kAbsent},
        ServiceHealthPorts::Outside{[this] { return kube_proxy_; },
                                    [this](const ServiceHealth& health, bool served, const std::string& why) {
                                      told_.push_back(health.service.text() + (served ? " served" : " not served: " + why));
                                    }});
  }
  ~ServiceHealthPortsTest() override {
    for (const int fd : sockets_) close(fd);
  }
  static sockaddr_in at(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  // A server of somebody else; 0: a port that the kernel chooses.
  int listen_at(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), 0);
    const sockaddr_in address = at(port);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 8) != 0) {
      close(fd);
      return -1;
    }
    return fd;
  }
  std::uint16_t free_port() {
    const int fd = listen_at(0);
    sockaddr_in address{};
    socklen_t length = sizeof address;
    EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
    close(fd);
    return ntohs(address.sin_port);
  }
  void turn_for(Loop::Clock::duration time) {
    for (const auto last = Loop::Clock::now() + time; Loop::Clock::now() < last;) EXPECT_TRUE(loop_.turn(Loop::Clock::now() + 5ms));
  }
  // Turns until it is so; false: it does not come to that.
  bool until(const std::function<bool()>& condition) {
    for (const auto last = Loop::Clock::now() + 5s; Loop::Clock::now() < last;) {
      if (condition()) return true;
      turn_for(5ms);
    }
    return condition();
  }
  int connect_to(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = at(port);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      close(fd);
      return -1;
    }
    sockets_.push_back(fd);
    return fd;
  }
  // Empty: nobody answers.
  std::string ask(std::uint16_t port, const std::string& request = "GET / HTTP/1.1\r\n\r\n") {
    const int fd = connect_to(port);
    if (fd < 0) return {};
    EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    std::string all;
    std::array<char, 4096> buffer;
    until([&] {
      const ssize_t length = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (length > 0) all.append(buffer.data(), static_cast<std::size_t>(length));
      return length == 0 || (length < 0 && errno != EAGAIN);
    });
    return all;
  }
  void follow(std::vector<ServiceHealth> services, bool forwards = true) { ports_->follow(services, forwards); }
  static ServiceHealth health(std::uint16_t port, std::size_t endpoints = 1, const char* name = "web") {
    return {{"shop", name}, port, endpoints};
  }

  static constexpr std::chrono::milliseconds kLook{20}, kAbsent{100};
  const Loop::Clock::time_point began_ = Loop::Clock::now();
  Loop loop_;
  bool kube_proxy_ = false;
  std::vector<std::string> told_;
  std::vector<int> sockets_;
  std::unique_ptr<ServiceHealthPorts> ports_;
};

TEST(ServiceHealthResponse, IsKubeProxys) {
  const std::string request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  const auto say = [&](std::size_t endpoints, bool forwards) {
    return service_health_response(request, {{"shop", "web"}, 31000, endpoints}, forwards);
  };
  const std::string good = say(2, true);
  EXPECT_TRUE(good.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")) << good;
  EXPECT_NE(good.find("\r\nX-Load-Balancing-Endpoint-Weight: 2\r\n"), std::string::npos) << good;
  EXPECT_NE(good.find("\r\nX-Content-Type-Options: nosniff\r\n"), std::string::npos) << good;
  EXPECT_EQ(nlohmann::json::parse(good.substr(good.find("\r\n\r\n"))),
            nlohmann::json::parse(R"({"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true})"));
  EXPECT_TRUE(say(0, true).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_NE(say(0, true).find("Weight: 0\r\n"), std::string::npos);
  EXPECT_TRUE(say(2, false).starts_with("HTTP/1.1 503"));
  EXPECT_NE(say(2, false).find("\"serviceProxyHealthy\":false"), std::string::npos);
}

TEST_F(ServiceHealthPortsTest, IsServedUntilTheServiceGoes) {
  const std::uint16_t port = free_port();
  follow({health(port)});
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  EXPECT_NE(ask(port).find("200 OK"), std::string::npos);
  follow({health(port, 0)});
  EXPECT_NE(ask(port).find("503"), std::string::npos) << "the count is that of now";
  follow({health(port)}, false);
  EXPECT_NE(ask(port).find("503"), std::string::npos);
  follow({});
  EXPECT_EQ(ask(port), "");
  EXPECT_EQ(told_, (std::vector<std::string>{"shop/web served", "shop/web not served: nobody asks for it any more"}));
}

TEST_F(ServiceHealthPortsTest, AnotherPortIsAnotherDoor) {
  const std::uint16_t one = free_port(), two = free_port();
  follow({health(one)});
  ASSERT_TRUE(until([&] { return told_.size() == 1; }));
  follow({health(two)});
  EXPECT_EQ(ask(one), "");
  EXPECT_NE(ask(two).find("200 OK"), std::string::npos);
}

TEST_F(ServiceHealthPortsTest, KubeProxyComesFirst) {
  const std::uint16_t port = free_port();
  kube_proxy_ = true;
  follow({health(port)});
  turn_for(150ms);
  EXPECT_EQ(ask(port), "");
  kube_proxy_ = false;  // it may just be replaced
  const auto gone = Loop::Clock::now();
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  EXPECT_GE(Loop::Clock::now() - gone, kAbsent - kLook) << "it was seen a moment before";
  EXPECT_NE(ask(port).find("200 OK"), std::string::npos);
  kube_proxy_ = true;
  ASSERT_TRUE(until([&] { return told_.size() == 2; }));
  const int its = listen_at(port);
  EXPECT_GE(its, 0) << "it can have the port";
  close(its);
  EXPECT_EQ(told_.back(), "shop/web not served: kube-proxy is there");
}

TEST_F(ServiceHealthPortsTest, AtTheStartKubeProxyMayStillBeToCome) {
  follow({health(free_port())});
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  EXPECT_GE(Loop::Clock::now() - began_, kAbsent);
}

TEST_F(ServiceHealthPortsTest, APortOfSomebodyElseIsAskedForAgain) {
  const std::uint16_t port = free_port();
  const int theirs = listen_at(port);
  ASSERT_GE(theirs, 0);
  follow({health(port)});
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  turn_for(100ms);
  ASSERT_EQ(told_.size(), 1u) << "said once";
  EXPECT_NE(told_.front().find("not served: [::]:" + std::to_string(port) + ": Address already in use"), std::string::npos) << told_.front();
  close(theirs);
  ASSERT_TRUE(until([&] { return told_.size() == 2; }));
  EXPECT_NE(ask(port).find("200 OK"), std::string::npos);
}

TEST_F(ServiceHealthPortsTest, WhoKeepsStillOrTalksNonsenseStopsNobody) {
  const std::uint16_t port = free_port();
  follow({health(port)});
  ASSERT_TRUE(until([&] { return !told_.empty(); }));
  for (int i = 0; i < 30; ++i) {
    const int fd = connect_to(port);
    ASSERT_GE(fd, 0);
    if (i % 2 == 0) (void)send(fd, "GET / HTT", 9, MSG_NOSIGNAL);
    turn_for(1ms);
  }
  bool ticked = false;
  loop_.at(Loop::Clock::now(), [&] { ticked = true; });
  const auto began = Loop::Clock::now();
  EXPECT_NE(ask(port).find("200 OK"), std::string::npos);
  EXPECT_LT(Loop::Clock::now() - began, 1s);
  EXPECT_TRUE(ticked);
  EXPECT_EQ(ask(port, std::string(9000, 'x')), "");
  EXPECT_NE(ask(port, "\x16\x03\x01\r\n\r\n").find("400"), std::string::npos);
  EXPECT_NE(ask(port).find("200 OK"), std::string::npos);
}

TEST_F(ServiceHealthPortsTest, OneServiceDoesNotStopAnother) {
  const std::uint16_t taken = free_port(), open = free_port();
  const int theirs = listen_at(taken);
  follow({health(taken, 1, "a"), health(open, 1, "b")});
  ASSERT_TRUE(until([&] { return told_.size() == 2; }));
  EXPECT_NE(ask(open).find("\"name\":\"b\""), std::string::npos);
  close(theirs);
}

}  // namespace
}  // namespace xlb
