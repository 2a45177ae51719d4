// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/health.hpp"

#include <gtest/gtest.h>

namespace xlb {
namespace {

using namespace std::chrono_literals;
using Standing = HealthState::Standing;

// "+": a good answer, "-": a bad one.
Standing after_answers(const std::string& answers, HealthState state = {}) {
  for (const char answer : answers)
    state = after(state, answer == '+' ? std::nullopt : std::optional<std::string>("refused"), HealthPace());
  return state.standing;
}

TEST(HealthTest, TheFirstAnswerDecidesAlone) {
  EXPECT_EQ(after_answers(""), Standing::unknown);
  EXPECT_EQ(after_answers("+"), Standing::well);
  EXPECT_EQ(after_answers("-"), Standing::ill);
}

TEST(HealthTest, AfterThatTwoInARow) {
  EXPECT_EQ(after_answers("+-"), Standing::well);
  EXPECT_EQ(after_answers("+--"), Standing::ill);
  EXPECT_EQ(after_answers("+-+-+-"), Standing::well);
  EXPECT_EQ(after_answers("-+"), Standing::ill);
  EXPECT_EQ(after_answers("-++"), Standing::well);
  EXPECT_EQ(after_answers("-+-+-+"), Standing::ill);
  EXPECT_EQ(after_answers("+--++--"), Standing::ill);
}

TEST(HealthTest, OtherPacesCountOtherwise) {
  const HealthPace pace{.interval = 1s, .timeout = 1s, .up = 1, .down = 3};
  HealthState state;
  for (const bool good : {true, false, false}) state = after(state, good ? std::nullopt : std::optional<std::string>("x"), pace);
  EXPECT_EQ(state.standing, Standing::well);
  state = after(state, "x", pace);
  EXPECT_EQ(state.standing, Standing::ill);
  EXPECT_EQ(after(state, std::nullopt, pace).standing, Standing::well);
}

TEST(HealthTest, TheReasonIsTheLastOneAndGoesWithIt) {
  HealthState state = after({}, "refused", HealthPace());
  EXPECT_EQ(state.reason, "refused");
  state = after(state, "silent", HealthPace());
  EXPECT_EQ(state.reason, "silent");
  state = after(after(state, std::nullopt, HealthPace()), std::nullopt, HealthPace());
  EXPECT_EQ(state.reason, "");
}

TEST(HealthTest, TheNextQuestionIsATenthEarlyOrLateAtMost) {
  for (const std::uint32_t random : {0u, 1u, 100u, 200u, 12345u, 0xffffffffu}) {
    EXPECT_GE(until_next(HealthPace(), random), 900ms);
    EXPECT_LE(until_next(HealthPace(), random), 1100ms);
  }
  EXPECT_NE(until_next(HealthPace(), 0), until_next(HealthPace(), 200));
}

TEST(HealthCheckTest, EachFormReadsBackAsItself) {
  for (const char* form : {"tcp", "tcp:8080", "http:/", "http:/ready", "http:8080/ready", "http:/ready:204", "http:8080/a:b/c?d=e:200"}) {
    auto check = parse_health_check(form);
    ASSERT_TRUE(check) << form << ": " << check.error().text;
    EXPECT_EQ(check->text(), form);
  }
  auto check = parse_health_check("http:8080/ready:204");
  EXPECT_EQ(check->port, 8080);
  EXPECT_EQ(check->path, "/ready");
  EXPECT_EQ(check->status, 204);
}

TEST(HealthCheckTest, NonsenseIsRefusedWithTheForms) {
  for (const char* bad : {"", "udp", "tcp:", "tcp:0", "tcp:65536", "tcp:x", "http", "http:", "http:8080", "http:x/", "http:0/",
                          "http:/a b", "http:/ready:099", "http:/ready:600", "https:/x", "TCP"}) {
    auto check = parse_health_check(bad);
    ASSERT_FALSE(check) << bad;
    EXPECT_NE(check.error().text.find("write tcp, tcp:PORT"), std::string::npos) << bad;
  }
  EXPECT_FALSE(parse_health_check("http:/" + std::string(600, 'x')));
}

TEST(HttpTest, TheStatusIsReadFromTheFirstLine) {
  EXPECT_EQ(http_status("HTTP/1.1 200 OK\r\n"), 200);
  EXPECT_EQ(http_status("HTTP/1.0 503 Service Unavailable\r\nX: 200\r\n"), 503);
  EXPECT_EQ(http_status("HTTP/1.1 204\r\n"), 204);
  for (const char* bad : {"", "HTTP/1.1 20", "HTTP/1.1 2000 X", "HTTP/2 200 OK\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 abc X\r\n",
                          "HTTP/1.1 099 X\r\n"})
    EXPECT_FALSE(http_status(bad)) << bad;
}

TEST(HttpTest, TheExpectedStatus) {
  const HealthCheck any{HealthCheck::Kind::http, 0, "/", 0}, one{HealthCheck::Kind::http, 0, "/", 204};
  for (const std::uint16_t good : std::initializer_list<std::uint16_t>{200, 204, 301, 399}) EXPECT_FALSE(status_problem(any, good)) << good;
  for (const std::uint16_t bad : std::initializer_list<std::uint16_t>{100, 199, 400, 503}) EXPECT_TRUE(status_problem(any, bad)) << bad;
  EXPECT_FALSE(status_problem(one, 204));
  EXPECT_EQ(status_problem(one, 200), "answered 200, not 204");
}

TEST(HttpTest, TheRequest) {
  const HealthCheck check{HealthCheck::Kind::http, 0, "/ready", 0};
  const std::string request = http_request(health_target(check, *parse_address("fd00::1"), 8080));
  EXPECT_EQ(request.substr(0, request.find("User-Agent")), "GET /ready HTTP/1.1\r\nHost: [fd00::1]:8080\r\n");
  EXPECT_TRUE(request.ends_with("\r\n\r\n"));
}

TEST(HealthTargetsTest, BackendsOfThisNodeEachOnce) {
  DesiredBackend here, there;
  here.address = *parse_address("10.42.0.8");
  here.port = 8000;
  here.node = "pi1";
  there = here;
  there.address = *parse_address("10.42.1.8");
  there.node = "pi2";
  DesiredService checked, twin, unchecked;
  checked.ports = {{80, Protocol::tcp, {here, there}, ""}, {81, Protocol::udp, {here}, ""}};
  checked.health = *parse_health_check("tcp");
  twin = checked;
  unchecked.ports = {{80, Protocol::tcp, {here}, ""}};
  const auto targets = health_targets({checked, twin, unchecked}, "pi1");
  ASSERT_EQ(targets.size(), 1u);
  EXPECT_EQ(targets.begin()->address, here.address);
  EXPECT_EQ(targets.begin()->port, 8000);
  checked.health = *parse_health_check("http:9000/x");
  EXPECT_EQ(health_targets({checked}, "pi1").begin()->port, 9000);
}

}  // namespace
}  // namespace xlb
