// SPDX-License-Identifier: Apache-2.0
// UDP through the VIP: checksums that are absent, that come out as zero, and datagrams of any size.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class UdpTest : public PacketTest {
 protected:
  Packet query(const Payload& payload, std::optional<std::uint16_t> checksum = {}) const {
    Udp header = udp();
    header.checksum = checksum;
    return from_client() / header / payload;
  }
  Packet at_pod(const Payload& payload, std::optional<std::uint16_t> checksum = {}) const {
    Udp header = udp(kClientPort, 5353);
    header.checksum = checksum;
    return from_client(client, pod_a) / header / payload;
  }
  Packet response(const Payload& payload, std::optional<std::uint16_t> checksum = {}) const {
    Udp header = udp_answer();
    header.checksum = checksum;
    return from_pod(pod_a, client) / header / payload;
  }
  Packet at_client(const Payload& payload, std::optional<std::uint16_t> checksum = {}) const {
    Packet frame = from_pod(pod_a, client);
    Udp header = udp(53, kClientPort);
    header.checksum = checksum;
    return Packet(frame.get<Ethernet>()) / ip(vip, client) / header / payload;
  }
};
XLB_RUN_SUITE(UdpTest, kEveryWay, kBothNets);
class UdpIpv4Test : public UdpTest {};
XLB_RUN_SUITE(UdpIpv4Test, kEveryWay, kIpv4Only);

TEST_P(UdpTest, DatagramsOfEverySizeBothWays) {
  for (const std::size_t size : {0u, 1u, 2u, 3u, 64u, 511u, 512u, 1232u, 1452u}) {
    expect_forwarded(receive(query(Payload::of_size(size))), at_pod(Payload::of_size(size)), XLB_VERDICT_TO_POD);
    expect_forwarded(answer(response(Payload::of_size(size))), at_client(Payload::of_size(size)),
                     XLB_VERDICT_RETURNED);
  }
}

TEST_P(UdpTest, FirstDatagramsAreHalfOpenUntilAnswered) {
  const Fate first = receive(query(Payload("a")));
  EXPECT_TRUE(first.after.flows.empty());
  EXPECT_EQ(first.after.half_open.size(), 2u);
  EXPECT_EQ(first.after.services.at(kDns).flows, 1u);
  answer(response(Payload("b")));
  const Fate second = receive(query(Payload("c")));
  EXPECT_EQ(second.after.flows.size(), 2u) << describe(second.before, second.after);
  EXPECT_EQ(second.after.services.at(kDns).flows, 1u);
  EXPECT_EQ(second.after.services.at(kDns).packets_in, 2u);
  EXPECT_EQ(second.after.services.at(kDns).packets_out, 1u);
}

TEST_P(UdpTest, FlowEndsAfterItsTime) {
  receive(query(Payload("a")));
  answer(response(Payload("b")));
  receive(query(Payload("c")));
  fill_slots(kDns, {kPodBUdp, kPodAUdp});
  expect_forwarded(receive(query(Payload("d"))), at_pod(Payload("d")), XLB_VERDICT_TO_POD);
  Traces now = rig().traces();
  for (const auto& [key, flow] : now.flows) {
    lb_flow old = flow;
    old.seen_mono_ns = mono_ns() - XLB_UDP_NS - XLB_SECOND_NS;
    rig().put_flow(key, old);
  }
  const Fate fate = receive(query(Payload("e")));
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  EXPECT_EQ(fate.decoded().destination, pod_b);
}

TEST_P(UdpIpv4Test, AbsentChecksumStaysAbsent) {
  expect_forwarded(receive(query(Payload("abc"), 0)), at_pod(Payload("abc"), 0), XLB_VERDICT_TO_POD);
  expect_forwarded(answer(response(Payload("abc"), 0)), at_client(Payload("abc"), 0), XLB_VERDICT_RETURNED);
}

TEST_P(UdpTest, ChecksumThatComesOutAsZeroIsWrittenAsAllOnes) {
  // Looks for payloads whose checksum is 0xffff (the written form of zero) after translation, in both directions.
  for (const bool inward : {true, false}) {
    unsigned found = 0;
    for (std::uint32_t word = 0; word < 0x10000 && found < 2; word++) {
      const Payload payload(Bytes{static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)});
      const Packet expected = inward ? at_pod(payload) : at_client(payload);
      if (decode(expected.bytes()).checksum != 0xffff) continue;
      found++;
      if (inward) expect_forwarded(receive(query(payload)), expected, XLB_VERDICT_TO_POD);
      if (!inward) expect_forwarded(answer(response(payload)), expected, XLB_VERDICT_RETURNED);
    }
    EXPECT_GE(found, 1u);
  }
}

TEST_P(UdpTest, ChecksumThatWasAllOnesIsTranslatedToo) {
  unsigned found = 0;
  for (std::uint32_t word = 0; word < 0x10000 && found < 1; word++) {
    const Payload payload(Bytes{static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)});
    if (decode(query(payload).bytes()).checksum != 0xffff) continue;
    found++;
    expect_forwarded(receive(query(payload)), at_pod(payload), XLB_VERDICT_TO_POD);
  }
  EXPECT_EQ(found, 1u);
}

TEST_P(UdpTest, EthernetPaddingIsNotPayload) {
  Bytes frame = query(Payload("x"));
  frame.resize(frame.size() + 20, 0xee);
  Bytes expected = at_pod(Payload("x"));
  expected.resize(expected.size() + 20, 0xee);
  const Fate fate = receive(Input{.frame = frame, .ifindex = lan});
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  EXPECT_EQ(difference(expected, fate.output.frame), "");
}

TEST_P(UdpTest, ShortLengthFieldIsMalformed) {
  for (const int length : {0, 1, 7}) {
    Udp header = udp();
    header.length = static_cast<std::uint16_t>(length);
    expect_dropped(receive(from_client() / header / Payload("abc")), XLB_VERDICT_MALFORMED);
  }
}

TEST_P(UdpTest, LengthFieldBeyondThePacketIsMalformed) {
  Udp header = udp();
  header.length = 500;
  expect_dropped(receive(from_client() / header / Payload("abc")), XLB_VERDICT_MALFORMED);
}

TEST_P(UdpTest, JumboFrameGoesByTheKernelWhenThePodsMtuIsSmaller) {
  // The kernel then fragments it, or says "packet too big".
  const Payload payload = Payload::of_size(2000);
  expect_passed_up(receive(query(payload)), at_pod(payload), XLB_VERDICT_TO_KERNEL);
}

TEST_P(UdpTest, JumboFrameGoesStraightToAPodThatTakesIt) {
  ASSERT_TRUE(sandbox().in_node("ip link set pod0 mtu 3500"));
  const Payload payload = Payload::of_size(3000);
  const Fate fate = receive(query(payload));
  EXPECT_TRUE(sandbox().in_node("ip link set pod0 mtu 1500"));
  expect_forwarded(fate, at_pod(payload), XLB_VERDICT_TO_POD);
}

TEST_P(UdpTest, FrameOfExactlyTheMtuFits) {
  const std::size_t header = v4() ? 28 : 48;
  const Payload fits = Payload::of_size(1500 - header), over = Payload::of_size(1501 - header);
  expect_forwarded(receive(query(fits)), at_pod(fits), XLB_VERDICT_TO_POD);
  expect_passed_up(receive(query(over)), at_pod(over), XLB_VERDICT_TO_KERNEL);
}

TEST_P(UdpTest, BackendWithASmallMtu) {
  fill_slots(kDns, {kPodBUdp, 0});  // pod B: 1280
  const std::size_t header = v4() ? 28 : 48;
  const auto verdict = [&](std::size_t size) {
    const Fate fate = receive(query(Payload::of_size(size)));
    return fate.verdicts().size() == 1 ? fate.verdicts()[0] : XLB_VERDICT_PASS;
  };
  EXPECT_EQ(verdict(1280 - header), XLB_VERDICT_TO_POD);
  EXPECT_EQ(verdict(1281 - header), XLB_VERDICT_TO_KERNEL);
}

}  // namespace
}  // namespace xlb
