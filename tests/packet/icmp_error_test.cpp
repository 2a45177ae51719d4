// SPDX-License-Identifier: Apache-2.0
// ICMP errors about flows, both ways: path MTU discovery and "port unreachable" live of them (RFC 1191, 8201, 5508).
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class IcmpErrorTest : public PacketTest {
 protected:
  // "Packet too big" with a next-hop MTU of 1280.
  Packet too_big() const {
    if (v4()) return Icmp{.type = 3, .code = 4, .rest = 1280};
    return Icmp6{.type = 2, .code = 0, .rest = 1280};
  }
  Packet unreachable() const {
    if (v4()) return Icmp{.type = 3, .code = 3};
    return Icmp6{.type = 1, .code = 4};
  }
  Packet time_exceeded() const {
    if (v4()) return Icmp{.type = 11, .code = 0};
    return Icmp6{.type = 3, .code = 0};
  }
  // A prefix of the packet's bytes, as routers quote them.
  static Payload quote(const Packet& packet, std::size_t length) {
    Bytes bytes = packet.bytes();
    bytes.resize(std::min(length, bytes.size()));
    return Payload(bytes);
  }
  // What a router on the way to the client saw: VIP to client.
  Packet seen_by_router(std::size_t payload = 1000) const {
    return ip(vip, client) /
           Tcp{.source_port = 80, .destination_port = kClientPort, .sequence = 5000, .flags = kAck} /
           Payload::of_size(payload);
  }
  // The same as the pod sent it.
  Packet sent_by_pod(std::size_t payload = 1000) const {
    return ip(pod_a, client) /
           Tcp{.source_port = 8080, .destination_port = kClientPort, .sequence = 5000, .flags = kAck} /
           Payload::of_size(payload);
  }
  IpAddress router() const { return v4() ? "198.51.100.1" : "2001:db8:51::1"; }
  std::size_t header() const { return v4() ? 20 : 40; }
};
XLB_RUN_SUITE(IcmpErrorTest, kEveryWay, kBothNets);
class IcmpErrorIpv4Test : public IcmpErrorTest {};
XLB_RUN_SUITE(IcmpErrorIpv4Test, kEveryWay, kIpv4Only);

TEST_P(IcmpErrorTest, PacketTooBigReachesThePodThatSentIt) {
  open_connection();
  for (const Packet& error : {too_big(), unreachable(), time_exceeded()}) {
    const Fate fate = receive(from_client(router(), vip) / error / seen_by_router());
    expect_forwarded(fate, from_client(router(), pod_a) / error / sent_by_pod(), XLB_VERDICT_ICMP_ERROR_IN);
    EXPECT_TRUE(fate.decoded().sound()) << fate.decoded().text();
  }
}

TEST_P(IcmpErrorTest, QuotesOfEveryLength) {
  // At least 8 bytes behind the IP header (RFC 792); TCP's checksum field ends at 18, UDP's at 8.
  open_connection();
  for (std::size_t length = header() + 8; length < header() + 64; length++) {
    if (length == header() + 17) continue;  // half of a checksum field cannot be right
    expect_forwarded(receive(from_client(router(), vip) / too_big() / quote(seen_by_router(), length)),
                     from_client(router(), pod_a) / too_big() / quote(sent_by_pod(), length),
                     XLB_VERDICT_ICMP_ERROR_IN);
  }
}

TEST_P(IcmpErrorTest, QuotesThatAreTooShortAreUnknown) {
  open_connection();
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, header() - 1, header(), header() + 3}) {
    expect_dropped(receive(from_client(router(), vip) / too_big() / quote(seen_by_router(), length)),
                   XLB_VERDICT_ICMP_UNKNOWN);
  }
}

TEST_P(IcmpErrorIpv4Test, QuoteWithIpOptions) {
  open_connection();
  Packet inner = seen_by_router(), expected = sent_by_pod();
  inner.get<Ipv4>().options = expected.get<Ipv4>().options = Bytes(8, 1);
  expect_forwarded(receive(from_client(router(), vip) / too_big() / inner),
                   from_client(router(), pod_a) / too_big() / expected, XLB_VERDICT_ICMP_ERROR_IN);
}

TEST_P(IcmpErrorTest, DatagramsWithAndWithoutChecksum) {
  receive(from_client() / udp() / Payload("query"));
  for (const bool summed : {true, false}) {
    if (!summed && !v4()) continue;
    Udp seen = udp(53, kClientPort), sent = udp_answer();
    if (!summed) seen.checksum = sent.checksum = 0;
    for (const std::size_t length : {header() + 8, header() + 9, header() + 200}) {
      expect_forwarded(receive(from_client(client, vip) / unreachable() /
                               quote(ip(vip, client) / seen / Payload::of_size(100), length)),
                       from_client(client, pod_a) / unreachable() /
                           quote(ip(pod_a, client) / sent / Payload::of_size(100), length),
                       XLB_VERDICT_ICMP_ERROR_IN);
    }
  }
}

TEST_P(IcmpErrorTest, InnerUdpChecksumThatComesOutAsZero) {
  receive(from_client() / udp() / Payload("query"));
  unsigned found = 0;
  for (std::uint32_t word = 0; word < 0x10000 && found < 2; word++) {
    const Payload payload(Bytes{static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)});
    const Packet sent = ip(pod_a, client) / udp_answer() / payload;
    if (decode_ip(sent.bytes(), false).checksum != 0xffff) continue;
    found++;
    expect_forwarded(
        receive(from_client(client, vip) / unreachable() / (ip(vip, client) / udp(53, kClientPort) / payload)),
        from_client(client, pod_a) / unreachable() / sent, XLB_VERDICT_ICMP_ERROR_IN);
  }
  EXPECT_GE(found, 1u);
}

TEST_P(IcmpErrorTest, ChecksumsAreRightForManyQuotes) {
  open_connection();
  for (std::uint32_t word = 0; word < 0x10000; word += 509) {
    Packet seen = seen_by_router(20), sent = sent_by_pod(20);
    seen.get<Tcp>().window = sent.get<Tcp>().window = static_cast<std::uint16_t>(word);
    const Output output =
        rig().run(Program::lan_tc, Input{.frame = from_client(router(), vip) / too_big() / seen, .ifindex = lan});
    ASSERT_EQ(difference((from_client(router(), pod_a) / too_big() / sent).bytes(), output.frame), "");
  }
}

TEST_P(IcmpErrorTest, AboutAConnectionThatThisNodeDoesNotKnow) {
  // The node that owned the VIP has just died: the slot names the backend.
  expect_forwarded(receive(from_client(router(), vip) / too_big() / seen_by_router()),
                   from_client(router(), pod_a) / too_big() / sent_by_pod(), XLB_VERDICT_ICMP_ERROR_IN);
  EXPECT_TRUE(rig().traces().flows.empty());
  EXPECT_TRUE(rig().traces().half_open.empty()) << "an error opens no flow";
}

TEST_P(IcmpErrorTest, AboutNothingOfOurs) {
  open_connection();
  const Packet no_service = ip(vip, client) / Tcp{.source_port = 81, .destination_port = kClientPort} / Payload("x");
  expect_dropped(receive(from_client(router(), vip) / too_big() / no_service), XLB_VERDICT_ICMP_UNKNOWN);
  const Packet other_source = ip(node_address, client) / Tcp{.source_port = 80, .destination_port = kClientPort};
  expect_dropped(receive(from_client(router(), vip) / too_big() / other_source), XLB_VERDICT_ICMP_UNKNOWN);
  const Packet forward = ip(client, vip) / Tcp{.source_port = kClientPort, .destination_port = 80};
  expect_dropped(receive(from_client(router(), vip) / too_big() / forward), XLB_VERDICT_ICMP_UNKNOWN);
  const Packet noise = Payload(Bytes(60, 0xff));
  expect_dropped(receive(from_client(router(), vip) / too_big() / noise), XLB_VERDICT_ICMP_UNKNOWN);
}

TEST_P(IcmpErrorIpv4Test, AboutALaterFragmentIsUnknown) {
  open_connection();
  Packet inner = seen_by_router();
  inner.get<Ipv4>().fragment_offset = 1480;
  expect_dropped(receive(from_client(router(), vip) / too_big() / inner), XLB_VERDICT_ICMP_UNKNOWN);
}

TEST_P(IcmpErrorTest, UnknownWithFallBackGoesToTheKernel) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  const Bytes frame = from_client(router(), vip) / too_big() /
                      (ip(vip, client) / Tcp{.source_port = 81, .destination_port = kClientPort});
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
}

TEST_P(IcmpErrorIpv4Test, RedirectsAndQuenchesAreNoBusinessOfPods) {
  open_connection();
  for (const int type : {4, 5}) {
    expect_dropped(
        receive(from_client(router(), vip) / Icmp{.type = static_cast<std::uint8_t>(type)} / seen_by_router()),
        XLB_VERDICT_ICMP_UNKNOWN);
  }
}

// ---- the other way ----

TEST_P(IcmpErrorTest, PodsPortUnreachableReachesTheClientUnderTheVip) {
  // A closed UDP port in the pod must be told, or the client waits for its timeout.
  receive(from_client() / udp() / Payload("query"));
  const Packet seen_by_pod = ip(client, pod_a) / udp(kClientPort, 5353) / Payload("query");
  const Packet sent_by_client = ip(client, vip) / udp() / Payload("query");
  Packet frame = from_pod(pod_a, client);
  const Fate fate = answer(from_pod(pod_a, client) / unreachable() / seen_by_pod);
  expect_forwarded(fate, Packet(frame.get<Ethernet>()) / ip(vip, client) / unreachable() / sent_by_client,
                   XLB_VERDICT_ICMP_ERROR_OUT);
  EXPECT_TRUE(fate.decoded().sound()) << fate.decoded().text();
}

TEST_P(IcmpErrorTest, QuotesOfEveryLengthOutward) {
  open_connection();
  const Packet seen_by_pod = ip(client, pod_a) / tcp(kAck, kClientPort, 8080) / Payload::of_size(200);
  const Packet sent_by_client = ip(client, vip) / tcp(kAck) / Payload::of_size(200);
  Packet frame = from_pod(pod_a, client);
  for (std::size_t length = header() + 8; length < header() + 60; length++) {
    if (length == header() + 17) continue;  // as above
    expect_forwarded(answer(from_pod(pod_a, client) / too_big() / quote(seen_by_pod, length)),
                     Packet(frame.get<Ethernet>()) / ip(vip, client) / too_big() / quote(sent_by_client, length),
                     XLB_VERDICT_ICMP_ERROR_OUT);
  }
}

TEST_P(IcmpErrorTest, OfARouterBehindThePodKeepsItsSource) {
  // Something between this node and the pod's process (a mesh, a nested network) speaks under its own address.
  open_connection();
  const IpAddress inside(v4() ? "10.42.0.77" : "fd42::77");
  const Packet seen_by_pod = ip(client, pod_a) / tcp(kAck, kClientPort, 8080) / Payload::of_size(200);
  Packet frame = from_pod(pod_a, client);
  const Fate fate = answer(Packet(frame.get<Ethernet>()) / ip(inside, client) / too_big() / seen_by_pod);
  expect_one_verdict(fate, XLB_VERDICT_ICMP_ERROR_OUT);
  const Decoded got = fate.decoded();
  EXPECT_TRUE(got.sound()) << got.text();
  ASSERT_NE(got.inner, nullptr);
  EXPECT_EQ(got.inner->destination, vip);
  EXPECT_EQ(got.inner->destination_port, 80);
}

TEST_P(IcmpErrorTest, OfThePodAboutSomethingElsePasses) {
  open_connection();
  const Packet direct =
      from_pod(pod_a, client) / unreachable() / (ip(client, pod_a) / udp(kClientPort, 9999) / Payload("direct"));
  expect_ignored(answer(direct), direct.bytes());
  const Packet cut =
      from_pod(pod_a, client) / unreachable() / quote(ip(client, pod_a) / udp(kClientPort, 5353), header() + 2);
  expect_ignored(answer(cut), cut.bytes());
}

TEST_P(IcmpErrorTest, EchoOfThePodPasses) {
  const Packet ping = from_pod(pod_a, client) / (v4() ? Packet(Icmp{}) : Packet(Icmp6{})) / Payload("ping");
  expect_ignored(answer(ping), ping.bytes());
}

TEST_P(IcmpErrorTest, OfTheNodeItselfIsTranslatedAtEgress) {
  // Kernel path: the node's own stack answers for the pod (host unreachable, too big for the veth).
  change_backend(kPodA, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_KERNEL);
  expect_one_verdict(receive(from_client() / tcp(kSyn)), XLB_VERDICT_TO_KERNEL);
  const auto on_lan = [&](const IpAddress& from) {
    return Packet(Ethernet{.source = own_mac, .destination = client_mac}) / ip(from, client);
  };
  const Packet seen = ip(client, pod_a) / tcp(kSyn, kClientPort, 8080);
  const Packet sent = ip(client, vip) / tcp(kSyn);
  const Fate fate = egress(on_lan(node_address) / too_big() / seen);
  expect_passed_up(fate, on_lan(node_address) / too_big() / sent, XLB_VERDICT_ICMP_ERROR_OUT);
}

}  // namespace
}  // namespace xlb
