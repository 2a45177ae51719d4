// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core/build.hpp"
#include "userspace/core/allocator.hpp"

namespace xlb {
namespace {

using test::pool;
using test::service;
using test::tcp;
using test::udp;

std::string verdict(const Objects& objects) {
  const auto valid = validate(objects);
  return valid ? "" : valid.error().text;
}

TEST(Validate, AcceptsWhatIsRight) {
  Objects objects;
  objects.pools = {pool("a", {"10.0.0.0/24", "fd00::/64"}), pool("b", {"10.0.1.0-10.0.1.9", "10.0.1.10/32"})};
  objects.advertisements = {{}};
  objects.advertisements[0].pools = {"a", "not-yet"};
  objects.services = {service("web", {tcp(80), udp(80)}), service("dns", {tcp(80)})};
  EXPECT_EQ(verdict(objects), "");
  EXPECT_EQ(verdict({}), "");
}

TEST(Validate, Pools) {
  Objects objects;
  objects.pools = {pool("", {"10.0.0.0/24"})};
  EXPECT_EQ(verdict(objects), "missing pool name");
  objects.pools = {pool("empty", {})};
  EXPECT_EQ(verdict(objects), "IPAddressPool empty: pool has no prefixes defined");
  objects.pools = {pool("a", {"10.0.0.0/24"}), pool("a", {"10.0.1.0/24"})};
  EXPECT_EQ(verdict(objects), "duplicate definition of pool \"a\"");
}

TEST(Validate, Overlaps) {
  Objects objects;
  objects.pools = {pool("a", {"10.0.0.0/24"}), pool("b", {"10.0.2.0/24", "10.0.0.250-10.0.1.5"})};
  EXPECT_EQ(verdict(objects),
            "CIDR \"10.0.0.250-10.0.1.5\" in pool \"b\" overlaps with already defined CIDR \"10.0.0.0/24\"");
  objects.pools = {pool("a", {"10.0.0.5/32", "10.0.0.0/24"})};  // inside one pool too; the later one is to blame
  EXPECT_EQ(verdict(objects),
            "CIDR \"10.0.0.0/24\" in pool \"a\" overlaps with already defined CIDR \"10.0.0.5/32\"");
  objects.pools = {pool("a", {"10.0.0.0/24", "10.0.1.0/24"}), pool("b", {"10.0.0.128/25"})};
  EXPECT_EQ(verdict(objects),
            "CIDR \"10.0.0.128/25\" in pool \"b\" overlaps with already defined CIDR \"10.0.0.0/24\"");
  objects.pools = {pool("a", {"10.0.0.0/24"}), pool("b", {"10.0.1.0/24"}), pool("c", {"10.0.1.128/25"})};
  EXPECT_EQ(verdict(objects),
            "CIDR \"10.0.1.128/25\" in pool \"c\" overlaps with already defined CIDR \"10.0.1.0/24\"");
  objects.pools = {pool("wide", {"10.0.0.0/16"}), pool("in", {"10.0.1.0/24"}), pool("far", {"10.0.200.0/24"})};
  EXPECT_NE(verdict(objects), "");
}

TEST(Validate, DuplicatesAndPorts) {
  Objects objects;
  objects.services = {service("web"), service("web")};
  EXPECT_EQ(verdict(objects), "duplicate definition of service \"default/web\"");
  objects.services = {service("web", {tcp(80), udp(80), tcp(80)})};
  EXPECT_EQ(verdict(objects), "Service default/web: port TCP/80 is listed twice");
  objects.services = {service("web", {tcp(80, "", "http"), tcp(443, "", "http")})};
  EXPECT_EQ(verdict(objects), "Service default/web: duplicate definition of port name \"http\"");
  objects.services.clear();
  objects.slices = {test::slice("web", {}, {}), test::slice("web", {}, {})};
  EXPECT_EQ(verdict(objects), "duplicate definition of EndpointSlice \"default/web-1\"");
  objects.slices.clear();
  objects.nodes = {Node{"pi1", {}, {}, false}, Node{"pi1", {}, {}, false}};
  EXPECT_EQ(verdict(objects), "duplicate definition of node \"pi1\"");
  objects.nodes.clear();
  objects.advertisements = {{}};
  objects.advertisements[0].name.name = "lan";
  objects.advertisements[0].pools = {"a", "a"};
  EXPECT_EQ(verdict(objects), "L2Advertisement lan: duplicate definition of ipAddressPools entry \"a\"");
}

}  // namespace
}  // namespace xlb
