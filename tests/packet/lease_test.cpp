// SPDX-License-Identifier: Apache-2.0
// Two questions are kept apart: does the node forward (its programs), and does anybody mind it (its daemon)? When the
// lease is over, or the epoch was raised, nobody is told any more that VIPs are here; whatever comes is served.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/peers.hpp"

namespace xlb {
namespace {

using namespace packet;

class LeaseTest : public WithPeers {
 protected:
  Packet who_has() const {
    if (v4()) {
      return Ethernet{.source = client_mac, .destination = kBroadcast} /
             Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = vip};
    }
    return Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} /
           Ipv6{.source = client, .destination = solicited_node(vip), .hop_limit = 255} /
           neighbor_solicitation(vip, client_mac);
  }
  enum xlb_verdict reply() const { return v4() ? XLB_VERDICT_ARP_REPLY : XLB_VERDICT_ND_REPLY; }
  void set_lease(std::uint64_t boot_ns) {
    node.lease_boot_ns = boot_ns;
    rig().set_node(node);
  }
  void expect_answered() { expect_sent_back(receive(who_has()), reply()); }
  void expect_served() {
    expect_one_verdict(receive(from_client() / tcp(kSyn, port_++)), XLB_VERDICT_TO_PEER);
    expect_one_verdict(receive(from_peer() / tcp(kSyn, port_++)), XLB_VERDICT_TO_POD);
    const Packet echo = v4() ? Packet(Icmp{}) : Packet(Icmp6{});
    expect_sent_back(receive(from_client() / echo / Payload("ping")), XLB_VERDICT_PING_REPLY);
  }
  std::uint16_t port_ = 30000;
};
XLB_RUN_SUITE(LeaseTest, kEveryWay, kBothNets);

TEST_P(LeaseTest, WhenItIsOverNobodyIsToldButEverybodyIsServed) {
  expect_answered();
  expect_served();
  set_lease(boot_ns() - 1);
  const Bytes frame = who_has().bytes();
  expect_left(receive(who_has()), frame, XLB_VERDICT_LEASE_OVER);
  expect_served();
}

TEST_P(LeaseTest, RunsOutByTheClockAloneAndDoesNotComeBack) {
  set_lease(boot_ns() + 30'000'000);
  const Bytes frame = who_has().bytes();
  std::uint64_t answered = 0, last_answer = 0;
  Fate fate;
  do {
    last_answer = boot_ns();
    fate = receive(who_has());
    answered += fate.verdicts() == std::vector{reply()} ? 1 : 0;
  } while (boot_ns() < node.lease_boot_ns);
  EXPECT_GT(answered, 0u);
  EXPECT_LT(last_answer, node.lease_boot_ns);
  for (int i = 0; i < 5; i++) expect_left(receive(who_has()), frame, XLB_VERDICT_LEASE_OVER);
  // Neither traffic nor what the VIP's row says revives it; only a new deadline does.
  expect_served();
  rig().set_vip(vip, vip_row(kVipId));
  expect_left(receive(who_has()), frame, XLB_VERDICT_LEASE_OVER);
  set_lease(boot_ns() + 60 * XLB_SECOND_NS);
  expect_answered();
}

TEST_P(LeaseTest, AFarPastAndAFarFutureAreNoSurprises) {
  const Bytes frame = who_has().bytes();
  set_lease(0);
  expect_left(receive(who_has()), frame, XLB_VERDICT_LEASE_OVER);
  set_lease(XLB_FOREVER - 1);
  expect_answered();
  set_lease(1ull << 63);
  expect_answered();
}

TEST_P(LeaseTest, ARaisedEpochVoidsEveryOwnedVip) {
  expect_answered();
  node.epoch++;
  set_lease(boot_ns() + 60 * XLB_SECOND_NS);  // who has lost the lease renews it, and owns nothing
  expect_ignored(who_has());
  expect_served();
  // Claimed anew, with the new epoch.
  rig().set_vip(vip, vip_row(kVipId));
  expect_answered();
}

TEST_P(LeaseTest, NotOwnedIsSilentAndServes) {
  lb_vip lost = vip_row(kVipId);
  lost.owned_epoch = 0;
  rig().set_vip(vip, lost);
  expect_ignored(who_has());
  expect_served();
}

}  // namespace
}  // namespace xlb
