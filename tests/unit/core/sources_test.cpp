// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/sources.hpp"

#include "tests/unit/core/build.hpp"
#include "userspace/core/allocator.hpp"

namespace xlb {
namespace {

using test::address;
using test::pool;
using test::service;

Node node(const std::string& name, const std::string& text) {
  Node node;
  node.name = name;
  node.addresses = {address(text)};
  return node;
}

TEST(SideBySideTest, BothAreThere) {
  Objects manifests, api;
  manifests.pools = {pool("home", {"192.168.0.200-192.168.0.210"})};
  api.pools = {pool("cluster", {"192.168.0.220-192.168.0.230"})};
  manifests.services = {service("printer")};
  api.services = {service("web")};
  api.nodes = {node("pi1", "192.168.0.11")};
  api.namespaces.own()["shop"] = {{"team", "a"}};
  const BothSources declared = side_by_side(manifests, api);
  EXPECT_TRUE(declared.warnings.empty());
  EXPECT_EQ(declared.objects.pools.size(), 2u);
  EXPECT_EQ(declared.objects.services.size(), 2u);
  EXPECT_EQ(declared.objects.nodes.size(), 1u);
  EXPECT_TRUE(declared.objects.namespaces->contains("shop"));
  EXPECT_TRUE(validate(declared.objects));
}

TEST(SideBySideTest, ManifestsWinAndItIsSaid) {
  Objects manifests, api;
  manifests.pools = {pool("home", {"192.168.0.200-192.168.0.210"}), pool("lab", {"10.9.0.0/24"})};
  api.pools = {pool("home", {"192.168.0.220-192.168.0.230"}), pool("wide", {"192.168.0.205-192.168.0.215"})};
  manifests.services = {service("web")};
  api.services = {service("web"), service("more")};
  manifests.nodes = {node("pi1", "192.168.0.11")};
  api.nodes = {node("pi1", "192.168.0.11"), node("pi2", "192.168.0.11"), node("pi3", "192.168.0.13"), node("pi4", "192.168.0.13")};
  const BothSources declared = side_by_side(manifests, api);
  EXPECT_EQ(declared.objects.pools, manifests.pools);
  EXPECT_EQ(declared.objects.services.size(), 2u);
  EXPECT_EQ(declared.objects.nodes.size(), 2u);
  EXPECT_EQ(declared.warnings,
            (std::vector<std::string>{
                "IPAddressPool metallb-system/wide of the API server does not count: it overlaps with "
                "192.168.0.200-192.168.0.210 of a manifest of this node",
                "IPAddressPool home of the API server does not count: a manifest of this node declares it too",
                "Service default/web of the API server does not count: a manifest of this node declares it too",
                "Node pi2 of the API server does not count: Node pi1 has 192.168.0.11 too",
                "Node pi4 of the API server does not count: Node pi3 has 192.168.0.13 too",
                "Node pi1 of the API server does not count: a manifest of this node declares it too",
            }));
  EXPECT_TRUE(validate(declared.objects));
}

TEST(PoolsInForceTest, TheLastThatMadeSenseStay) {
  PoolsInForce in_force;
  EXPECT_FALSE(in_force.loaded());
  Objects objects;
  objects.pools = {pool("home", {"192.168.0.200-192.168.0.210"})};
  objects.advertisements.resize(1);
  const Objects good = objects;
  in_force.put_into(objects);
  EXPECT_EQ(objects, good);
  EXPECT_TRUE(in_force.loaded());
  EXPECT_EQ(in_force.stale(), "");

  Objects bad = good;
  bad.pools.push_back(pool("twice", {"192.168.0.205-192.168.0.206"}));
  in_force.put_into(bad);
  EXPECT_EQ(bad, good);
  EXPECT_NE(in_force.stale().find("overlaps"), std::string::npos);

  Objects none = good;
  none.pools.clear();
  none.advertisements.clear();
  in_force.put_into(none);
  EXPECT_EQ(none, good);
  EXPECT_EQ(in_force.stale(), "all IPAddressPools are gone");

  Objects other = good;
  other.pools = {pool("other", {"192.168.1.0/24"})};
  in_force.put_into(other);
  EXPECT_EQ(other.pools[0].name.name, "other");
  EXPECT_EQ(in_force.stale(), "");
}

TEST(KeepClassTest, OnlyItsOwn) {
  Objects objects;
  objects.services = {service("plain"), service("ours"), service("theirs")};
  objects.services.own(1).load_balancer_class = "xdp-lb.io/lan";
  objects.services.own(2).load_balancer_class = "example.com/lb";
  Objects without = objects;
  ServiceClass("").keep(without);
  EXPECT_EQ(without, objects);
  ServiceClass("xdp-lb.io/lan").keep(objects);
  ASSERT_EQ(objects.services.size(), 1u);
  EXPECT_EQ(objects.services[0].name.name, "ours");
  EXPECT_EQ(objects.services[0].load_balancer_class, "");
}

}  // namespace
}  // namespace xlb
