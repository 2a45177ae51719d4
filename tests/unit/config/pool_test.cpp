// SPDX-License-Identifier: Apache-2.0
// IPAddressPool and L2Advertisement: what is read, and each refusal as the user sees it.
#include <fstream>
#include <sstream>

#include "tests/unit/config/refusal.hpp"

namespace xlb {
namespace {

std::string pool(const std::string& spec) {
  return "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: home\nspec:\n" + spec;
}

std::string pool_of(const std::string& address) {
  return pool("  addresses:\n  - " + address + "\n");
}

std::string advertisement(const std::string& spec) {
  return "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: lan\nspec:\n" + spec;
}

const std::string kWhere = "in.yaml:7: IPAddressPool metallb-system/home: spec.addresses[0]: invalid CIDR ";

TEST(Pool, TheTutorialsManifestIsReadUnchanged) {
  const std::string path = std::string(XLB_EXAMPLES) + "/ip-address-pool.yaml";
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  const ParsedManifests parsed = accepted(text.str());
  EXPECT_TRUE(parsed.warnings.empty());
  ASSERT_EQ(parsed.objects.pools.size(), 1U);
  const Pool& pool = parsed.objects.pools[0];
  EXPECT_EQ(pool.name.text(), "metallb-system/ipaddresspool");
  ASSERT_EQ(pool.ranges.size(), 1U);
  EXPECT_EQ(pool.ranges[0].first.text(), "192.168.0.200");
  EXPECT_EQ(pool.ranges[0].last.text(), "192.168.0.250");
  EXPECT_TRUE(pool.auto_assign);
  EXPECT_FALSE(pool.avoid_buggy_ips);
  EXPECT_FALSE(pool.allocation);
  ASSERT_EQ(parsed.objects.advertisements.size(), 1U);
  EXPECT_EQ(parsed.objects.advertisements[0].name.text(), "metallb-system/default");
  EXPECT_EQ(parsed.objects.advertisements[0].pools, (std::vector<std::string>{"ipaddresspool"}));
}

TEST(Pool, RangesAreCidrsOrStartAndEnd) {
  const auto range = [](const std::string& text) {
    const ParsedManifests parsed = accepted(pool_of(text));
    const AddressRange& r = parsed.objects.pools.at(0).ranges.at(0);
    return r.first.text() + " " + r.last.text();
  };
  EXPECT_EQ(range("192.168.0.0/24"), "192.168.0.0 192.168.0.255");
  EXPECT_EQ(range("192.168.0.7/32"), "192.168.0.7 192.168.0.7");
  EXPECT_EQ(range("  10.0.0.1 -  10.0.0.1 "), "10.0.0.1 10.0.0.1");
  EXPECT_EQ(range("fd00::10-fd00::20"), "fd00::10 fd00::20");
  EXPECT_EQ(range("fd00::/120"), "fd00:: fd00::ff");
  EXPECT_EQ(accepted(pool("  addresses: [10.0.0.0/30, 'fd00::/126']\n")).objects.pools[0].ranges.size(), 2U);
}

TEST(Pool, HostBitsAreMaskedAndSaid) {
  const ParsedManifests parsed = accepted(pool_of("192.168.0.200/24"));
  EXPECT_EQ(parsed.objects.pools[0].ranges[0].first.text(), "192.168.0.0");
  EXPECT_EQ(parsed.warnings,
            (std::vector<std::string>{
                "in.yaml:7: IPAddressPool metallb-system/home: spec.addresses[0]: \"192.168.0.200/24\" is the "
                "whole of 192.168.0.0/24, from 192.168.0.0 to 192.168.0.255"}));
}

TEST(Pool, BadRangesAreRefusedInMetallbsWords) {
  EXPECT_EQ(refusal(pool_of("192.168.0.250-192.168.0.200")),
            kWhere +
                "\"192.168.0.250-192.168.0.200\" in pool \"home\": invalid IP range \"192.168.0.250-192.168.0.200\": "
                "start IP "
                "\"192.168.0.250\" is after the end IP \"192.168.0.200\"");
  EXPECT_EQ(refusal(pool_of("192.168.0.200")),
            kWhere + "\"192.168.0.200\" in pool \"home\": a single address is written 192.168.0.200/32");
  EXPECT_EQ(refusal(pool_of("fd00::1")),
            kWhere + "\"fd00::1\" in pool \"home\": a single address is written fd00::1/128");
  EXPECT_EQ(refusal(pool_of("192.168.0.1-fd00::1")),
            kWhere +
                "\"192.168.0.1-fd00::1\" in pool \"home\": invalid IP range \"192.168.0.1-fd00::1\": start IP "
                "\"192.168.0.1\" and end "
                "IP \"fd00::1\" are of different families: write one range for each");
  EXPECT_EQ(
      refusal(pool_of("a-192.168.0.1")),
      kWhere + "\"a-192.168.0.1\" in pool \"home\": invalid IP range \"a-192.168.0.1\": invalid start IP \"a\"");
  EXPECT_EQ(refusal(pool_of("192.168.0.1-192.168.0.1-2")),
            kWhere +
                "\"192.168.0.1-192.168.0.1-2\" in pool \"home\": invalid IP range \"192.168.0.1-192.168.0.1-2\": "
                "invalid end IP "
                "\"192.168.0.1-2\"");
  for (const char* text : {"::/0", "::/80", "\"::-1::\""}) {
    EXPECT_NE(refusal(pool_of(text)).find("it holds ::ffff:0:0/96, which is all of IPv4: write a smaller range"),
              std::string::npos)
        << refusal(pool_of(text));
  }
  for (const char* text : {"192.168.0.0/33", "192.168.0/24", "192.168.0.0 /24", "fd00::/129", "somewhere",
                           "192.168.00.1/32", "\"\\u00e9/24\""}) {
    EXPECT_TRUE(refusal(pool_of(text)).starts_with(kWhere)) << refusal(pool_of(text));
  }
}

TEST(Pool, RangesOfOneTextMustNotOverlap) {
  EXPECT_EQ(refusal(pool("  addresses: [10.0.0.0/24, 10.0.0.9-10.0.1.9]\n")),
            "in.yaml:1: IPAddressPool metallb-system/home: CIDR \"10.0.0.9-10.0.1.9\" in pool \"home\" overlaps with "
            "already "
            "defined CIDR \"10.0.0.0/24\"");
}

TEST(Pool, NeedsNameAndAddresses) {
  EXPECT_EQ(refusal("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  namespace: x\nspec:\n  "
                    "addresses: [10.0.0.0/24]\n"),
            "in.yaml:4: IPAddressPool: metadata.name: missing pool name");
  EXPECT_EQ(refusal("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n"),
            "in.yaml:1: IPAddressPool: metadata.name: missing pool name");
  const std::string none = "IPAddressPool metallb-system/home: spec.addresses: pool has no prefixes defined";
  EXPECT_EQ(refusal(pool("  autoAssign: true\n")), "in.yaml:6: " + none);
  EXPECT_EQ(refusal(pool("  addresses: []\n")), "in.yaml:6: " + none);
  EXPECT_EQ(refusal(pool("  addresses:\n")), "in.yaml:7: " + none);
}

TEST(Pool, WrongTypesSayWhatWasFound) {
  const std::string object = "IPAddressPool metallb-system/home: ";
  EXPECT_EQ(refusal(pool("  addresses: 10.0.0.0/24\n")),
            "in.yaml:6: " + object + "spec.addresses: expected a list, found the string \"10.0.0.0/24\"");
  EXPECT_EQ(refusal(pool("  addresses:\n  - {a: b}\n")),
            "in.yaml:7: " + object + "spec.addresses[0]: expected a string, found a mapping");
  EXPECT_EQ(refusal(pool_of("10")),
            "in.yaml:7: " + object + "spec.addresses[0]: expected a string, found the number 10: put it in quotes");
  EXPECT_EQ(refusal(pool("  autoAssign: \"true\"\n  addresses: [10.0.0.0/24]\n")),
            "in.yaml:6: " + object +
                "spec.autoAssign: expected true or false, found the string \"true\": remove the quotes");
  EXPECT_EQ(
      refusal(pool("  serviceAllocation:\n    priority: high\n  addresses: [10.0.0.0/24]\n")),
      "in.yaml:7: " + object +
          "spec.serviceAllocation.priority: expected a whole number from 0 to 2147483647, found the string \"high\"");
  EXPECT_EQ(refusal("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: home}\nspec: [a]\n"),
            "in.yaml:4: " + object + "spec: expected a mapping, found a list");
  EXPECT_EQ(refusal("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: 7}\n"),
            "in.yaml:3: IPAddressPool: metadata.name: expected a string, found the number 7: put it in quotes");
}

TEST(Pool, UnknownFieldsAreRefusedWithWhatWasMeant) {
  const std::string object = "IPAddressPool metallb-system/home: ";
  EXPECT_EQ(refusal(pool("  adresses: [10.0.0.0/24]\n")),
            "in.yaml:6: " + object + "spec.adresses: unknown field: did you mean addresses?");
  EXPECT_EQ(refusal(pool("  addresses: [10.0.0.0/24]\n  autoassign: true\n")),
            "in.yaml:7: " + object + "spec.autoassign: unknown field: did you mean autoAssign?");
  EXPECT_EQ(refusal(pool("  addresses: [10.0.0.0/24]\n  protocol: layer2\n")),
            "in.yaml:7: " + object +
                "spec.protocol: unknown field: known here: addresses autoAssign avoidBuggyIPs serviceAllocation");
  EXPECT_EQ(refusal(pool_of("10.0.0.0/24") + "Spec: {}\n"),
            "in.yaml:8: " + object + "Spec: unknown field: did you mean spec?");
}

TEST(Pool, StatusAndMetadataOfAClusterAreIgnored) {
  const ParsedManifests parsed = accepted(pool_of("10.0.0.0/24") + "status:\n  availableIPv4: 3\n");
  EXPECT_TRUE(parsed.warnings.empty());
  accepted(
      "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: home\n  uid: x\n  generation: 3\n  "
      "managedFields: [{a: b}]\n"
      "spec:\n  addresses: [10.0.0.0/24]\n");
}

TEST(Pool, ServiceAllocationIsRead) {
  const ParsedManifests parsed =
      accepted(pool("  addresses: [10.0.0.0/24]\n  autoAssign: no\n  avoidBuggyIPs: true\n  serviceAllocation:\n    "
                    "priority: 5\n    namespaces: [b, a]\n"
                    "    namespaceSelectors:\n    - matchLabels: {team: net}\n"
                    "    serviceSelectors:\n    - matchExpressions:\n      - {key: app, operator: NotIn, values: [x, "
                    "y]}\n      - {key: tier, operator: Exists}\n"));
  const Pool& read = parsed.objects.pools.at(0);
  EXPECT_FALSE(read.auto_assign);
  EXPECT_TRUE(read.avoid_buggy_ips);
  ASSERT_TRUE(read.allocation);
  EXPECT_EQ(read.allocation->priority, 5U);
  EXPECT_EQ(read.allocation->namespaces, (std::set<std::string>{"a", "b"}));
  EXPECT_TRUE(read.allocation->namespace_selectors.at(0).matches({{"team", "net"}}));
  const LabelSelector& services = read.allocation->service_selectors.at(0);
  EXPECT_TRUE(services.matches({{"app", "z"}, {"tier", ""}}));
  EXPECT_FALSE(services.matches({{"app", "x"}, {"tier", ""}}));
  EXPECT_FALSE(services.matches({{"app", "z"}}));
}

TEST(Pool, BadSelectorsAreRefused) {
  const std::string object = "L2Advertisement metallb-system/lan: spec.nodeSelectors[0]";
  const auto with = [](const std::string& selector) {
    return refusal(advertisement("  nodeSelectors:\n  - " + selector + "\n"));
  };
  EXPECT_EQ(with("matchExpressions: [{key: a, operator: Like, values: [b]}]"),
            "in.yaml:7: " + object +
                ".matchExpressions[0].operator: expected In, NotIn, Exists or DoesNotExist, found \"Like\"");
  EXPECT_EQ(with("matchExpressions: [{key: a, operator: In}]"),
            "in.yaml:7: " + object +
                ".matchExpressions[0].values: invalid label selector: In and NotIn need at least one value");
  EXPECT_EQ(
      with("matchExpressions: [{key: a, operator: Exists, values: [b]}]"),
      "in.yaml:7: " + object +
          ".matchExpressions[0].values: invalid label selector: Exists and DoesNotExist take no values: remove them");
  EXPECT_EQ(with("matchExpressions: [{operator: Exists}]"),
            "in.yaml:7: " + object +
                ".matchExpressions[0].key: missing: invalid label selector: a match expression names a label");
  EXPECT_EQ(with("matchLabels: {a: 1}"),
            "in.yaml:7: " + object + ".matchLabels.a: expected a string, found the number 1: put it in quotes");
  EXPECT_EQ(with("matchLabel: {a: b}"),
            "in.yaml:7: " + object + ".matchLabel: unknown field: did you mean matchLabels?");
  EXPECT_EQ(
      with("matchExpressions: [{key: a, operator: In, values: [b, c]}, {key: a, operator: In, values: [c, b]}]"),
      "in.yaml:7: " + object +
          ".matchExpressions[1]: duplicate definition of match expression with key \"a\": remove one");
  EXPECT_EQ(with("matchLabels: {a: b}\n  - matchLabels: {a: b}"),
            "in.yaml:8: L2Advertisement metallb-system/lan: spec.nodeSelectors[1]: duplicate definition of selector: "
            "remove one");
}

TEST(L2Advertisement, IsReadWhole) {
  const ParsedManifests parsed =
      accepted(advertisement("  ipAddressPools: [home, office]\n  ipAddressPoolSelectors: [{matchLabels: {zone: "
                             "a}}]\n  nodeSelectors: [{}]\n"
                             "  interfaces: [eth0, eth1]\n  serviceSelectors: [{matchLabels: {app: b}}]\n"
                             "  preferredNodeSelectors: [{weight: 50, preference: {matchLabels: {fast: 'yes'}}}]\n"));
  const L2Advertisement& read = parsed.objects.advertisements.at(0);
  EXPECT_EQ(read.pools, (std::vector<std::string>{"home", "office"}));
  EXPECT_EQ(read.pool_selectors.size(), 1U);
  EXPECT_TRUE(read.node_selectors.at(0).matches({}));
  EXPECT_EQ(read.interfaces, (std::vector<std::string>{"eth0", "eth1"}));
  EXPECT_EQ(read.preferred_nodes.at(0).weight, 50);
  EXPECT_TRUE(read.preferred_nodes.at(0).preference.matches({{"fast", "yes"}}));
}

TEST(L2Advertisement, WithoutSpecMeansAllPools) {
  EXPECT_EQ(accepted("apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all}\n")
                .objects.advertisements.size(),
            1U);
}

TEST(L2Advertisement, BadFieldsAreRefused) {
  const std::string object = "L2Advertisement metallb-system/lan: ";
  EXPECT_EQ(refusal(advertisement("  ipAddressPools: [home, home]\n")),
            "in.yaml:6: " + object + "spec.ipAddressPools[1]: duplicate definition of pool \"home\": remove one");
  EXPECT_EQ(refusal(advertisement("  preferredNodeSelectors: [{weight: 0, preference: {}}]\n")),
            "in.yaml:6: " + object +
                "spec.preferredNodeSelectors[0].weight: expected a whole number from 1 to 100, found 0");
  EXPECT_EQ(refusal(advertisement("  preferredNodeSelectors: [{weight: 1}]\n")),
            "in.yaml:6: " + object + "spec.preferredNodeSelectors[0].preference: missing: a label selector");
  EXPECT_EQ(refusal(advertisement("  interfaces: eth0\n")),
            "in.yaml:6: " + object + "spec.interfaces: expected a list, found the string \"eth0\"");
}

}  // namespace
}  // namespace xlb
