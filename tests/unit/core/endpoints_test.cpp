// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/endpoints.hpp"

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;
using test::endpoint;
using test::service;
using test::slice;
using test::tcp;
using test::udp;

class Endpoints : public ::testing::Test {
 protected:
  Endpoints() {
    machine_.node_name = "pi1";
    for (const char* text : {"10.42.0.8", "10.42.0.9", "fd00:42::8"}) machine_.places[address(text)] = test::pod(11);
    machine_.places[address("192.168.0.10")] = test::host();
    machine_.places[address("10.42.0.77")].kind = Place::Kind::routed;
    machine_.places[address("10.42.9.9")] = {Place::Kind::absent, 0, "", "no route"};
  }
  PortBackends find(const ServicePort& port, std::vector<EndpointSlice> slices, Family family = Family::ipv4) {
    slices_ = std::move(slices);
    return find_backends(service_, port, family, SlicesByService(slices_), machine_, vips_, peers_);
  }
  static std::string text(const PortBackends& found) {
    std::string text;
    for (const DesiredBackend& backend : found.backends) {
      text += (text.empty() ? "" : " ") + backend.address.text() + ":" + std::to_string(backend.port);
      if (backend.kernel_path) text += "/kernel";
      if (backend.place.kind == Place::Kind::host) text += "/host";
      if (backend.draining) text += "/draining";
      if (backend.node != "pi1") text += "@" + backend.node;
    }
    return text;
  }

  Service service_ = service("web");
  Machine machine_;
  std::set<Address> vips_{address("192.168.0.200")};
  std::vector<DesiredPeer> peers_;
  std::vector<EndpointSlice> slices_;
};

TEST_F(Endpoints, PortsAreFoundByNameThenByTarget) {
  const std::vector<EndpointPort> ports{
      {"web", Protocol::tcp, 8000}, {"tls", Protocol::tcp, 8443}, {"web", Protocol::udp, 9000}};
  const EndpointSlice eight = slice("web", ports, {endpoint("10.42.0.8")});
  EXPECT_EQ(text(find(tcp(80, "", "web"), {eight})), "10.42.0.8:8000");
  EXPECT_EQ(text(find(udp(80, "", "web"), {eight})), "10.42.0.8:9000");
  EXPECT_EQ(text(find(tcp(443, "tls"), {eight})), "10.42.0.8:8443");
  EXPECT_EQ(text(find(tcp(443, "8443"), {eight})), "10.42.0.8:8443");
  EXPECT_EQ(text(find(tcp(8443), {eight})), "10.42.0.8:8443");
  EXPECT_EQ(text(find(tcp(443, "9", "other"), {eight})), "");
  EXPECT_EQ(text(find(tcp(443, "", "tls"), {eight})), "10.42.0.8:8443");
}

TEST_F(Endpoints, UnnamedPortsAreToldApartByNumber) {
  const EndpointSlice eight =
      slice("web", {{"", Protocol::tcp, 8000}, {"", Protocol::tcp, 8443}}, {endpoint("10.42.0.8")});
  EXPECT_EQ(text(find(tcp(80, "8000"), {eight})), "10.42.0.8:8000");
  EXPECT_EQ(text(find(tcp(443, "8443"), {eight})), "10.42.0.8:8443");
}

TEST_F(Endpoints, ASliceWithoutPortsStandsForAll) {
  const EndpointSlice eight = slice("web", {}, {endpoint("10.42.0.8")});
  EXPECT_EQ(text(find(tcp(80, "8000"), {eight})), "10.42.0.8:8000");
  EXPECT_EQ(text(find(tcp(80), {eight})), "10.42.0.8:80");
  EXPECT_EQ(text(find(tcp(80, "http"), {eight})), "");
}

TEST_F(Endpoints, APolicedPodTakesTheKernelPathUnlessTheServiceInsists) {
  const EndpointSlice both = slice("web", {}, {endpoint("10.42.0.8"), endpoint("10.42.0.9")});
  machine_.policed.own() = {address("10.42.0.9")};
  EXPECT_EQ(text(find(tcp(80, "8000"), {both})), "10.42.0.8:8000 10.42.0.9:8000/kernel");
  service_.path = Path::fast;
  EXPECT_EQ(text(find(tcp(80, "8000"), {both})), "10.42.0.8:8000 10.42.0.9:8000");
}

TEST_F(Endpoints, AnIllOneDrainsAsIfItWereNotReady) {
  const EndpointSlice both = slice("web", {{"", Protocol::tcp, 8000}, {"", Protocol::udp, 8000}},
                                   {endpoint("10.42.0.8"), endpoint("10.42.0.9")});
  const auto fall_ill = [&](const char* who, const char* check) {
    machine_.ill[health_target(*parse_health_check(check), address(who), 8000)] = std::string(who) + " refuses";
  };
  service_.health = *parse_health_check("tcp");
  fall_ill("10.42.0.8", "http:/");  // another question than this service asks
  EXPECT_EQ(text(find(tcp(80, "8000"), {both})), "10.42.0.8:8000 10.42.0.9:8000");
  fall_ill("10.42.0.8", "tcp");
  PortBackends found = find(tcp(80, "8000"), {both});
  EXPECT_EQ(text(found), "10.42.0.8:8000/draining 10.42.0.9:8000");
  EXPECT_EQ(found.backends[0].ill, "10.42.0.8 refuses");
  EXPECT_EQ(found.empty_reason, "");
  EXPECT_EQ(text(find(udp(80, "8000"), {both})), "10.42.0.9:8000");  // a UDP flow has no end to wait for
  fall_ill("10.42.0.9", "tcp");
  found = find(tcp(80, "8000"), {both});
  EXPECT_EQ(text(found), "10.42.0.8:8000/draining 10.42.0.9:8000/draining");
  EXPECT_EQ(found.empty_reason, "10.42.0.8 refuses (and 1 more that take no flows)");
  service_.health.reset();  // nobody asks any more, whatever was known
  EXPECT_EQ(text(find(tcp(80, "8000"), {both})), "10.42.0.8:8000 10.42.0.9:8000");
}

TEST_F(Endpoints, SortedAndEachOnce) {
  const std::vector<EndpointPort> ports{{"", Protocol::tcp, 80}};
  const PortBackends found = find(tcp(80), {slice("web", ports, {endpoint("10.42.0.9"), endpoint("10.42.0.8")}),
                                            slice("web", ports, {endpoint("10.42.0.9")})});
  EXPECT_EQ(text(found), "10.42.0.8:80 10.42.0.9:80");
}

TEST_F(Endpoints, FamilyOfTheVipDecides) {
  const EndpointSlice both = slice("web", {}, {endpoint("10.42.0.8"), endpoint("fd00:42::8")});
  EXPECT_EQ(text(find(tcp(80), {both}, Family::ipv6)), "fd00:42::8:80");
  const PortBackends none = find(tcp(80), {slice("web", {}, {endpoint("10.42.0.8")})}, Family::ipv6);
  EXPECT_EQ(text(none), "");
  EXPECT_EQ(none.empty_reason, "its EndpointSlices list no IPv6 endpoint");
}

TEST_F(Endpoints, OthersSlicesDoNotCount) {
  EndpointSlice foreign = slice("web", {}, {endpoint("10.42.0.8")});
  foreign.name.ns = "prod";
  const PortBackends found = find(tcp(80), {foreign, slice("mail", {}, {endpoint("10.42.0.9")})});
  EXPECT_EQ(text(found), "");
  EXPECT_EQ(found.empty_reason, "no EndpointSlice is labelled kubernetes.io/service-name: web");
}

TEST_F(Endpoints, PathsFollowPlaces) {
  const EndpointSlice all =
      slice("web", {}, {endpoint("10.42.0.8"), endpoint("10.42.0.77"), endpoint("192.168.0.10")});
  EXPECT_EQ(text(find(tcp(80), {all})), "10.42.0.8:80 10.42.0.77:80/kernel 192.168.0.10:80/host");
  service_.path = Path::kernel;
  EXPECT_EQ(text(find(tcp(80), {slice("web", {}, {endpoint("10.42.0.8")})})), "10.42.0.8:80/kernel");
}

TEST_F(Endpoints, WhatCannotBeReachedIsLeftOutWithAReason) {
  const auto reason = [&](Endpoint one) {
    const PortBackends found = find(tcp(80), {slice("web", {}, {std::move(one)})});
    EXPECT_EQ(text(found), "");
    EXPECT_EQ(found.left_out.size(), 1u);
    return found.empty_reason;
  };
  Endpoint elsewhere = endpoint("10.42.0.8");
  elsewhere.node = "pi2";
  EXPECT_EQ(reason(elsewhere), "10.42.0.8 is on node pi2, which is no peer of this node");
  peers_ = {{"pi2", {address("192.168.0.12")}, {}, 2, 0, false}};
  EXPECT_EQ(reason(elsewhere), "10.42.0.8 is on node pi2, which has not been heard of yet");
  EXPECT_EQ(reason(endpoint("192.168.0.200")), "192.168.0.200 is a VIP itself");
  EXPECT_EQ(reason(endpoint("127.0.0.1")), "127.0.0.1 is a loopback address, which no packet from the LAN can reach");
  EXPECT_EQ(reason(endpoint("10.42.9.9")), "10.42.9.9 is not found on this node: no route");
  EXPECT_EQ(reason(endpoint("10.42.9.10")), "10.42.9.10 is not found on this node");
  const PortBackends two = find(tcp(80), {slice("web", {}, {endpoint("10.42.9.9"), endpoint("10.42.9.10")})});
  EXPECT_EQ(two.empty_reason, "10.42.9.9 is not found on this node: no route (and 1 more)");
}

TEST_F(Endpoints, OnAPeerWhateverThisNodeKnowsOfTheAddress) {
  peers_ = {{"pi2", {address("192.168.0.12")}, {Mac{{2, 0, 0, 0, 0, 2}}}, 2, 0, false}};
  Endpoint elsewhere = endpoint("10.42.9.9");  // no route
  elsewhere.node = "pi2";
  EXPECT_EQ(text(find(tcp(80), {slice("web", {}, {elsewhere, endpoint("10.42.0.8")})})),
            "10.42.0.8:80 10.42.9.9:80@pi2");
  service_.path = Path::kernel;
  EXPECT_EQ(text(find(tcp(80), {slice("web", {}, {elsewhere})})), "10.42.9.9:80@pi2");
  elsewhere.addresses = {address("192.168.0.200")};
  EXPECT_EQ(find(tcp(80), {slice("web", {}, {elsewhere})}).empty_reason, "192.168.0.200 is a VIP itself");
}

TEST_F(Endpoints, PolicyLocalAsksForOneOnThisNode) {
  peers_ = {{"pi2", {address("192.168.0.12")}, {Mac{{2, 0, 0, 0, 0, 2}}}, 2, 0, true}};
  service_.policy = TrafficPolicy::local;
  Endpoint elsewhere = endpoint("10.42.9.9");
  elsewhere.node = "pi2";
  const PortBackends found = find(tcp(80), {slice("web", {}, {elsewhere})});
  EXPECT_EQ(text(found), "10.42.9.9:80@pi2");  // clients on this node may still use it
  EXPECT_EQ(found.empty_reason,
            "none of its endpoints that take flows is on this node, as externalTrafficPolicy Local asks");
  EXPECT_EQ(find(tcp(80), {slice("web", {}, {elsewhere, endpoint("10.42.0.8")})}).empty_reason, "");
}

TEST_F(Endpoints, OnThisNodeByName) {
  Endpoint here = endpoint("10.42.0.8");
  here.node = "pi1";
  EXPECT_EQ(text(find(tcp(80), {slice("web", {}, {here})})), "10.42.0.8:80");
}

// ready, serving, terminating as Kubernetes sets them.
Endpoint conditions(const std::string& text, bool ready, bool serving, bool terminating) {
  Endpoint one = endpoint(text);
  one.ready = ready;
  one.serving = serving;
  one.terminating = terminating;
  return one;
}

TEST_F(Endpoints, NotReadyOnesDrain) {
  const EndpointSlice rolling =
      slice("web", {}, {conditions("10.42.0.8", false, true, true), conditions("10.42.0.9", true, true, false)});
  const PortBackends found = find(tcp(80), {rolling});
  EXPECT_EQ(text(found), "10.42.0.8:80/draining 10.42.0.9:80");
  EXPECT_EQ(found.empty_reason, "");
}

TEST_F(Endpoints, TerminatingOnesServeWhenNothingBetterIsLeft) {
  const EndpointSlice leaving =
      slice("web", {}, {conditions("10.42.0.8", false, true, true), conditions("10.42.0.9", false, false, true)});
  const PortBackends found = find(tcp(80), {leaving});
  EXPECT_EQ(text(found), "10.42.0.8:80 10.42.0.9:80/draining");
  EXPECT_EQ(found.empty_reason, "");
}

TEST_F(Endpoints, WithPolicyLocalSomethingBetterOnAnotherNodeDoesNotCount) {
  peers_ = {{"pi2", {address("192.168.0.12")}, {Mac{{2, 0, 0, 0, 0, 2}}}, 2, 0, true}};
  Endpoint elsewhere = conditions("10.42.1.8", true, true, false);
  elsewhere.node = "pi2";
  const EndpointSlice leaving = slice("web", {}, {conditions("10.42.0.8", false, true, true), elsewhere});
  EXPECT_EQ(text(find(tcp(80), {leaving})), "10.42.0.8:80/draining 10.42.1.8:80@pi2");
  service_.policy = TrafficPolicy::local;
  const PortBackends found = find(tcp(80), {leaving});
  EXPECT_EQ(text(found), "10.42.0.8:80 10.42.1.8:80@pi2");
  EXPECT_EQ(found.empty_reason, "") << "this node still answers";
  EXPECT_EQ(text(find(tcp(80), {leaving, slice("web", {}, {conditions("10.42.0.9", true, true, false)})})),
            "10.42.0.8:80/draining 10.42.0.9:80 10.42.1.8:80@pi2");
  elsewhere = conditions("10.42.1.8", false, true, true);
  elsewhere.node = "pi2";
  EXPECT_EQ(text(find(tcp(80), {slice("web", {}, {conditions("10.42.0.8", true, true, false), elsewhere})})),
            "10.42.0.8:80 10.42.1.8:80/draining@pi2");
}

TEST_F(Endpoints, ReadyButTerminatingIsNotReady) {
  const EndpointSlice both =
      slice("web", {}, {conditions("10.42.0.8", true, true, true), conditions("10.42.0.9", true, true, false)});
  EXPECT_EQ(text(find(tcp(80), {both})), "10.42.0.8:80/draining 10.42.0.9:80");
}

TEST_F(Endpoints, OfOneListedTwiceTheBetterStandingCounts) {
  const Endpoint ready = conditions("10.42.0.8", true, true, false);
  const Endpoint gone = conditions("10.42.0.8", false, false, true);
  EXPECT_EQ(text(find(tcp(80), {slice("web", {}, {gone}), slice("web", {}, {ready})})), "10.42.0.8:80");
  EXPECT_EQ(text(find(tcp(80), {slice("web", {}, {ready}), slice("web", {}, {gone})})), "10.42.0.8:80");
}

TEST_F(Endpoints, NobodyReady) {
  const EndpointSlice starting = slice("web", {}, {conditions("10.42.0.8", false, false, false)});
  const PortBackends found = find(tcp(80), {starting});
  EXPECT_EQ(text(found), "10.42.0.8:80/draining");  // its connections live on
  EXPECT_EQ(found.empty_reason, "none of its 1 IPv4 endpoint(s) is ready");
  EXPECT_EQ(text(find(udp(80), {starting})), "");  // UDP flows would never end
  service_.publish_not_ready = true;
  EXPECT_EQ(text(find(tcp(80), {starting})), "10.42.0.8:80");
}

TEST_F(Endpoints, PortWithoutASlicePort) {
  const PortBackends found =
      find(tcp(443, "", "tls"), {slice("web", {{"web", Protocol::tcp, 80}}, {endpoint("10.42.0.8")})});
  EXPECT_EQ(found.empty_reason, "no EndpointSlice of it has a port for TCP/443 (tls)");
}

}  // namespace
}  // namespace xlb
