// SPDX-License-Identifier: Apache-2.0
// Random and mutated packets. What is not for a VIP, or not for this node's MAC, comes back as it was and leaves no
// trace; what is for a VIP is never half done: sound in, sound out, or dropped and counted.
//
// XLB_RANDOM_PACKETS sets how many (default 100,000), XLB_RANDOM_SEED which.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <random>
#include <tuple>

#include "tests/packet/peers.hpp"

namespace xlb {
namespace {

using namespace packet;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class RandomTest : public WithPeers {
 protected:
  void SetUp() override {
    WithPeers::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    // Every other slot leads to a peer.
    for (const auto& [service, here, there] : {std::tuple{kWeb, kPodA, kPodC}, std::tuple{kDns, kPodAUdp, kPodCUdp}}) {
      for (std::uint32_t i = 0; i < kSlotsPerService; i += 2) {
        rig().set_slot(service * kSlotsPerService + i, {here, there});
      }
    }
    rig().set_echo(kPi2 * XLB_ECHOES + 1, {.nonce = 1, .returned_mono_ns = 0, .flags = 0, .pad = 0});
    seed_ = setting("XLB_RANDOM_SEED", 20240607);
    random_.seed(seed_);
    // Ways and families share the packets between them.
    count_ = setting("XLB_RANDOM_PACKETS", 100000) / settings(kEveryWay, kBothNets).size() + 1;
    make_corpus();
  }

  void make_corpus() {
    for (const unsigned kind : {XLB_WIRE_ECHO, XLB_WIRE_RETURN, XLB_WIRE_STATEMENT, 77u}) {
      for (const MacAddress& from : {pi2_mac, client_mac}) {
        Bytes wire(46);
        wire[0] = 'x', wire[1] = 'l', wire[2] = 'b', wire[3] = '1';
        wire[4] = XLB_WIRE_VERSION;
        wire[5] = static_cast<std::uint8_t>(kind);
        wire[8] = 1;  // the nonce
        corpus_.push_back(
            (Ethernet{.source = from, .destination = own_mac, .type = XLB_ETHERTYPE} / Payload(wire)).bytes());
      }
    }
    const std::vector<IpAddress> targets = {vip, other_vip, node_address, pod_a, client};
    for (const IpAddress& to : targets) {
      const std::vector<Packet> inner = {
          tcp(kSyn),
          tcp(kAck) / Payload::of_size(30),
          tcp(kFin | kAck),
          tcp(kRst),
          tcp(kSyn, kClientPort, 81),
          udp() / Payload::of_size(20),
          udp(kClientPort, 54) / Payload::of_size(5),
          v4() ? Packet(Icmp{}) / Payload::of_size(16) : Packet(Icmp6{}) / Payload::of_size(16),
          (v4() ? Packet(Icmp{.type = 3, .code = 4}) : Packet(Icmp6{.type = 2, .rest = 1280})) / ip(to, client) /
              Tcp{.source_port = 80, .destination_port = kClientPort} / Payload::of_size(8),
      };
      for (const Packet& each : inner) {
        corpus_.push_back((from_client(client, to) / each).bytes());
        corpus_.push_back((Packet(Ethernet{.source = pi2_mac, .destination = own_mac}) / ip(client, to) / each).bytes());
        corpus_.push_back(
            (Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} / ip(client, to) / each)
                .bytes());
        corpus_.push_back(
            (Packet(Ethernet{.source = client_mac, .destination = "02:00:00:00:00:77"}) / ip(client, to) / each)
                .bytes());
      }
      for (const Packet& piece : fragments(from_client(client, to) / udp() / Payload::of_size(100), 64)) {
        corpus_.push_back(piece.bytes());
      }
      if (!v4()) {
        corpus_.push_back((from_client(client, to) / Ipv6Extension{.kind = 0, .body = Bytes(6, 0)} /
                           Ipv6Extension{.kind = 60, .body = Bytes(14, 0)} / tcp(kSyn))
                              .bytes());
        for (const MacAddress& mac : {own_mac, multicast_mac(solicited_node(to))}) {
          corpus_.push_back((Ethernet{.source = client_mac, .destination = mac} /
                             Ipv6{.source = client, .destination = solicited_node(to), .hop_limit = 255} /
                             neighbor_solicitation(to, client_mac))
                                .bytes());
          corpus_.push_back((Ethernet{.source = client_mac, .destination = mac} /
                             Ipv6{.source = client, .destination = "ff02::1", .hop_limit = 255} /
                             neighbor_advertisement(to, 0x20000000, client_mac))
                                .bytes());
        }
      } else {
        for (const std::uint16_t operation : std::initializer_list<std::uint16_t>{1, 2}) {
          corpus_.push_back((Ethernet{.source = client_mac, .destination = kBroadcast} /
                             Arp{.operation = operation, .sender_mac = client_mac, .sender = client, .target = to})
                                .bytes());
        }
      }
    }
  }

  Bytes next() {
    Bytes frame;
    if (random_() % 8 == 0) {
      frame.resize(14 + random_() % 150);
      for (std::uint8_t& byte : frame) byte = static_cast<std::uint8_t>(random_());
      if (random_() % 2) std::copy(own_mac.bytes.begin(), own_mac.bytes.end(), frame.begin());
      const std::uint16_t types[] = {kTypeIpv4, kTypeIpv6, kTypeArp, kTypeVlan, kTypeQinq, XLB_ETHERTYPE};
      const std::uint16_t type = types[random_() % 6];
      frame[12] = static_cast<std::uint8_t>(type >> 8);
      frame[13] = static_cast<std::uint8_t>(type);
      if (frame.size() > 14 && random_() % 2) frame[14] = v4() ? 0x45 : 0x60;
      return frame;
    }
    frame = corpus_[random_() % corpus_.size()];
    for (std::uint64_t n = random_() % 4; n > 0; n--) mutate(frame);
    return frame;
  }

  void mutate(Bytes& frame) {
    const std::size_t at = random_() % frame.size();
    switch (random_() % 7) {
      case 0:
        frame[at] = static_cast<std::uint8_t>(random_());
        break;
      case 1:
        frame[at] ^= static_cast<std::uint8_t>(1u << random_() % 8);
        break;
      case 2:
        frame.resize(std::max<std::size_t>(14, at));
        break;
      case 3:
        frame.insert(frame.end(), random_() % 32, static_cast<std::uint8_t>(random_()));
        break;
      case 4:
        frame[at] = random_() % 2 ? 0xff : 0;
        break;
      case 5:
        if (frame.size() > 24)
          std::swap(frame[14 + at % (frame.size() - 14)], frame[14 + (at + 7) % (frame.size() - 14)]);
        break;
      case 6: {  // a later fragment, or one with more to come
        const std::size_t where = v4() ? 14 + 6 : 14 + 42;
        if (frame.size() > where) frame[where] = static_cast<std::uint8_t>(random_());
        break;
      }
    }
  }

  // The slow, obvious reading: is it an echo or a return, as far as its header goes?
  static bool is_echo(const Bytes& frame) {
    const std::uint8_t begin[] = {'x', 'l', 'b', '1', XLB_WIRE_VERSION};
    return frame.size() >= 14 + sizeof(lb_wire) && std::equal(std::begin(begin), std::end(begin), frame.begin() + 14) &&
           (frame[19] == XLB_WIRE_ECHO || frame[19] == XLB_WIRE_RETURN);
  }

  // The slow, obvious reading: may the programs do anything with this frame? An IPv6 frame that carries a VIP's bytes
  // anywhere may be a solicitation for it.
  bool for_a_vip(Bytes frame) const {
    if (frame.size() < 14) return false;
    const bool own = std::equal(own_mac.bytes.begin(), own_mac.bytes.end(), frame.begin());
    const bool group = (frame[0] & 1) != 0;
    if (!own && !group) return false;
    unsigned type = frame[12] * 256u + frame[13], vlan = 0, tags = 0;
    while (type == kTypeVlan || type == kTypeQinq) {
      if (frame.size() < 18 || ++tags > 1) return false;
      vlan = (frame[14] * 256u + frame[15]) & 0xfff;
      type = frame[16] * 256u + frame[17];
      frame.erase(frame.begin() + 12, frame.begin() + 16);
    }
    if (vlan != 0) return false;  // no such link here
    const auto holds = [&](const IpAddress& address, std::size_t from, std::size_t to) {
      const std::size_t skip = address.is_ipv4() ? 12 : 0;
      return std::search(frame.begin() + static_cast<std::ptrdiff_t>(std::min(from, frame.size())),
                         frame.begin() + static_cast<std::ptrdiff_t>(std::min(to, frame.size())),
                         address.bytes.begin() + static_cast<std::ptrdiff_t>(skip), address.bytes.end()) !=
             frame.begin() + static_cast<std::ptrdiff_t>(std::min(to, frame.size()));
    };
    if (type == XLB_ETHERTYPE && own && is_echo(frame)) return true;
    for (const IpAddress& each : {vip, other_vip}) {
      if (type == kTypeArp && frame.size() >= 42 && (holds(each, 28, 32) || holds(each, 38, 42))) return true;
      if (type == kTypeIpv4 && own && frame.size() >= 34 && each.is_ipv4() && holds(each, 30, 34)) return true;
      if (type == kTypeIpv6 && frame.size() >= 54 && !each.is_ipv4() && holds(each, 14, frame.size())) return true;
    }
    return false;
  }

  std::string told(const Bytes& frame, std::uint64_t number) const {
    return "packet " + std::to_string(number) + " of seed " + std::to_string(seed_) + "\n" + decode(frame).text() +
           "\n" + hex(frame);
  }

  std::mt19937_64 random_;
  std::uint64_t seed_ = 0, count_ = 0;
  std::vector<Bytes> corpus_;
};
XLB_RUN_SUITE(RandomTest, kEveryWay, kBothNets);
class RandomReturnTest : public RandomTest {};
XLB_RUN_SUITE(RandomReturnTest, kTcOnly, kBothNets);

TEST_P(RandomTest, WhatIsNotForAVipComesBackAsItWas) {
  const Program program = with_xdp() ? Program::lan_xdp : Program::lan_tc;
  const int pass = with_xdp() ? kXdpPass : kTcUnspec;
  std::uint64_t tried = 0;
  for (std::uint64_t i = 0; i < count_; i++) {
    const Bytes frame = next();
    if (for_a_vip(frame)) continue;
    const Output output = rig().run(
        program, Input{.frame = frame, .ifindex = lan, .checksum_complete = GetParam().way == Way::tc_complete});
    if (output.error == EINVAL) continue;  // shorter than the kernel's test run of tc takes
    ASSERT_EQ(output.error, 0) << told(frame, i);
    ASSERT_EQ(output.action, pass) << told(frame, i);
    ASSERT_EQ(output.frame, frame) << told(frame, i) << difference(frame, output.frame);
    tried++;
  }
  const Traces now = rig().traces();
  Traces none = now;
  for (lb_counter& counter : none.counters) counter = {};
  EXPECT_EQ(describe(none, now), describe(none, none));
  EXPECT_TRUE(now.flows.empty() && now.half_open.empty() && now.fragments.empty() && now.events.empty());
  EXPECT_GT(tried, count_ / 4) << "the mix of packets has lost its balance";
  RecordProperty("tried", std::to_string(tried));
}

TEST_P(RandomTest, WhatIsForAVipIsDoneOrLeft) {
  // Half-done work shows as a frame that was sound and is not any more, or as one that passes changed.
  std::uint64_t ended = 0, passed = 0;
  node.reject_per_second = 1000000;
  rig().set_node(node);
  for (std::uint64_t i = 0; i < count_; i++) {
    const Bytes frame = next();
    if (!for_a_vip(frame)) continue;
    Input input{.frame = frame, .ifindex = lan};
    Output output = rig().run(with_xdp() ? Program::lan_xdp : Program::lan_tc, input);
    if (output.error == EINVAL) continue;
    ASSERT_EQ(output.error, 0) << told(frame, i);
    if (with_xdp()) {
      ASSERT_TRUE(output.action == kXdpPass || output.action == kXdpDrop || output.action == kXdpTx)
          << told(frame, i);
    } else {
      ASSERT_TRUE(output.action == kTcUnspec || output.action == kTcShot || output.action == kTcRedirect)
          << output.action << told(frame, i);
    }
    const bool left = output.action == (with_xdp() ? kXdpPass : kTcUnspec);
    if (left) {
      // The kernel path changes a packet too, but nothing here is larger than the pods' MTU.
      ASSERT_EQ(output.frame, frame) << told(frame, i) << difference(frame, output.frame);
      passed++;
    } else {
      ended++;
      if (output.action != (with_xdp() ? kXdpDrop : kTcShot) && decode(frame).sound()) {
        ASSERT_TRUE(decode(output.frame).sound()) << told(frame, i) << "became\n" << decode(output.frame).text();
      }
    }
  }
  std::uint64_t counted = 0;
  for (const lb_counter& counter : rig().traces().counters) counted += counter.packets;
  EXPECT_GE(counted, ended);
  EXPECT_LE(counted, ended + passed);
  EXPECT_GT(ended, 0u);
}

TEST_P(RandomReturnTest, TheWayBackLeavesEverythingElseAlone) {
  fill_both(kWeb, {kPodA, kPodB}, {kPodA, kPodB});
  open_connection(1);  // a live flow that no packet of the corpus belongs to
  const Traces before = rig().traces();
  for (std::uint64_t i = 0; i < count_; i++) {
    const Bytes frame = next();
    for (const Program program : {Program::return_tc, Program::egress_tc}) {
      const Output output =
          rig().run(program, Input{.frame = frame,
                                   .ifindex = program == Program::egress_tc ? lan : sandbox().pod0.ifindex,
                                   .checksum_complete = GetParam().way == Way::tc_complete});
      if (output.error == EINVAL) break;
      ASSERT_EQ(output.error, 0) << told(frame, i);
      ASSERT_EQ(output.action, kTcUnspec) << told(frame, i);
      ASSERT_EQ(output.frame, frame) << told(frame, i) << difference(frame, output.frame);
    }
  }
  const Traces after = rig().traces();
  EXPECT_EQ(describe(before, after), describe(before, before));
}

}  // namespace
}  // namespace xlb
