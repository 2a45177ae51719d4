// SPDX-License-Identifier: Apache-2.0
// Frames byte by byte, and what a real kernel makes of them at the other end of a wire.
#include "loader/announcer.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "loader/file.hpp"
#include "loader/link_probe.hpp"
#include "loader/packet_socket.hpp"
#include "maps/abi.h"
#include "tests/unit/loader/network_space.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

Address address(const std::string& text) {
  const auto parsed = parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

constexpr Mac our_mac{{0x02, 0, 0, 0, 0, 0x11}};
constexpr Mac client_mac{{0x02, 0, 0, 0, 0, 0x99}};

std::string hex(const Frame& frame, std::size_t from = 0) {
  std::string text;
  for (std::size_t i = from; i < frame.size(); ++i) {
    constexpr char digits[] = "0123456789abcdef";
    text += digits[frame[i] >> 4];
    text += digits[frame[i] & 0xf];
  }
  return text;
}

TEST(AnnouncementTest, Ipv4IsARequestAndAReplyThatSaySo) {
  const auto frames = announcement(address("192.168.0.200"), our_mac, 0);
  ASSERT_EQ(frames.size(), 2U);
  const std::string head =
      "ffffffffffff"
      "020000000011"
      "0806"
      "0001"
      "0800"
      "06"
      "04";
  EXPECT_EQ(hex(frames[0]), head +
                                "0001"
                                "020000000011"
                                "c0a800c8"
                                "000000000000"
                                "c0a800c8");
  EXPECT_EQ(hex(frames[1]), head +
                                "0002"
                                "020000000011"
                                "c0a800c8"
                                "020000000011"
                                "c0a800c8");
}

TEST(AnnouncementTest, Ipv6IsAnOverridingAdvertisementToAllNodes) {
  const auto frames = announcement(address("fd00::200"), our_mac, 0);
  ASSERT_EQ(frames.size(), 1U);
  const std::string text = hex(frames[0]);
  EXPECT_EQ(text.substr(0, 28),
            "333300000001"
            "020000000011"
            "86dd");
  EXPECT_EQ(text.substr(28, 16),
            "60000000"
            "0020"
            "3a"
            "ff");
  EXPECT_EQ(text.substr(44, 32), "fd000000000000000000000000000200");
  EXPECT_EQ(text.substr(76, 32), "ff020000000000000000000000000001");
  EXPECT_EQ(text.substr(108, 4), "8800");
  EXPECT_EQ(text.substr(116, 8), "20000000");  // neither router nor solicited; override
  EXPECT_EQ(text.substr(124),
            "fd000000000000000000000000000200"
            "0201"
            "020000000011");
}

TEST(AnnouncementTest, TagAndReceiverAreThoseAskedFor) {
  for (const char* vip : {"192.168.0.200", "fd00::200"}) {
    for (const Frame& frame : announcement(address(vip), our_mac, 4094, client_mac)) {
      EXPECT_EQ(hex(frame).substr(0, 32),
                "020000000099"
                "020000000011"
                "81000ffe")
          << vip;
      // Behind the tag it is the same frame.
      const std::string untagged = hex(announcement(address(vip), our_mac, 0, client_mac).front());
      EXPECT_EQ(hex(frame).substr(32, 4), untagged.substr(24, 4)) << vip;
    }
  }
}

TEST(ProbeTest, Ipv4ProbeClaimsNothing) {
  EXPECT_EQ(hex(probe(address("192.168.0.200"), our_mac, 0)),
            "ffffffffffff"
            "020000000011"
            "0806"
            "0001080006040001"
            "020000000011"
            "00000000"
            "000000000000"
            "c0a800c8");
}

TEST(ProbeTest, Ipv6ProbeComesFromNobodyToTheSolicitedNodes) {
  const std::string text = hex(probe(address("fd00::12:3456"), our_mac, 0));
  EXPECT_EQ(text.substr(0, 44),
            "3333ff123456"
            "020000000011"
            "86dd"
            "60000000"
            "0018"
            "3a"
            "ff");
  EXPECT_EQ(text.substr(44, 32), std::string(32, '0'));
  EXPECT_EQ(text.substr(76, 32), "ff0200000000000000000001ff123456");
  EXPECT_EQ(text.substr(108, 4), "8700");
  EXPECT_EQ(text.substr(116),
            "00000000"
            "fd000000000000000000000000123456");  // no option: RFC 4861, 4.3
}

TEST(NextAnnouncementTest, OftenAtFirstThenEveryMinute) {
  std::vector<std::chrono::milliseconds> moments;
  for (std::chrono::milliseconds now = -1ms; moments.size() < 9;) {
    const auto next = next_announcement(now);
    ASSERT_TRUE(next);
    ASSERT_GT(*next, now);
    moments.push_back(*next);
    now = *next;
  }
  EXPECT_EQ(moments, (std::vector<std::chrono::milliseconds>{0ms, 50ms, 200ms, 1300ms, 2400ms, 3500ms, 4600ms,
                                                             64600ms, 124600ms}));
  EXPECT_EQ(next_announcement(201ms), 1300ms);
  EXPECT_EQ(next_announcement(1h), 3604600ms);
}

// This node's `lan` and a neighbour's `eth0`, joined by a wire.
class WireTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes network namespaces";
    auto node = NetworkSpace::enter();
    auto neighbour = NetworkSpace::make();
    ASSERT_TRUE(node) << node.error().text;
    ASSERT_TRUE(neighbour) << neighbour.error().text;
    node_.emplace(std::move(*node));
    neighbour_.emplace(std::move(*neighbour));
    run(*node_, "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; ip link add lan address " + our_mac.text() +
                    " type veth peer name eth0 netns " + neighbour_->path() + "; ip link set lan up");
    run(*neighbour_,
        "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip link set eth0 address " + client_mac.text() +
            "; ip link set eth0 up; ip addr add 192.168.0.9/24 dev eth0; ip addr add fd00::9/64 dev eth0 nodad");
    link_.name = link_.l3_name = "lan";
    link_.attach_ifindex = link_.l3_ifindex = if_nametoindex("lan");
    link_.mac = our_mac;
    // Without a link-local address the neighbour answers no multicast.
    ASSERT_TRUE(until([&] { return works(*neighbour_, "ip -6 addr show dev eth0 scope link | grep -q fe80"); }));
  }

  static void run(const NetworkSpace& space, const std::string& commands) {
    const auto done = space.run(commands);
    ASSERT_TRUE(done) << done.error().text;
  }
  static bool works(const NetworkSpace& space, const std::string& commands) {
    return static_cast<bool>(space.run(commands));
  }
  template <typename Condition>
  static bool until(Condition condition) {
    for (int i = 0; i < 60; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(50ms);
    }
    return false;
  }
  [[nodiscard]] bool neighbour_has(const std::string& vip, const Mac& mac) const {
    return works(*neighbour_, "ip neigh show " + vip + " dev eth0 | grep -q 'lladdr " + mac.text() + "'");
  }
  std::map<Address, Mac> probe_all(const std::vector<std::string>& addresses, const std::set<Mac>& own = {}) const {
    std::vector<Address> asked;
    for (const std::string& one : addresses) asked.push_back(address(one));
    const auto answers = probe_addresses(link_, asked, own, {3, 100ms});
    EXPECT_TRUE(answers) << answers.error().text;
    std::map<Address, Mac> by_address;
    for (const ProbeAnswer& answer : *answers) {
      EXPECT_TRUE(by_address.emplace(answer.address, answer.mac).second) << answer.address.text() << " twice";
    }
    return by_address;
  }

  std::optional<NetworkSpace> node_, neighbour_;
  Link link_;
  FrameSender sender_;
};

// What a fail-over is about: the neighbour still sends to the machine that had the address before.
TEST_F(WireTest, AnnouncementMovesANeighboursEntry) {
  for (const char* vip : {"192.168.0.200", "fd00::200"}) {
    for (const bool to_it_alone : {false, true}) {
      run(*neighbour_, std::string("ip neigh replace ") + vip + " lladdr 02:00:00:00:00:22 dev eth0 nud reachable");
      ASSERT_FALSE(neighbour_has(vip, our_mac));
      const auto sent =
          sender_.send(link_.l3_ifindex, "lan",
                      announcement(address(vip), our_mac, 0, to_it_alone ? std::optional(client_mac) : std::nullopt));
      ASSERT_TRUE(sent) << sent.error().text;
      EXPECT_TRUE(until([&] { return neighbour_has(vip, our_mac); })) << vip << (to_it_alone ? " unicast" : "");
    }
  }
}

TEST_F(WireTest, OurFramesAreToldByTheirMark) {
  auto socket = PacketSocket::open(link_.l3_ifindex, "lan", 0);
  ASSERT_TRUE(socket) << socket.error().text;
  std::uint32_t mark = 0;
  socklen_t size = sizeof mark;
  ASSERT_EQ(getsockopt(socket->fd(), SOL_SOCKET, SO_MARK, &mark, &size), 0);
  EXPECT_EQ(mark, XLB_MARK_OWN);
}

TEST_F(WireTest, FreeAddressesHaveNoAnswer) {
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(probe_all({"192.168.0.200", "192.168.0.201", "fd00::200"}).empty());
  EXPECT_GE(std::chrono::steady_clock::now() - began, 400ms);
}

TEST_F(WireTest, TakenAddressesAnswerWithTheirMac) {
  const auto answers = probe_all({"192.168.0.200", "192.168.0.9", "fd00::9", "fd00::200"});
  EXPECT_EQ(answers,
            (std::map<Address, Mac>{{address("192.168.0.9"), client_mac}, {address("fd00::9"), client_mac}}));
}

TEST_F(WireTest, ProbingEndsWhenAllHaveAnswered) {
  const auto began = std::chrono::steady_clock::now();
  const std::vector<Address> taken{address("192.168.0.9"), address("fd00::9")};
  const auto answers = probe_addresses(link_, taken, {}, {3, 20s});
  ASSERT_TRUE(answers);
  EXPECT_EQ(answers->size(), 2U);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
}

TEST_F(WireTest, OwnMacsDoNotCount) {
  EXPECT_TRUE(probe_all({"192.168.0.9", "fd00::9"}, {client_mac}).empty());
}

// Two who ask at the same time. Rounds end when the test says so; frames are real.
class RivalsTest : public WireTest {
 protected:
  // The neighbour's end, for questions that look like another host's.
  void SetUp() override {
    WireTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::thread there([this] {
      const File space(open(neighbour_->path().c_str(), O_RDONLY | O_CLOEXEC));
      if (setns(space.get(), CLONE_NEWNET) != 0) return;
      Link link;
      link.name = link.l3_name = "eth0";
      link.attach_ifindex = link.l3_ifindex = if_nametoindex("eth0");
      link.mac = client_mac;
      if (auto socket = PacketSocket::open(link.l3_ifindex, "eth0", 0)) theirs_.emplace(std::move(*socket));
      if (auto probe = LinkProbe::open(link, asked_, {}, kPace)) their_probe_.emplace(std::move(*probe));
    });
    there.join();
    ASSERT_TRUE(theirs_ && their_probe_);
    auto probe = LinkProbe::open(link_, asked_, {}, kPace);
    ASSERT_TRUE(probe) << probe.error().text;
    our_probe_.emplace(std::move(*probe));
  }
  // All that is due until the end of a round is asked; false: it was over, there is no such round.
  static bool ask_for_a_round(LinkProbe& probe, LinkProbe::Time& now) {
    for (int question = 0; question <= kPace.count; ++question) {
      const auto next = probe.step(now);
      EXPECT_TRUE(next) << next.error().text;
      if (question == 0 && probe.over(now)) return false;
      now = *next;
    }
    return true;
  }
  void they_ask(const std::string& vip, const Mac& mac = client_mac) {
    ASSERT_TRUE(theirs_->send(probe(address(vip), mac, 0)));
    // A veth delivers on the sender's CPU, or a moment later by the softirq daemon.
    std::this_thread::sleep_for(50ms);
  }

  static constexpr LinkProbe::Pace kPace{3, 100ms};
  const std::vector<Address> asked_{address("192.168.0.200"), address("192.168.0.201"), address("fd00::200")};
  std::optional<PacketSocket> theirs_;
  std::optional<LinkProbe> their_probe_, our_probe_;
  LinkProbe::Time now_{}, their_now_{};
};

// Two nodes that start at once ask at once, and neither knows the other: one of them has to go on.
TEST_F(RivalsTest, OfTwoExactlyOneGoesOn) {
  while (ask_for_a_round(*our_probe_, now_) | ask_for_a_round(*their_probe_, their_now_)) {
    std::this_thread::sleep_for(50ms);
    our_probe_->listen();
    their_probe_->listen();
  }
  EXPECT_TRUE(our_probe_->holders().empty()) << "the one with the lower MAC";
  EXPECT_EQ(now_ - LinkProbe::Time{}, 2 * (kPace.count + 1) * kPace.interval) << "asks once more";
  std::map<Address, Mac> ours;
  for (const Address& one : asked_) ours.emplace(one, our_mac);
  EXPECT_EQ(their_probe_->holders(), ours);
}

// arping, or an old DHCP client: it asks, hears nothing of others who ask, and takes the address.
TEST_F(RivalsTest, WhoDoesNotGiveWayHasIt) {
  int rounds = 0;
  while (ask_for_a_round(*our_probe_, now_)) {
    ASSERT_LT(++rounds, 10);
    they_ask("192.168.0.200");
    our_probe_->listen();
  }
  EXPECT_EQ(rounds, 3);
  EXPECT_EQ(our_probe_->holders(), (std::map<Address, Mac>{{address("192.168.0.200"), client_mac}}));
}

TEST_F(RivalsTest, WhoTakesItAllTheSameAnswersTheNextTime) {
  ASSERT_TRUE(ask_for_a_round(*our_probe_, now_));
  they_ask("192.168.0.200");
  our_probe_->listen();
  run(*neighbour_, "ip addr add 192.168.0.200/24 dev eth0");
  ASSERT_TRUE(ask_for_a_round(*our_probe_, now_));
  std::this_thread::sleep_for(50ms);
  our_probe_->listen();
  EXPECT_TRUE(our_probe_->over(now_));
  EXPECT_EQ(our_probe_->holders(), (std::map<Address, Mac>{{address("192.168.0.200"), client_mac}}));
}

// Three that start one after the other, and each gives way.
TEST_F(RivalsTest, WhoGaveWayHasNothing) {
  for (std::uint8_t which = 1; which <= 3; ++which) {
    ASSERT_TRUE(ask_for_a_round(*our_probe_, now_));
    they_ask("192.168.0.200", Mac{{2, 0, 0, 0, 1, which}});
    our_probe_->listen();
  }
  ASSERT_TRUE(ask_for_a_round(*our_probe_, now_));
  our_probe_->listen();
  EXPECT_TRUE(our_probe_->over(now_));
  EXPECT_TRUE(our_probe_->holders().empty());
}

TEST_F(RivalsTest, QuestionsWithoutEndEnd) {
  int rounds = 0;
  while (ask_for_a_round(*our_probe_, now_)) {
    ASSERT_LT(++rounds, 10);
    they_ask("192.168.0.200", Mac{{2, 0, 0, 0, 1, static_cast<std::uint8_t>(rounds)}});
    our_probe_->listen();
  }
  EXPECT_EQ(rounds, 8);
  EXPECT_EQ(our_probe_->holders().size(), 1U);
}

// Whoever has it: nobody need be asked again.
TEST_F(RivalsTest, WhoAsksForATakenAddressKeepsNobodyWaiting) {
  run(*neighbour_, "ip addr add 192.168.0.200/24 dev eth0");
  they_ask("192.168.0.200");
  our_probe_->listen();
  ASSERT_TRUE(ask_for_a_round(*our_probe_, now_));
  std::this_thread::sleep_for(50ms);
  our_probe_->listen();
  they_ask("192.168.0.200");
  our_probe_->listen();
  EXPECT_TRUE(our_probe_->over(now_));
  EXPECT_EQ(our_probe_->holders(), (std::map<Address, Mac>{{address("192.168.0.200"), client_mac}}));
}

// A NIC passes only groups that are joined; a veth passes all.
TEST_F(RivalsTest, QuestionsOfOthersPassANicsFilter) {
  const auto groups = node_->output("ip maddr show dev lan");
  ASSERT_TRUE(groups) << groups.error().text;
  EXPECT_NE(groups->find("33:33:ff:00:02:00"), std::string::npos) << *groups;
}

// The kernel's duplicate-address detection, which gives an address up for good.
TEST_F(WireTest, SomebodyElsesProbeIsAnAnswer) {
  link_.mac = Mac{{0x02, 0, 0, 0, 0, 0xaa}};  // of the two the higher one
  // The neighbour announces and probes by itself when it is given the address.
  run(*neighbour_,
      "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad; echo 1 > /proc/sys/net/ipv6/conf/eth0/dad_transmits");
  std::thread late([this] {
    std::this_thread::sleep_for(150ms);
    (void)neighbour_->run("ip addr add fd00::200/64 dev eth0");
  });
  const auto answers = probe_addresses(link_, {address("fd00::200")}, {}, {1, 5s});
  late.join();
  ASSERT_TRUE(answers) << answers.error().text;
  ASSERT_EQ(answers->size(), 1U);
  EXPECT_EQ(answers->front().mac, client_mac);
}

TEST_F(WireTest, FailuresNameTheInterface) {
  run(*node_, "ip link set lan down");
  auto sent = sender_.send(link_.l3_ifindex, "lan", announcement(address("192.168.0.200"), our_mac, 0));
  ASSERT_FALSE(sent);
  EXPECT_NE(sent.error().text.find("lan"), std::string::npos) << sent.error().text;
  EXPECT_NE(sent.error().text.find("Network is down"), std::string::npos) << sent.error().text;
  run(*node_, "ip link del lan");
  sent = sender_.send(link_.l3_ifindex, "lan", announcement(address("192.168.0.200"), our_mac, 0));
  ASSERT_FALSE(sent);
  EXPECT_NE(sent.error().text.find("lan"), std::string::npos) << sent.error().text;
}

}  // namespace
}  // namespace xlb
