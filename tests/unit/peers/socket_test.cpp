// SPDX-License-Identifier: Apache-2.0
// Real frames over a veth between two network namespaces, with and without a VLAN.
#include "userspace/peers/socket.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_vlan.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "maps/abi.h"
#include "tests/unit/loader/network_space.hpp"
#include "tests/unit/peers/statements.hpp"
#include "userspace/peers/assembly.hpp"
#include "userspace/peers/frame_ear.hpp"

namespace xlb {
namespace {

constexpr Mac kMine{{2, 0, 0, 0, 0, 1}}, kTheirs{{2, 0, 0, 0, 0, 2}};

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * XLB_SECOND_NS + static_cast<std::uint64_t>(now.tv_nsec);
}

bool readable(int fd, int milliseconds = 2000) {
  pollfd waiting{fd, POLLIN, 0};
  return poll(&waiting, 1, milliseconds) == 1;
}

struct Frame {
  Octets octets;
  std::uint16_t vlan = 0;  // as the kernel took it out of the frame
};

// Every frame that leaves or reaches an interface, tags as they are on the wire.
class Tap {
 public:
  explicit Tap(const std::string& interface)
      : descriptor_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    EXPECT_EQ(bind(descriptor_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const int on = 1;
    EXPECT_EQ(setsockopt(descriptor_.get(), SOL_PACKET, PACKET_AUXDATA, &on, sizeof on), 0);
  }
  // The next of ours; empty: none came.
  Frame next() {
    while (readable(descriptor_.get())) {
      Frame frame;
      frame.octets.resize(2048);
      alignas(cmsghdr) std::array<char, 256> control{};
      iovec part{frame.octets.data(), frame.octets.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t length = recvmsg(descriptor_.get(), &message, 0);
      if (length < 0) return {};
      frame.octets.resize(static_cast<std::size_t>(length));
      tpacket_auxdata facts{};
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) std::memcpy(&facts, CMSG_DATA(header), sizeof facts);
      if (facts.tp_status & TP_STATUS_VLAN_VALID) frame.vlan = facts.tp_vlan_tci;
      const std::size_t at = 2 * ETH_ALEN + (frame.octets[12] == 0x81 && frame.octets[13] == 0 ? 4 : 0);
      if (frame.octets.size() > at + 2 && frame.octets[at] == 0x88 && frame.octets[at + 1] == 0xb5) return frame;
    }
    return {};
  }

 private:
  Descriptor descriptor_;
};

class SocketTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    // Each test's thread gets a namespace of its own, both ends of the veth in it.
    auto space = NetworkSpace::enter();
    ASSERT_TRUE(space) << space.error().text;
    space_.emplace(std::move(*space));
    const auto made = space_->run(
        "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1\n"
        "ip link add mine address 02:00:00:00:00:01 type veth peer name theirs address 02:00:00:00:00:02\n"
        "ip link set mine up; ip link set theirs up\n");
    ASSERT_TRUE(made) << made.error().text;
  }
  // False: this kernel has no VLAN devices (module 8021q).
  [[nodiscard]] bool make_vlans() const {
    return static_cast<bool>(space_->run(
        "for i in mine theirs; do ip link add link $i name $i.7 type vlan id 7; ip link set $i.7 up; done"));
  }
  static Link link(const std::string& name, std::uint16_t vlan) {
    Link link;
    link.name = name;
    link.vlan = vlan;
    link.l3_name = vlan ? name + "." + std::to_string(vlan) : name;
    link.attach_ifindex = if_nametoindex(name.c_str());
    link.l3_ifindex = if_nametoindex(link.l3_name.c_str());
    link.mac = name == "mine" ? kMine : kTheirs;
    return link;
  }
  static PeerSocket open(const std::string& name, std::uint16_t vlan = 0) {
    auto socket = PeerSocket::open(link(name, vlan));
    EXPECT_TRUE(socket) << socket.error().text;
    return std::move(*socket);
  }
  struct Got {
    Mac from;
    bool to_all;
    std::uint64_t at_ns;
    Octets datagram;
  };
  static std::vector<Got> receive(PeerSocket& socket, std::size_t most = 1000) {
    std::vector<Got> got;
    socket.receive(most, [&got](const PeerSocket::Received& received) {
      got.push_back(
          {received.from, received.to_all, received.at_ns, {received.datagram.begin(), received.datagram.end()}});
    });
    return got;
  }
  void statements_arrive(std::uint16_t vlan);
  std::optional<NetworkSpace> space_;
};

TEST_F(SocketTest, AnEchoIsOneShortFrame) {
  Tap tap("theirs");
  PeerSocket mine = open("mine");
  ASSERT_TRUE(mine.send_echo(kTheirs, 0x1122334455667788));
  const Frame frame = tap.next();
  ASSERT_EQ(frame.octets.size(), 60u);
  EXPECT_EQ(frame.vlan, 0);
  EXPECT_TRUE(std::equal(kTheirs.bytes.begin(), kTheirs.bytes.end(), frame.octets.begin()));
  EXPECT_TRUE(std::equal(kMine.bytes.begin(), kMine.bytes.end(), frame.octets.begin() + 6));
  lb_wire wire{};
  std::memcpy(&wire, frame.octets.data() + ETH_HLEN, sizeof wire);
  EXPECT_EQ(ntohl(wire.magic), XLB_WIRE_MAGIC);
  EXPECT_EQ(wire.version, XLB_WIRE_VERSION);
  EXPECT_EQ(wire.kind, XLB_WIRE_ECHO);
  EXPECT_EQ(wire.flags, 0);
  EXPECT_EQ(wire.nonce, 0x1122334455667788u);
  EXPECT_EQ(std::count(frame.octets.begin() + ETH_HLEN + sizeof wire, frame.octets.end(), 0), 60 - ETH_HLEN - 16);
}

TEST_F(SocketTest, OfAVlanTheFrameIsTagged) {
  Tap tap("theirs");
  Link tagged = link("mine", 0);  // a VLAN device is not needed for sending
  tagged.vlan = 7;
  auto mine = PeerSocket::open(tagged);
  ASSERT_TRUE(mine) << mine.error().text;
  ASSERT_TRUE(mine->send_echo(kTheirs, 1));
  const Frame frame = tap.next();
  const bool in_frame = frame.octets.size() > 16 && frame.octets[12] == 0x81 && frame.octets[13] == 0;
  EXPECT_EQ(in_frame ? frame.octets[15] : frame.vlan, 7);
  EXPECT_EQ(frame.octets.size(), in_frame ? 60u : 56u) << "the shortest on the wire, its tag counted";
}

void SocketTest::statements_arrive(std::uint16_t vlan) {
  PeerSocket mine = open("mine", vlan), theirs = open("theirs", vlan);
  const Seal seal = test::seal(1);
  Assembly receiver = test::assembly("pi9", test::seal(1));
  Statement statement = test::some_statement();
  statement.node = "vlan" + std::to_string(vlan);
  statement.vips.resize(1);
  Address vip = test::address("fd00::1");
  for (int i = 0; i < 60; ++i, vip = vip.next()) {
    statement.vips.push_back({});
    statement.vips.back().vip = vip;
  }
  const auto pieces = pieces_of(statement, &seal);
  ASSERT_TRUE(pieces);
  ASSERT_GE(pieces->size(), 3u);
  for (const Octets& piece : *pieces) ASSERT_TRUE(mine.send_statement(kTheirs, piece));
  ASSERT_TRUE(readable(theirs.fd()));
  std::optional<Heard> heard;
  for (const Got& got : receive(theirs)) {
    EXPECT_EQ(got.from, kMine);
    EXPECT_FALSE(got.to_all);
    heard = receiver.take(got.datagram, got.from, got.at_ns).heard;
  }
  ASSERT_TRUE(heard) << "vlan " << vlan;
  EXPECT_EQ(heard->statement, statement);
  // The longest datagram that there is, to all.
  const Octets longest(kDatagramBytes, 0x5a);
  ASSERT_TRUE(mine.send_statement(kBroadcastMac, longest));
  ASSERT_TRUE(readable(theirs.fd()));
  const auto got = receive(theirs);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(got[0].to_all);
  EXPECT_EQ(got[0].datagram, longest);
  EXPECT_TRUE(receive(mine).empty()) << "nobody hears himself";
}

TEST_F(SocketTest, StatementsArriveWholeWithTheirSender) {
  statements_arrive(0);
}

TEST_F(SocketTest, StatementsArriveOverAVlan) {
  if (!make_vlans()) GTEST_SKIP() << "this kernel has no VLAN devices (module 8021q)";
  statements_arrive(7);
}

TEST_F(SocketTest, EachVlanIsALinkOfItsOwn) {
  if (!make_vlans()) GTEST_SKIP() << "this kernel has no VLAN devices (module 8021q)";
  PeerSocket mine = open("mine"), mine7 = open("mine", 7), theirs = open("theirs"), theirs7 = open("theirs", 7);
  const Octets plain{1, 2, 3}, tagged{4, 5, 6};
  const auto is = [](const Octets& datagram, const Octets& start) {
    return std::equal(start.begin(), start.end(), datagram.begin());
  };
  ASSERT_TRUE(mine.send_statement(kTheirs, plain));
  ASSERT_TRUE(mine7.send_statement(kTheirs, tagged));
  ASSERT_TRUE(readable(theirs.fd()));
  ASSERT_TRUE(readable(theirs7.fd()));
  auto got = receive(theirs);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(is(got[0].datagram, plain));
  got = receive(theirs7);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(is(got[0].datagram, tagged));
}

TEST_F(SocketTest, OfAVlanThatHasNoDeviceHereItIsNobodys) {
  Link other = link("mine", 0);
  other.vlan = 9;
  auto elsewhere = PeerSocket::open(other);
  ASSERT_TRUE(elsewhere);
  PeerSocket mine = open("mine"), theirs = open("theirs");
  ASSERT_TRUE(elsewhere->send_statement(kTheirs, Octets(50)));
  ASSERT_TRUE(mine.send_statement(kTheirs, Octets(70)));
  ASSERT_TRUE(readable(theirs.fd()));
  const auto got = receive(theirs);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].datagram.size(), 70u);
}

TEST_F(SocketTest, OnlyStatementsForThisNodeAreReceived) {
  PeerSocket mine = open("mine"), theirs = open("theirs");
  ASSERT_TRUE(mine.send_echo(kTheirs, 1));
  ASSERT_TRUE(mine.send_statement(Mac{{2, 0, 0, 0, 0, 9}}, Octets(100)));  // which a switch that floods would bring
  ASSERT_TRUE(readable(theirs.fd()));
  EXPECT_TRUE(receive(theirs).empty());
  EXPECT_FALSE(readable(theirs.fd(), 0)) << "and nothing is left";
}

TEST_F(SocketTest, TheAgeDoesNotDependOnWhenItIsRead) {
  PeerSocket mine = open("mine"), theirs = open("theirs");
  const std::uint64_t before = now_ns();
  ASSERT_TRUE(mine.send_statement(kTheirs, Octets(100)));
  ASSERT_TRUE(readable(theirs.fd()));
  const std::uint64_t after = now_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto got = receive(theirs);
  ASSERT_EQ(got.size(), 1u);
  // The clocks are read one after the other: a preemption between them shows up here.
  const std::uint64_t slack = 50'000'000;
  EXPECT_GE(got[0].at_ns + slack, before);
  EXPECT_LE(got[0].at_ns, after + slack);
}

TEST_F(SocketTest, BatchesAreBoundedAndTheRingGoesRound) {
  PeerSocket mine = open("mine"), theirs = open("theirs");
  std::uint32_t next = 0, expected = 0;
  for (int round = 0; round < 5; ++round) {  // the ring more than twice
    for (int i = 0; i < 60; ++i, ++next) {
      OctetWriter out;
      out.number(next);
      out.raw(Octets(60));
      ASSERT_TRUE(mine.send_statement(kTheirs, out.octets()));
    }
    std::size_t looked_at = 0;
    while (looked_at < 60) {
      ASSERT_TRUE(readable(theirs.fd())) << "readable as long as something waits";
      const std::size_t count = theirs.receive(7, [&](const PeerSocket::Received& received) {
        EXPECT_EQ(OctetReader(received.datagram).number<std::uint32_t>(), expected++);
      });
      EXPECT_LE(count, 7u);
      looked_at += count;
    }
    EXPECT_FALSE(readable(theirs.fd(), 0));
  }
  EXPECT_EQ(expected, next);
  EXPECT_EQ(theirs.lost(), 0u);
}

TEST_F(SocketTest, WhatDoesNotFitIsCountedAndTheOldestStay) {
  PeerSocket mine = open("mine"), theirs = open("theirs");
  const std::uint32_t sent = PeerSocket::kRingFrames + 40;
  for (std::uint32_t i = 0; i < sent; ++i) {
    OctetWriter out;
    out.number(i);
    out.raw(Octets(60));
    ASSERT_TRUE(mine.send_statement(kTheirs, out.octets()));
  }
  ASSERT_TRUE(readable(theirs.fd()));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the last are under way in the kernel
  const auto got = receive(theirs);
  ASSERT_EQ(got.size(), PeerSocket::kRingFrames);
  EXPECT_EQ(OctetReader(got[0].datagram).number<std::uint32_t>(), 0u);
  EXPECT_EQ(theirs.lost(), 40u);
  ASSERT_TRUE(mine.send_statement(kTheirs, Octets(100)));
  ASSERT_TRUE(readable(theirs.fd()));
  EXPECT_EQ(receive(theirs).size(), 1u) << "and it goes on";
}

TEST_F(SocketTest, NoFirewallIsInTheWay) {
  if (std::system("command -v nft >/dev/null 2>&1") != 0) GTEST_SKIP() << "needs nft";
  const auto set = space_->run(
      "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; policy drop; };"
      " add chain inet t o { type filter hook output priority 0; policy drop; }'");
  ASSERT_TRUE(set) << set.error().text;
  PeerSocket mine = open("mine"), theirs = open("theirs");
  ASSERT_TRUE(mine.send_statement(kTheirs, Octets(100)));
  EXPECT_TRUE(readable(theirs.fd()));
}

TEST_F(SocketTest, ALinkThatGoesDownAndUpIsListenedToAgain) {
  PeerSocket mine = open("mine"), theirs = open("theirs");
  ASSERT_TRUE(mine.send_statement(kTheirs, Octets(50)));
  ASSERT_TRUE(readable(theirs.fd()));
  ASSERT_TRUE(space_->run("ip link set theirs down"));
  EXPECT_EQ(receive(theirs).size(), 1u) << "what came before is there still";
  EXPECT_TRUE(readable(theirs.fd()));
  EXPECT_TRUE(receive(theirs).empty());
  EXPECT_FALSE(readable(theirs.fd(), 0)) << "said once, or the daemon would spin";
  ASSERT_TRUE(space_->run("ip link set theirs up"));
  for (int i = 0; i < 100 && !readable(theirs.fd(), 20); ++i) {
    ASSERT_TRUE(mine.send_statement(kTheirs, Octets(70)));
  }
  const auto got = receive(theirs);
  ASSERT_FALSE(got.empty());
  EXPECT_EQ(got[0].datagram.size(), 70u);
}

TEST_F(SocketTest, ErrorsAreSentences) {
  PeerSocket mine = open("mine");
  ASSERT_TRUE(space_->run("ip link set mine down"));
  const auto down = mine.send_echo(kTheirs, 1);
  ASSERT_FALSE(down);
  EXPECT_NE(down.error().text.find("mine"), std::string::npos) << down.error().text;
  EXPECT_NE(down.error().text.find("is the link down?"), std::string::npos) << down.error().text;
  ASSERT_TRUE(space_->run("ip link del mine"));
  const auto gone = mine.send_echo(kTheirs, 1);
  ASSERT_FALSE(gone);
  EXPECT_NE(gone.error().text.find("has the interface gone?"), std::string::npos) << gone.error().text;
  Link nowhere;
  nowhere.name = "nowhere";
  nowhere.attach_ifindex = nowhere.l3_ifindex = 4242;
  EXPECT_FALSE(PeerSocket::open(nowhere));
  EXPECT_FALSE(FrameEar::open(nowhere));
}

// ---- FrameEar: frames made by hand on the other end
// ---------------------------------------------------------------------

class FrameEarTest : public SocketTest {
 protected:
  static void send(const Octets& frame, int count = 1) {
    const Descriptor descriptor(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(if_nametoindex("theirs"));
    for (; count > 0; --count)
      ASSERT_EQ(sendto(descriptor.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&address),
                       sizeof address),
                static_cast<ssize_t>(frame.size()));
  }
  static Octets frame(const Mac& to, const Mac& from, std::uint16_t vlan = 0) {
    OctetWriter out;
    out.raw(to.bytes);
    out.raw(from.bytes);
    if (vlan != 0) {
      out.number(std::uint16_t{0x8100});
      out.number(vlan);
    }
    out.number(std::uint16_t{0x0806});
    out.raw(Octets(46));
    return out.take();
  }
  static FrameEar open_ear(std::uint16_t vlan = 0) {
    auto ear = FrameEar::open(link("mine", vlan));
    EXPECT_TRUE(ear) << ear.error().text;
    return std::move(*ear);
  }
};

TEST_F(FrameEarTest, AnyFrameIsAnAnswer) {
  const FrameEar ear = open_ear();
  EXPECT_FALSE(ear.heard());
  for (const Mac& to : {kMine, kBroadcastMac, Mac{{1, 0, 0x5e, 0, 0, 1}}, Mac{{2, 9, 9, 9, 9, 9}}}) {
    send(frame(to, kTheirs));
    EXPECT_TRUE(readable(ear.fd())) << to.text();
    EXPECT_TRUE(ear.heard()) << to.text();
    EXPECT_FALSE(ear.heard()) << "once";
  }
}

TEST_F(FrameEarTest, SwitchChatterAndOwnFramesAreNone) {
  const FrameEar ear = open_ear();
  send(frame({{1, 0x80, 0xc2, 0, 0, 0}}, kTheirs));     // spanning tree
  send(frame({{1, 0x80, 0xc2, 0, 0, 0x0e}}, kTheirs));  // LLDP
  send(frame({{1, 0, 0x0c, 0xcc, 0xcc, 0xcd}}, kTheirs));
  send(frame(kBroadcastMac, kMine));  // a loop somewhere
  PeerSocket mine = open("mine");
  ASSERT_TRUE(mine.send_echo(kTheirs, 1));
  EXPECT_FALSE(readable(ear.fd(), 100));
  EXPECT_FALSE(ear.heard());
  Mac almost = kMine;
  almost.bytes[5] ^= 1;
  send(frame(kBroadcastMac, almost));
  EXPECT_TRUE(readable(ear.fd()));
}

TEST_F(FrameEarTest, ALinkThatGoesDownIsNoAnswer) {
  const FrameEar ear = open_ear();
  ASSERT_TRUE(space_->run("ip link set mine down"));
  EXPECT_TRUE(readable(ear.fd()));
  EXPECT_FALSE(ear.heard());
  EXPECT_FALSE(readable(ear.fd(), 0));
  ASSERT_TRUE(space_->run("ip link set mine up"));
  for (int i = 0; i < 100 && !readable(ear.fd(), 20); ++i) send(frame(kMine, kTheirs));
  EXPECT_TRUE(ear.heard());
}

TEST_F(FrameEarTest, AFloodIsOneAnswer) {
  const FrameEar ear = open_ear();
  send(frame(kMine, kTheirs), 1000);
  EXPECT_TRUE(readable(ear.fd()));
  EXPECT_TRUE(ear.heard());
  EXPECT_FALSE(ear.heard());
}

TEST_F(FrameEarTest, OfAVlanItHearsThatVlan) {
  if (!make_vlans()) GTEST_SKIP() << "this kernel has no VLAN devices (module 8021q)";
  const FrameEar ear = open_ear(7);
  send(frame(kMine, kTheirs), 1000);
  EXPECT_FALSE(readable(ear.fd(), 100)) << "of another network";
  send(frame(kMine, kTheirs, 7), 1000);
  EXPECT_TRUE(readable(ear.fd()));
  EXPECT_TRUE(ear.heard());
  EXPECT_FALSE(ear.heard());
}

}  // namespace
}  // namespace xlb
