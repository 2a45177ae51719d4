// SPDX-License-Identifier: Apache-2.0
// That size alone breaks nothing. How long it takes is measured in tests/bench.
#include "tests/unit/core/tables.hpp"
#include "userspace/core/allocator.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/core/plan.hpp"

namespace xlb {
namespace {

// 2,500 VIPs with four ports of ten pods each: 10,000 services, 100,000 backends.
TEST(Scale, TenThousandServicesOfTenBackends) {
  Objects objects;
  objects.pools = {test::pool("big", {"10.8.0.0/16"})};
  objects.advertisements.resize(1);
  Machine machine;
  machine.node_name = "pi1";
  machine.links.resize(1);
  machine.links[0].name = machine.links[0].l3_name = "eth0";
  machine.links[0].subnets = {test::prefix("10.8.0.0/16")};
  Address pod = test::address("10.64.0.1");
  for (int i = 0; i < 2500; ++i) {
    const std::string name = "s" + std::to_string(10000 + i);
    objects.services.push_back(test::service(
        name, {test::tcp(80, "8000"), test::tcp(443, "8443"), test::tcp(81, "8001"), test::udp(443, "8443")}));
    std::vector<Endpoint> endpoints(10);
    for (Endpoint& endpoint : endpoints) {
      endpoint.addresses = {pod};
      machine.places[pod] = test::pod(100 + pod.bytes[15] % 200u);
      pod = pod.next();
    }
    objects.slices.push_back(test::slice(name, {}, endpoints));
  }
  ASSERT_TRUE(validate(objects));
  const Allocation allocation = allocate(objects, {}, {});
  ASSERT_EQ(allocation.held.size(), 2500u);
  Desired desired = decide(objects, allocation.held, machine, allocation.refusals, {});
  ASSERT_EQ(desired.services.size(), 2500u);
  const Capacity capacity{16384, 131072, 8u << 20, 1024};
  SlotMemory memory;
  const auto tables = compile(desired, {}, capacity, 1, &memory);
  ASSERT_TRUE(tables) << tables.error().text;
  EXPECT_EQ(tables->services.size(), 10000u);
  EXPECT_EQ(tables->backends.size(), 100000u);
  EXPECT_EQ(test::contradiction(*tables), "");
  EXPECT_EQ(xlb::apply(plan({}, *tables), {}), *tables);

  desired.services.own(1234).ports[2].backends.pop_back();
  const auto changed = compile(desired, *tables, capacity, 1, &memory);
  ASSERT_TRUE(changed);
  const Edits edits = plan(*tables, *changed);
  EXPECT_LT(edits.size(), 100u);
  EXPECT_EQ(xlb::apply(edits, *tables), *changed);
}

TEST(Scale, OneServiceOfAThousandBackends) {
  Desired desired;
  desired.vips.resize(1);
  desired.vips[0].address = test::address("10.0.0.1");
  DesiredService service;
  service.vip = test::address("10.0.0.1");
  service.ports.resize(1);
  Address pod = test::address("10.64.0.1");
  for (int i = 0; i < 1000; ++i, pod = pod.next()) {
    DesiredBackend backend;
    backend.address = pod;
    backend.port = 80;
    backend.place = test::host();
    service.ports[0].backends.push_back(backend);
  }
  desired.services.push_back(std::move(service));
  const auto tables = compile(desired, {}, {}, 1);
  ASSERT_TRUE(tables) << tables.error().text;
  EXPECT_EQ(test::contradiction(*tables), "");
  EXPECT_EQ(tables->vips.begin()->second.healthy, 1000u);
}

}  // namespace
}  // namespace xlb
