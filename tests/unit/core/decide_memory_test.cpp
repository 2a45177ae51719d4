// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/decide_memory.hpp"

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;
using test::below;
using test::chance;
using test::Random;

// A small cluster in which anything may change at any time.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    machine_.node_name = "pi1";
    Link link;
    link.name = link.l3_name = "eth0";
    link.attach_ifindex = link.l3_ifindex = 2;
    link.subnets = {test::prefix("192.168.0.0/24"), test::prefix("fd00::/64")};
    machine_.links = {link};
    objects_.pools = {test::pool("home", {"192.168.0.200-192.168.0.210", "fd00::200-fd00::210"})};
    objects_.advertisements = {L2Advertisement{}};
    for (int i = 0; i < 4; ++i) add_service();
    for (int i = 0; i < 20; ++i) change();
  }

  void change() {
    const std::size_t some = objects_.services.size(), slices = objects_.slices.size();
    switch (below(random_, 12)) {
      case 0:
        return add_service();
      case 1:
        if (some > 1) objects_.services.remove_if([&, name = pick_service()](const Service& one) { return one.name == name; });
        return;
      case 2: {
        Service& service = objects_.services.own(below(random_, static_cast<std::uint32_t>(some)));
        service.path = static_cast<Path>(below(random_, 3));
        service.publish_not_ready = chance(random_, 30);
        service.policy = chance(random_, 30) ? TrafficPolicy::local : TrafficPolicy::cluster;
        service.ports.resize(below(random_, 3), test::tcp(80));
        if (service.ports.size() == 2) service.ports[1].port = 81;
        service.health = chance(random_, 30) ? std::optional(*parse_health_check("tcp")) : std::nullopt;
        return;
      }
      case 3:
        return add_slice(pick_service().name);
      case 4:
        if (slices != 0) objects_.slices.remove_if([&, at = objects_.slices[pick(slices)].name](const auto& one) { return one.name == at; });
        return;
      case 5:
      case 6:
        if (slices == 0) return;
        fill(objects_.slices.own(pick(slices)));
        return;
      case 7:
        if (chance(random_, 50))
          machine_.places[backend()] = chance(random_, 50) ? test::pod(below(random_, 3)) : test::host();
        else
          machine_.places.erase(backend());
        return;
      case 8:
        if (chance(random_, 50))
          machine_.policed.own().insert(backend());
        else
          machine_.policed.own().erase(backend());
        return;
      case 9: {
        const HealthTarget target = health_target(*parse_health_check("tcp"), backend(), 80);
        if (chance(random_, 50))
          machine_.ill[target] = "does not answer";
        else
          machine_.ill.erase(target);
        return;
      }
      case 10: {
        peers_.alone = false;
        DesiredPeer peer;
        peer.name = "pi2";
        if (chance(random_, 70)) peer.macs = {Mac{}};
        peer.alive = chance(random_, 50);
        peers_.peers = chance(random_, 80) ? std::vector{peer} : std::vector<DesiredPeer>();
        return;
      }
      default:
        if (chance(random_, 50))
          conflicts_[address("192.168.0.20" + std::to_string(below(random_, 5)))] = "somebody has it";
        else
          conflicts_.clear();
    }
  }

  [[nodiscard]] Desired decided(DecideMemory* memory) const {
    Assignments held;
    // Two of a kind may share: one VIP, several services.
    for (const Service& service : objects_.services) {
      const std::string digit = service.name.name.substr(1, 1);
      held[service.name] = {{address("192.168.0.20" + digit), address("fd00::20" + digit)}, "home"};
    }
    return decide(objects_, held, machine_, {}, conflicts_, peers_, memory);
  }

 private:
  std::size_t pick(std::size_t of) { return below(random_, static_cast<std::uint32_t>(of)); }
  ObjectName pick_service() { return objects_.services[pick(objects_.services.size())].name; }
  // Some of them are VIPs, which no backend may be.
  Address backend() {
    const std::string digit = std::to_string(below(random_, 5));
    switch (below(random_, 4)) {
      case 0:
        return address("192.168.0.20" + digit);
      case 1:
        return address("fd00:42::" + digit);
      default:
        return address("10.42.0." + digit);
    }
  }
  void add_service() {
    const std::string name = "s" + std::to_string(below(random_, 5)) + std::string(1, static_cast<char>('a' + below(random_, 2)));
    for (const Service& service : objects_.services)
      if (service.name.name == name) return;
    objects_.services.push_back(test::service(name));
    add_slice(name);
  }
  void add_slice(const std::string& service) {
    EndpointSlice slice = test::slice(service, {}, {});
    slice.name.name = service + "-" + std::to_string(++slices_);
    fill(slice);
    objects_.slices.push_back(std::move(slice));
  }
  void fill(EndpointSlice& slice) {
    slice.endpoints.clear();
    for (std::uint32_t i = below(random_, 4); i > 0; --i) {
      Endpoint endpoint;
      endpoint.addresses = {backend()};
      endpoint.ready = chance(random_, 70);
      endpoint.terminating = chance(random_, 20);
      endpoint.node = chance(random_, 30) ? "pi2" : "";
      slice.endpoints.push_back(endpoint);
    }
  }

  Random random_;
  Objects objects_;
  Machine machine_;
  PeerFacts peers_;
  std::map<Address, std::string> conflicts_;
  int slices_ = 0;
};

TEST(DecideMemory, ChangesNothing) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    World world(seed);
    DecideMemory memory;
    for (int step = 0; step < 120; ++step) {
      const Desired plain = world.decided(nullptr);
      ASSERT_EQ(world.decided(&memory).services, plain.services) << "seed " << seed << ", step " << step;
      ASSERT_TRUE(world.decided(&memory) == plain) << "seed " << seed << ", step " << step;
      world.change();
    }
  }
}

class Remembered : public ::testing::Test {
 protected:
  Remembered() {
    machine_.node_name = "pi1";
    for (int i = 0; i < 3; ++i) {
      const std::string digit = std::to_string(i);
      objects_.services.push_back(test::service("s" + digit));
      objects_.slices.push_back(test::slice("s" + digit, {}, {test::endpoint("10.42.0." + digit)}));
      held_[objects_.services[static_cast<std::size_t>(i)].name] = {{address("192.168.0.20" + digit)}, "home"};
      machine_.places[address("10.42.0." + digit)] = test::pod(11);
    }
    before_ = decided();
  }
  Desired decided() { return decide(objects_, held_, machine_, {}, {}, {}, &memory_); }
  // Which services are the ones that were decided before, and not only like them.
  std::string kept() {
    const Desired now = decided();
    std::string text;
    for (const auto& service : now.services.pointers())
      for (const auto& old : before_.services.pointers())
        if (service == old) text += (text.empty() ? "" : " ") + service->name.name;
    return text;
  }

  Objects objects_;
  Assignments held_;
  Machine machine_;
  DecideMemory memory_;
  Desired before_;
};

TEST_F(Remembered, WhatNothingTouches) {
  EXPECT_EQ(kept(), "s0 s1 s2");
  EXPECT_EQ(memory_.size(), 3u);
}

TEST_F(Remembered, NotWhoseEndpointsAreOthers) {
  objects_.slices.own(1).endpoints[0].ready = false;
  EXPECT_EQ(kept(), "s0 s2");
}

TEST_F(Remembered, NotWhoseDeclarationIsAnother) {
  objects_.services.own(2).affinity_s = 60;
  EXPECT_EQ(kept(), "s0 s1");
}

TEST_F(Remembered, NotWhoseBackendIsElsewhere) {
  machine_.places[address("10.42.0.0")] = test::pod(12);
  EXPECT_EQ(kept(), "s1 s2");
}

TEST_F(Remembered, NotWhoIsGone) {
  objects_.services.remove_if([](const Service& service) { return service.name.name == "s1"; });
  EXPECT_EQ(kept(), "s0 s2");
  EXPECT_EQ(memory_.size(), 2u);
}

}  // namespace
}  // namespace xlb
