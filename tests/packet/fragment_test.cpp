// SPDX-License-Identifier: Apache-2.0
// Fragments (RFC 791, RFC 8200): only the first one has ports; the others follow it, in both directions.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class FragmentTest : public PacketTest {
 protected:
  static constexpr std::size_t kPiece = 1208;  // fits pod B's MTU too

  std::vector<Packet> query(std::size_t size) const {
    return fragments(from_client() / udp() / Payload::of_size(size), kPiece);
  }
  // Not simply fragments of the translated datagram: cut in the same places, its checksum in the first piece is
  // updated.
  std::vector<Packet> at_pod(std::size_t size) const {
    return fragments(from_client(client, pod_a) / udp(kClientPort, 5353) / Payload::of_size(size), kPiece);
  }
  std::vector<Packet> response(std::size_t size) const {
    return fragments(from_pod(pod_a, client) / udp_answer() / Payload::of_size(size), kPiece);
  }
  std::vector<Packet> at_client(std::size_t size) const {
    Packet frame = from_pod(pod_a, client);
    return fragments(Packet(frame.get<Ethernet>()) / ip(vip, client) / udp(53, kClientPort) / Payload::of_size(size),
                     kPiece);
  }
  void open_flow() {
    expect_one_verdict(receive(from_client() / udp() / Payload("a")), XLB_VERDICT_TO_POD);
    expect_one_verdict(answer(from_pod(pod_a, client) / udp_answer() / Payload("b")), XLB_VERDICT_RETURNED);
  }
};
XLB_RUN_SUITE(FragmentTest, kEveryWay, kBothNets);
class FragmentIpv6Test : public FragmentTest {};
XLB_RUN_SUITE(FragmentIpv6Test, kEveryWay, kIpv6Only);
class FragmentIpv4Test : public FragmentTest {};
XLB_RUN_SUITE(FragmentIpv4Test, kEveryWay, kIpv4Only);

TEST_P(FragmentTest, DatagramInPiecesReachesThePod) {
  const auto pieces = query(5000), expected = at_pod(5000);
  ASSERT_EQ(pieces.size(), 5u);
  for (std::size_t i = 0; i < pieces.size(); i++) {
    const Fate fate = receive(pieces[i]);
    expect_forwarded(fate, expected[i], i == 0 ? XLB_VERDICT_TO_POD : XLB_VERDICT_FRAGMENT_IN);
    EXPECT_EQ(fate.after.fragments.size(), 1u);
    EXPECT_EQ(fate.after.services.at(kDns).packets_in, i + 1);
    EXPECT_EQ(fate.after.services.at(kDns).flows, 1u);
  }
}

TEST_P(FragmentTest, LaterPiecesMayComeInAnyOrderAfterTheFirst) {
  const auto pieces = query(5000), expected = at_pod(5000);
  for (const std::size_t i : {0u, 4u, 2u, 3u, 1u}) {
    expect_forwarded(receive(pieces[i]), expected[i], i == 0 ? XLB_VERDICT_TO_POD : XLB_VERDICT_FRAGMENT_IN);
  }
}

TEST_P(FragmentTest, LaterPieceBeforeTheFirstIsDroppedAndCounted) {
  const auto pieces = query(3000);
  const Fate early = receive(pieces[1]);
  expect_dropped(early, XLB_VERDICT_FRAGMENT_UNKNOWN);
  EXPECT_TRUE(early.after.fragments.empty());
  EXPECT_TRUE(early.after.half_open.empty());
  expect_one_verdict(receive(pieces[0]), XLB_VERDICT_TO_POD);
  expect_one_verdict(receive(pieces[1]), XLB_VERDICT_FRAGMENT_IN);
}

TEST_P(FragmentTest, LastPieceOfOneByte) {
  const std::size_t size = 2 * kPiece - 8 + 1;
  const auto pieces = query(size), expected = at_pod(size);
  ASSERT_EQ(pieces.size(), 3u);
  for (std::size_t i = 0; i < pieces.size(); i++) {
    expect_forwarded(receive(pieces[i]), expected[i], i == 0 ? XLB_VERDICT_TO_POD : XLB_VERDICT_FRAGMENT_IN);
  }
}

TEST_P(FragmentTest, AnotherDatagramsIdIsUnknown) {
  const auto pieces = query(3000);
  receive(pieces[0]);
  Packet other = pieces[1];
  if (v4()) other.get<Ipv4>().id ^= 1;
  if (!v4()) other.get<Ipv6Fragment>().id ^= 0x10000;
  expect_dropped(receive(other), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

TEST_P(FragmentTest, AnotherClientsPieceIsUnknown) {
  const auto pieces = query(3000);
  receive(pieces[0]);
  Packet other = pieces[1];
  if (v4()) other.get<Ipv4>().source = far_client;
  if (!v4()) other.get<Ipv6>().source = far_client;
  expect_dropped(receive(other), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

TEST_P(FragmentTest, OldFirstPieceIsForgotten) {
  const auto pieces = query(3000);
  receive(pieces[0]);
  const Traces now = rig().traces();
  ASSERT_EQ(now.fragments.size(), 1u);
  lb_frag old = now.fragments.begin()->second;
  old.seen_mono_ns = mono_ns() - XLB_FRAGMENT_NS - XLB_SECOND_NS;
  rig().put_fragment(now.fragments.begin()->first, old);
  expect_dropped(receive(pieces[1]), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

TEST_P(FragmentTest, PiecesOfADeadBackendAreDropped) {
  const auto pieces = query(3000);
  receive(pieces[0]);
  change_backend(kPodAUdp, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL, kGeneration + 1);
  expect_dropped(receive(pieces[1]), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

TEST_P(FragmentTest, UnknownPieceWithFallBackGoesToTheKernel) {
  // kube-proxy's flows are reassembled there.
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  const Bytes frame = query(3000)[1];
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
}

TEST_P(FragmentTest, AnswerInPiecesLeavesUnderTheVip) {
  open_flow();
  const auto pieces = response(5000), expected = at_client(5000);
  for (std::size_t i = 0; i < pieces.size(); i++) {
    expect_forwarded(answer(pieces[i]), expected[i], i == 0 ? XLB_VERDICT_RETURNED : XLB_VERDICT_FRAGMENT_OUT);
  }
}

TEST_P(FragmentTest, AnswersLaterPieceBeforeItsFirst) {
  // Nobody knows whose it is: it passes to the kernel as the pod sent it.
  open_flow();
  const auto pieces = response(3000);
  const Bytes frame = pieces[1];
  expect_ignored(answer(pieces[1]), frame);
}

TEST_P(FragmentTest, PiecesFollowTheFirstThroughTheKernel) {
  // A pod's MTU is often smaller than the LAN's (flannel: 1450): the first piece does not fit and takes the kernel
  // path, whose connection tracking holds it until it has seen the others. They must not take the short cut.
  fill_slots(kDns, {kPodBUdp, 0});  // MTU 1280
  const auto pieces = fragments(from_client() / udp() / Payload::of_size(3500), 1400);
  ASSERT_EQ(pieces.size(), 3u);
  for (std::size_t i = 0; i < pieces.size(); i++) {
    const Fate fate = receive(pieces[i]);
    EXPECT_EQ(fate.output.action, kTcUnspec) << "piece " << i;
    expect_one_verdict(fate, i == 0 ? XLB_VERDICT_TO_KERNEL : XLB_VERDICT_FRAGMENT_IN);
    EXPECT_EQ(fate.decoded().destination, pod_b);
  }
}

TEST_P(FragmentTest, TheTwoDirectionsDoNotMix) {
  // Same id in both directions at once.
  open_flow();
  const auto in = query(3000), out = response(3000);
  receive(in[0]);
  answer(out[0]);
  expect_forwarded(receive(in[1]), at_pod(3000)[1], XLB_VERDICT_FRAGMENT_IN);
  expect_forwarded(answer(out[1]), at_client(3000)[1], XLB_VERDICT_FRAGMENT_OUT);
}

TEST_P(FragmentIpv4Test, PiecesOfAnIpv4DatagramWithOptions) {
  Packet whole = from_client() / udp() / Payload::of_size(2000);
  whole.get<Ipv4>().options = Bytes(12, 1);
  Packet translated = from_client(client, pod_a) / udp(kClientPort, 5353) / Payload::of_size(2000);
  translated.get<Ipv4>().options = Bytes(12, 1);
  const auto pieces = fragments(whole, kPiece), expected = fragments(translated, kPiece);
  for (std::size_t i = 0; i < pieces.size(); i++) {
    expect_forwarded(receive(pieces[i]), expected[i], i == 0 ? XLB_VERDICT_TO_POD : XLB_VERDICT_FRAGMENT_IN);
  }
}

TEST_P(FragmentIpv6Test, AtomicFragmentIsAWholePacket) {
  const auto atomic = [&](const IpAddress& to, std::uint16_t port) {
    return Packet(Ethernet{.source = client_mac, .destination = own_mac}) / ip(client, to) / Ipv6Fragment{} /
           udp(kClientPort, port) / Payload("abc");
  };
  const Fate fate = receive(atomic(vip, 53));
  expect_forwarded(fate, atomic(pod_a, 5353), XLB_VERDICT_TO_POD);
  EXPECT_TRUE(fate.after.fragments.empty());
}

TEST_P(FragmentTest, FirstPieceTooShortForItsPortsIsMalformed) {
  // A tiny first fragment is an old trick against filters (RFC 1858).
  Packet piece = from_client();
  if (v4())
    piece.get<Ipv4>().more_fragments = true, piece.get<Ipv4>().dont_fragment = false,
    piece.get<Ipv4>().protocol = IPPROTO_TCP;
  if (!v4()) piece /= Ipv6Fragment{.more = true, .next_header = IPPROTO_TCP};
  expect_dropped(receive(piece / Payload::of_size(8)), XLB_VERDICT_MALFORMED);
}

TEST_P(FragmentTest, TcpInPiecesIsForwardedToo) {
  const auto pieces = fragments(from_client() / tcp(kAck) / Payload::of_size(2000), kPiece);
  const auto expected =
      fragments(from_client(client, pod_a) / tcp(kAck, kClientPort, 8080) / Payload::of_size(2000), kPiece);
  open_connection();
  for (std::size_t i = 0; i < pieces.size(); i++) {
    expect_forwarded(receive(pieces[i]), expected[i], i == 0 ? XLB_VERDICT_TO_POD : XLB_VERDICT_FRAGMENT_IN);
  }
}

TEST_P(FragmentTest, PieceThatOverlapsTheHeaderIsNotTakenForAFirstOne) {
  // Offset 8: its first bytes look like ports, but are not (RFC 3128).
  Packet piece = from_client();
  if (v4()) piece.get<Ipv4>().fragment_offset = 8, piece.get<Ipv4>().protocol = IPPROTO_TCP;
  if (!v4()) piece /= Ipv6Fragment{.offset = 8, .next_header = IPPROTO_TCP};
  expect_dropped(receive(piece / Payload(Bytes{0x9c, 0x40, 0, 80, 0, 0, 0, 0})), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

}  // namespace
}  // namespace xlb
