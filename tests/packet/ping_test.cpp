// SPDX-License-Identifier: Apache-2.0
// ICMP echo to a VIP.
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class PingTest : public PacketTest {
 protected:
  Packet echo(bool request, std::size_t size) const {
    const std::uint8_t type = v4() ? (request ? 8 : 0) : (request ? 128 : 129);
    if (v4()) return Icmp{.type = type, .rest = 0x12340001} / Payload::of_size(size);
    return Icmp6{.type = type, .rest = 0x12340001} / Payload::of_size(size);
  }
  Packet request(std::size_t size = 56) const { return from_client() / echo(true, size); }
  Packet reply(std::size_t size = 56) const {
    return Packet(Ethernet{.source = own_mac, .destination = client_mac}) / ip(vip, client) / echo(false, size);
  }
  void expect_unanswered(const Packet& packet) { expect_dropped(receive(packet), XLB_VERDICT_PING_UNANSWERED); }
};
XLB_RUN_SUITE(PingTest, kEveryWay, kBothNets);

TEST_P(PingTest, RequestIsAnsweredAtEverySize) {
  for (const std::size_t size : {0u, 1u, 2u, 31u, 56u, 57u, 1400u, 1472u}) {
    const Fate fate = receive(request(size));
    expect_sent_back(fate, XLB_VERDICT_PING_REPLY);
    EXPECT_EQ(difference(reply(size).bytes(), fate.output.frame), "") << size << " bytes";
    if (with_xdp()) {
      EXPECT_TRUE(fate.in_xdp);
    }
  }
}

TEST_P(PingTest, CountsTheBytesOfTheFrame) {
  const Fate fate = receive(request(100));
  EXPECT_EQ(fate.after.counters[XLB_VERDICT_PING_REPLY].bytes, request(100).bytes().size());
  EXPECT_TRUE(fate.after.flows.empty());
  EXPECT_TRUE(fate.after.half_open.empty());
}

TEST_P(PingTest, EveryChecksumIsRightForAnyIdentifier) {
  // The incremental update must carry around: all values of one checksummed word.
  for (std::uint32_t id = 0; id < 0x10000; id += 251) {
    Packet packet = request(2);
    if (v4()) packet.get<Icmp>().rest = id << 16;
    if (!v4()) packet.get<Icmp6>().rest = id << 16;
    const Output output = rig().run(Program::lan_tc, Input{.frame = packet.bytes(), .ifindex = lan});
    ASSERT_EQ(output.action, kTcRedirect);
    const Decoded got = decode(output.frame);
    ASSERT_TRUE(got.sound()) << got.text();
  }
}

TEST_P(PingTest, WithoutHealthyBackendItIsUnanswered) {
  lb_vip row = vip_row(kVipId);
  row.healthy = 0;
  rig().set_vip(vip, row);
  expect_unanswered(request());
}

TEST_P(PingTest, SwitchedOffItIsUnanswered) {
  rig().set_vip(vip, vip_row(kVipId, 0));
  expect_unanswered(request());
}

TEST_P(PingTest, UnansweredWithFallBackGoesToTheKernel) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  const Bytes frame = request();
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
}

TEST_P(PingTest, IsAnsweredWhileTheVipIsMovingAway) {
  // Losing a VIP clears `owned` but forwards what still arrives: clients' caches take their time.
  lb_vip row = vip_row(kVipId);
  row.owned_epoch = 0;
  rig().set_vip(vip, row);
  expect_sent_back(receive(request()), XLB_VERDICT_PING_REPLY);
}

TEST_P(PingTest, ForeignMacPasses) {
  Packet packet = request();
  packet.get<Ethernet>().destination = "02:00:00:00:00:77";
  expect_ignored(packet);
  packet.get<Ethernet>().destination = kBroadcast;
  expect_ignored(packet);
}

TEST_P(PingTest, ToTheNodeItselfPasses) {
  expect_ignored(from_client(client, node_address) / echo(true, 56));
}

TEST_P(PingTest, EchoReplyToTheVipIsNoBusinessOfOurs) {
  expect_dropped(receive(from_client() / echo(false, 56)), XLB_VERDICT_ICMP_UNKNOWN);
}

TEST_P(PingTest, TtlOfOneIsEnough) {
  Packet packet = request();
  if (v4()) packet.get<Ipv4>().ttl = 1;
  if (!v4()) packet.get<Ipv6>().hop_limit = 1;
  expect_sent_back(receive(packet), XLB_VERDICT_PING_REPLY);
}

TEST_P(PingTest, ReplyDoesNotInheritAWornTtl) {
  // A request from far away arrives with few hops left; its answer has as far to go.
  Packet packet = request();
  if (v4()) packet.get<Ipv4>().ttl = 3;
  if (!v4()) packet.get<Ipv6>().hop_limit = 3;
  EXPECT_GE(receive(packet).decoded().hop_limit, 64);
}

TEST_P(PingTest, TaggedRequestKeepsItsTag) {
  lb_link tagged = link;
  rig().set_link(lan, 7, tagged);
  const Packet packet = Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} /
                        ip(client, vip) / echo(true, 56);
  const Fate fate = receive(packet);
  expect_sent_back(fate, XLB_VERDICT_PING_REPLY);
  if (fate.in_xdp) {
    EXPECT_EQ(fate.decoded().vlans, std::vector<std::uint16_t>{7});
  }
}

TEST_P(PingTest, LargeRequestInFragmentsComesBackWhole) {
  const std::vector<Packet> pieces = fragments(request(3000), 1480);
  const std::vector<Packet> expected = fragments(reply(3000), 1480);
  for (std::size_t i = 0; i < pieces.size(); i++) {
    const Fate fate = receive(pieces[i]);
    EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpTx : kTcRedirect);
    EXPECT_EQ(difference(expected[i].bytes(), fate.output.frame), "");
  }
}

TEST_P(PingTest, EthernetPaddingStays) {
  Bytes padded = request(0), expected = reply(0);
  padded.resize(padded.size() + 18, 0);
  expected.resize(padded.size(), 0);
  const Fate fate = receive(Input{.frame = padded, .ifindex = lan});
  expect_sent_back(fate, XLB_VERDICT_PING_REPLY);
  EXPECT_EQ(difference(expected, fate.output.frame), "");
}

TEST_P(PingTest, FromImpossibleSourcesIsDropped) {
  const std::vector<IpAddress> sources =
      v4() ? std::vector<IpAddress>{"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", vip}
           : std::vector<IpAddress>{"::", "::1", "ff02::1", vip};
  for (const IpAddress& source : sources) {
    expect_dropped(receive(from_client(source, vip) / echo(true, 8)), XLB_VERDICT_MALFORMED);
  }
}

}  // namespace
}  // namespace xlb
