// SPDX-License-Identifier: Apache-2.0
// Echoes between nodes: sent back to known peers only, counted once when they come home, never up the stack.
#include <arpa/inet.h>
#include <linux/pkt_sched.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "tests/packet/peers.hpp"

namespace xlb {
namespace {

using namespace packet;

class EchoTest : public WithPeers {
 protected:
  static constexpr std::uint64_t kNonce = 0x1122334455667788;

  static std::uint32_t row_of(std::uint32_t node_id, std::uint64_t nonce = kNonce) {
    return node_id * XLB_ECHOES + static_cast<std::uint32_t>(nonce % XLB_ECHOES);
  }
  static lb_wire wire(unsigned kind, std::uint64_t nonce = kNonce, unsigned flags = 0) {
    lb_wire wire{};
    wire.magic = htonl(XLB_WIRE_MAGIC);
    wire.version = XLB_WIRE_VERSION;
    wire.kind = static_cast<std::uint8_t>(kind);
    wire.flags = static_cast<std::uint8_t>(flags);
    wire.nonce = nonce;
    return wire;
  }
  Packet frame(const lb_wire& wire, std::size_t size = 46) const {
    Bytes bytes(std::max(size, sizeof wire));
    std::memcpy(bytes.data(), &wire, sizeof wire);
    bytes.resize(size);
    return Ethernet{.source = pi2_mac, .destination = own_mac, .type = XLB_ETHERTYPE} / Payload(bytes);
  }
  Packet question() const { return frame(wire(XLB_WIRE_ECHO)); }
  Packet home(std::uint64_t nonce = kNonce, unsigned flags = 0) const {
    return frame(wire(XLB_WIRE_RETURN, nonce, flags));
  }
  // As it goes back: the MACs have changed places.
  void expect_returned(const Packet& sent, unsigned flags) {
    Bytes expected = sent.bytes();
    const std::size_t l3 = expected[12] == 0x81 ? 18 : 14;
    std::swap_ranges(expected.begin(), expected.begin() + 6, expected.begin() + 6);
    expected[l3 + offsetof(lb_wire, kind)] = XLB_WIRE_RETURN;
    expected[l3 + offsetof(lb_wire, flags)] = static_cast<std::uint8_t>(flags);
    const Fate fate = receive(sent);
    EXPECT_EQ(fate.in_xdp, with_xdp());
    if (!fate.in_xdp && l3 == 18) expected.erase(expected.begin() + 12, expected.begin() + 16);  // in the metadata
    EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpTx : kTcRedirect);
    EXPECT_EQ(difference(expected, fate.output.frame), "");
    // Ahead of bulk traffic in a queue with bands; what XDP sends knows no queue.
    EXPECT_EQ(fate.output.priority, fate.in_xdp ? 0u : static_cast<unsigned>(TC_PRIO_INTERACTIVE));
    expect_one_verdict(fate, XLB_VERDICT_ECHO_RETURNED);
  }
  void expect_nothing_noted() { EXPECT_TRUE(rig().traces().echoes.empty()); }
};
XLB_RUN_SUITE(EchoTest, kEveryWay, kIpv4Only);

TEST_P(EchoTest, OfAPeerIsSentBack) {
  expect_returned(question(), 0);
  expect_nothing_noted();
}

TEST_P(EchoTest, IsSentBackInAnyLength) {
  for (const std::size_t size : {sizeof(lb_wire), std::size_t{17}, std::size_t{1486}}) {
    expect_returned(frame(wire(XLB_WIRE_ECHO), size), 0);
  }
}

TEST_P(EchoTest, EveryMacOfAPeerIsThePeer) {
  const MacAddress second{"02:00:00:00:01:12"};
  rig().set_peer_mac(second, kPi2);
  Packet packet = question();
  packet.get<Ethernet>().source = second;
  expect_returned(packet, 0);
}

TEST_P(EchoTest, IsAnsweredForADeadPeerToo) {
  set_alive(kPi2, false);  // that its echoes do not come home is no reason to be silent
  expect_returned(question(), 0);
}

TEST_P(EchoTest, SaysThatTheLeaseIsOver) {
  node.lease_boot_ns = boot_ns() + 60 * XLB_SECOND_NS;
  rig().set_node(node);
  expect_returned(question(), 0);
  node.lease_boot_ns = boot_ns() - 1;
  rig().set_node(node);
  expect_returned(question(), XLB_WIRE_STALE);
  // What the question says of itself does not matter.
  expect_returned(frame(wire(XLB_WIRE_ECHO, kNonce, 0xff)), XLB_WIRE_STALE);
  node.lease_boot_ns = XLB_FOREVER;
  rig().set_node(node);
  expect_returned(frame(wire(XLB_WIRE_ECHO, kNonce, 0xff)), 0);
}

TEST_P(EchoTest, OnATaggedLink) {
  rig().set_link(lan, 7, link);
  const Bytes plain = question();
  Packet tagged = Packet(Ethernet{.source = pi2_mac, .destination = own_mac}) /
                  Vlan{.id = 7, .type = XLB_ETHERTYPE} / Payload(Bytes(plain.begin() + 14, plain.end()));
  expect_returned(tagged, 0);
  tagged.get<Vlan>().id = 8;
  expect_ignored(tagged);
}

TEST_P(EchoTest, OfAStrangerIsDroppedAndCounted) {
  for (const unsigned kind : {XLB_WIRE_ECHO, XLB_WIRE_RETURN}) {
    Packet packet = frame(wire(kind));
    packet.get<Ethernet>().source = "02:00:00:00:00:99";
    const Fate fate = receive(packet);
    EXPECT_EQ(fate.in_xdp, with_xdp());
    expect_dropped(fate, XLB_VERDICT_ECHO_STRANGER);
  }
  expect_nothing_noted();
}

TEST_P(EchoTest, AnythingElseOfTheEtherTypePasses) {
  lb_wire other = wire(XLB_WIRE_ECHO);
  other.magic = htonl(XLB_WIRE_MAGIC + 1);
  expect_ignored(frame(other));
  other = wire(XLB_WIRE_ECHO);
  other.version = XLB_WIRE_VERSION + 1;
  expect_ignored(frame(other));
  for (const unsigned kind : {0u, XLB_WIRE_STATEMENT, 4u, 255u}) {
    expect_ignored(frame(wire(kind)));
  }
  Packet stranger = frame(wire(XLB_WIRE_STATEMENT));
  stranger.get<Ethernet>().source = "02:00:00:00:00:99";
  expect_ignored(stranger);
}

TEST_P(EchoTest, CutShortItPasses) {
  const Bytes whole = frame(wire(XLB_WIRE_ECHO), sizeof(lb_wire)).bytes();
  for (std::size_t length = 14; length < whole.size(); length++) expect_ignored_cut(whole, length);
}

TEST_P(EchoTest, ToAnybodyElseItPasses) {
  for (const MacAddress& to : {kBroadcast, MacAddress("01:80:c2:00:00:0e"), MacAddress("02:00:00:00:00:77")}) {
    for (const unsigned kind : {XLB_WIRE_ECHO, XLB_WIRE_RETURN, XLB_WIRE_STATEMENT}) {
      Packet packet = frame(wire(kind));
      packet.get<Ethernet>().destination = to;
      expect_ignored(packet);
    }
  }
}

TEST_P(EchoTest, ComesHomeOnce) {
  rig().set_echo(row_of(kPi2), {.nonce = kNonce, .returned_mono_ns = 0, .flags = ~0u, .pad = 0});
  const std::uint64_t before = mono_ns();
  const Fate fate = receive(home());
  EXPECT_EQ(fate.in_xdp, with_xdp());
  EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpDrop : kTcShot);
  expect_one_verdict(fate, XLB_VERDICT_ECHO_HOME);
  const lb_echo echo = fate.after.echoes.at(row_of(kPi2));
  EXPECT_EQ(echo.nonce, 0u);
  EXPECT_EQ(echo.flags, 0u);
  EXPECT_GE(echo.returned_mono_ns, before);
  EXPECT_LE(echo.returned_mono_ns, mono_ns());

  const Fate replayed = receive(home());
  expect_dropped(replayed, XLB_VERDICT_ECHO_LATE);
  EXPECT_EQ(replayed.after.echoes.at(row_of(kPi2)).returned_mono_ns, echo.returned_mono_ns);
}

TEST_P(EchoTest, ComesHomeStale) {
  rig().set_echo(row_of(kPi2), {.nonce = kNonce, .returned_mono_ns = 0, .flags = ~0u, .pad = 0});
  const Fate fate = receive(home(kNonce, XLB_WIRE_STALE));
  expect_one_verdict(fate, XLB_VERDICT_ECHO_HOME);
  EXPECT_EQ(fate.after.echoes.at(row_of(kPi2)).flags, XLB_WIRE_STALE);
}

TEST_P(EchoTest, OnlyTheRightNonceOfTheRightPeerCounts) {
  rig().set_echo(row_of(kPi2), {.nonce = kNonce, .returned_mono_ns = 0, .flags = ~0u, .pad = 0});
  expect_dropped(receive(home(kNonce ^ (1ull << 63))), XLB_VERDICT_ECHO_LATE);  // the same row
  expect_dropped(receive(home(kNonce + 1)), XLB_VERDICT_ECHO_LATE);
  Packet other = home();
  other.get<Ethernet>().source = pi3_mac;
  expect_dropped(receive(other), XLB_VERDICT_ECHO_LATE);
  const lb_echo echo = rig().traces().echoes.at(row_of(kPi2));
  EXPECT_EQ(echo.nonce, kNonce);
  EXPECT_EQ(echo.returned_mono_ns, 0u);
  rig().set_echo(row_of(kPi2), {});
  expect_dropped(receive(home(0)), XLB_VERDICT_ECHO_LATE);  // a row that waits for nothing has the nonce 0
}

TEST_P(EchoTest, TheLastRowOfTheLastPeer) {
  const std::uint64_t nonce = 0xff00 + XLB_ECHOES - 1;
  rig().set_echo(row_of(kPi3, nonce), {.nonce = nonce, .returned_mono_ns = 0, .flags = ~0u, .pad = 0});
  Packet packet = home(nonce);
  packet.get<Ethernet>().source = pi3_mac;
  const Fate fate = receive(packet);
  expect_one_verdict(fate, XLB_VERDICT_ECHO_HOME);
  EXPECT_NE(fate.after.echoes.at(XLB_MAX_PEERS * XLB_ECHOES - 1).returned_mono_ns, 0u);
}

TEST_P(EchoTest, AfterATrialNothingIsReturned) {
  node.try_mono_ns = 1;
  rig().set_node(node);
  expect_ignored(question());
}

}  // namespace
}  // namespace xlb
