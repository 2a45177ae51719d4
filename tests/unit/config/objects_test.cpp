// SPDX-License-Identifier: Apache-2.0
// Kinds, names, lists, EndpointSlice, Node, Namespace.
#include <algorithm>

#include "tests/unit/config/refusal.hpp"

namespace xlb {
namespace {

const std::string kPool =
    "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: home}\nspec: {addresses: [10.0.0.0/24]}\n";

std::string slice(const std::string& rest) {
  return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  labels:\n    "
         "kubernetes.io/service-name: web\n" +
         rest;
}

TEST(Objects, UnknownKindsAreRefusedWithWhatWasMeant) {
  EXPECT_EQ(refusal("apiVersion: metallb.io/v1beta1\nkind: IPAdressPool\n"),
            "in.yaml:2: kind: unknown kind \"IPAdressPool\": did you mean IPAddressPool?");
  EXPECT_EQ(refusal("apiVersion: apps/v1\nkind: Deployment\n"),
            "in.yaml:2: kind: unknown kind \"Deployment\": remove the document; understood are IPAddressPool, "
            "L2Advertisement, Service, EndpointSlice, "
            "Node, Namespace, List");
  EXPECT_EQ(refusal("kind: AddressPool\n"),
            "in.yaml:1: kind: kind AddressPool is of an old MetalLB: write an IPAddressPool and an L2Advertisement "
            "(metallb.io/v1beta1)");
  EXPECT_EQ(refusal("a: b\n"), "in.yaml:1: kind: missing: every object has one, as in kind: IPAddressPool");
  EXPECT_EQ(refusal("kind: [a]\n"), "in.yaml:1: kind: expected a string, found a list");
  EXPECT_EQ(refusal("- a\n"), "in.yaml:1: expected a mapping, found a list");
  EXPECT_EQ(refusal("hello\n"), "in.yaml:1: expected a mapping, found the string \"hello\"");
}

TEST(Objects, UnknownVersionsAreRefusedWithTheRightOne) {
  EXPECT_EQ(refusal("apiVersion: metallb.io/v1alpha1\nkind: IPAddressPool\nmetadata: {name: home}\n"),
            "in.yaml:1: IPAddressPool metallb-system/home: apiVersion: unknown apiVersion \"metallb.io/v1alpha1\" of "
            "this kind: write apiVersion: "
            "metallb.io/v1beta1");
  EXPECT_EQ(refusal("kind: Service\nmetadata: {name: web}\n"),
            "in.yaml:1: Service default/web: apiVersion: missing: write apiVersion: v1");
}

TEST(Objects, NamesAreChecked) {
  const auto named = [](const std::string& name) {
    return refusal("apiVersion: v1\nkind: Node\nmetadata: {name: " + name + "}\n");
  };
  for (const char* name : {"../x", "a/b", "-a", "a-", "A", "a_b", "a..b", "a.-b", "\"\\u00e9\"", "\"a b\""}) {
    EXPECT_NE(named(name).find("invalid name"), std::string::npos) << name;
  }
  EXPECT_EQ(named("pi-2.lan"), "accepted");
  EXPECT_EQ(named(std::string(254, 'a')).find("invalid name") == std::string::npos, false);
  EXPECT_NE(refusal("apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b.c}\n")
                .find("metadata.namespace: invalid namespace \"b.c\""),
            std::string::npos);
}

// What is not a name is shown in quotes, and never as it came: an error stays one line.
TEST(Objects, HostileNamesAndKeysAreShownSafely) {
  EXPECT_EQ(refusal("apiVersion: v2\nkind: Node\nmetadata: {name: \"a\\nb\"}\n"),
            "in.yaml:1: Node: apiVersion: unknown apiVersion \"v2\" of this kind: write apiVersion: v1");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: Node\nmetadata: {name: \"a\\e[2Jb\"}\n"),
            "in.yaml:3: Node: metadata.name: invalid name \"a\\x1b[2Jb\": use small letters, digits, '-' and '.', "
            "beginning and ending "
            "with a letter or digit");
  EXPECT_EQ(refusal(kPool + "\"a\\nb\": 1\n").substr(0, 69),
            "in.yaml:5: IPAddressPool metallb-system/home: [\"a\\nb\"]: unknown field");
}

TEST(Objects, DuplicatesNameBothPlaces) {
  EXPECT_EQ(refusal(kPool + "---\n" + kPool),
            "in.yaml:6: duplicate definition of pool \"home\": it is at in.yaml:1 already: remove one");
  const std::string node = "---\napiVersion: v1\nkind: Node\nmetadata: {name: pi}\n";
  EXPECT_EQ(refusal(node + node),
            "in.yaml:6: duplicate definition of Node pi: it is at in.yaml:2 already: remove one");
}

TEST(Objects, ListsAreTakenApart) {
  const ParsedManifests parsed = accepted(
      "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n"
      "- apiVersion: v1\n  kind: Node\n  metadata: {name: pi1}\n- apiVersion: v1\n  kind: Namespace\n  metadata: "
      "{name: web, labels: {a: b}}\n");
  EXPECT_EQ(parsed.objects.nodes.size(), 1U);
  EXPECT_EQ(parsed.objects.namespaces->at("web"), (Labels{{"a", "b"}, {"kubernetes.io/metadata.name", "web"}}));
  EXPECT_TRUE(accepted("apiVersion: v1\nkind: List\nitems: []\n").objects.nodes.empty());
  EXPECT_EQ(refusal("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: A}\n")
                .substr(0, 30),
            "in.yaml:6: Node: metadata.name");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: List\n"), "in.yaml:1: List: items: missing: a List has items");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: List\nitems: {a: b}\n"),
            "in.yaml:3: List: items: expected a list, found a mapping");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: List\nitems: [3]\n"),
            "in.yaml:3: List: items[0]: expected a mapping, found the number 3");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: List\nitems: [~]\n"),
            "in.yaml:3: List: items[0]: an empty entry: remove it");
  EXPECT_EQ(refusal("apiVersion: v2\nkind: List\nitems: []\n"),
            "in.yaml:1: List: apiVersion: a List is read as v1: write apiVersion: v1");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: List\nitems: [{kind: List}]\n"),
            "in.yaml:3: List: items[0]: a List inside a List: write its items out");
}

TEST(Objects, JsonIsYaml) {
  EXPECT_EQ(accepted("{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Node\",\n\t\"metadata\": {\"name\": \"pi\"}\n}\n")
                .objects.nodes.size(),
            1U);
}

TEST(Objects, EmptyDocumentsAndLineEndsOfWindowsAreFine) {
  std::string text = "---\n# nothing\n---\n" + kPool + "---\n";
  EXPECT_EQ(accepted(text).objects.pools.size(), 1U);
  std::string crlf;
  for (const char c : text) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(accepted(crlf).objects.pools.size(), 1U);
  EXPECT_EQ(accepted(kPool).objects, accepted(crlf).objects);
}

TEST(Objects, TooManyAreRefused) {
  std::string text;
  for (int i = 0; i <= 50'000; ++i)
    text += "---\n{apiVersion: v1, kind: Node, metadata: {name: n" + std::to_string(i) + "}}\n";
  EXPECT_EQ(refusal(text), "in.yaml: more than 50000 objects: that is beyond what one node serves");
}

TEST(EndpointSlice, IsReadWhole) {
  const ParsedManifests parsed = accepted(slice(
      "addressType: IPv4\nports:\n- {name: http, port: 8080}\n- {name: h3, port: 8443, protocol: UDP}\nendpoints:\n"
      "- addresses: [10.42.0.8]\n  nodeName: pi2\n  conditions: {ready: false, serving: true, terminating: true}\n- "
      "addresses: [10.42.0.9]\n"
      "- addresses: [10.42.0.10]\n  conditions: {ready: false}\n"));
  const EndpointSlice& read = parsed.objects.slices.at(0);
  EXPECT_EQ(read.name.text(), "default/web-1");
  EXPECT_EQ(read.service, "web");
  EXPECT_EQ(read.ports, (std::vector<EndpointPort>{{"http", Protocol::tcp, 8080}, {"h3", Protocol::udp, 8443}}));
  ASSERT_EQ(read.endpoints.size(), 3U);
  EXPECT_EQ(read.endpoints[0].node, "pi2");
  EXPECT_FALSE(read.endpoints[0].ready);
  EXPECT_TRUE(read.endpoints[0].serving);
  EXPECT_TRUE(read.endpoints[0].terminating);
  EXPECT_TRUE(read.endpoints[1].ready && read.endpoints[1].serving && !read.endpoints[1].terminating);
  EXPECT_FALSE(read.endpoints[2].serving);  // not said: as ready
}

TEST(EndpointSlice, BadAddressesAreRefused) {
  const auto with = [](const std::string& type, const std::string& address) {
    return refusal(slice("addressType: " + type + "\nendpoints:\n- addresses: [\"" + address + "\"]\n"));
  };
  const std::string where = "in.yaml:9: EndpointSlice default/web-1: endpoints[0].addresses[0]: ";
  EXPECT_EQ(with("IPv4", "10.42.0.8"), "accepted");
  EXPECT_EQ(with("IPv4", "fd00::1"),
            where + "\"fd00::1\" is not of the slice's addressType: one EndpointSlice holds one family");
  EXPECT_EQ(with("IPv4", "10.42.0"), where + "invalid address \"10.42.0\": write it as 192.168.0.7 or fd00::7");
  EXPECT_EQ(with("IPv4", "127.0.0.1"), where +
                                           "\"127.0.0.1\" can be no backend: loopback: no packet from outside "
                                           "reaches it: write an address of the node");
  EXPECT_EQ(with("IPv4", "224.0.0.1"), where + "\"224.0.0.1\" can be no backend: a multicast or broadcast address");
  EXPECT_EQ(with("IPv4", "0.0.0.0"), where + "\"0.0.0.0\" can be no backend: the unspecified address is nobody's");
  EXPECT_EQ(with("IPv6", "fe80::1"),
            where + "\"fe80::1\" can be no backend: a link-local address: write a routed one");
  EXPECT_EQ(with("FQDN", "x"),
            "in.yaml:7: EndpointSlice default/web-1: addressType: FQDN is not supported: write IPv4 or IPv6, and "
            "addresses");
  EXPECT_EQ(refusal(slice("endpoints: []\n")),
            "in.yaml:1: EndpointSlice default/web-1: addressType: missing: write IPv4 or IPv6");
  EXPECT_EQ(
      refusal(slice("addressType: IPv4\nports: [{port: 0}]\n")),
      "in.yaml:8: EndpointSlice default/web-1: ports[0].port: expected a whole number from 1 to 65535, found 0");
  EXPECT_EQ(refusal(slice("addressType: IPv4\nendpoints: [{}]\n")),
            "in.yaml:8: EndpointSlice default/web-1: endpoints[0].addresses: missing: an endpoint has at least one "
            "address");
}

TEST(EndpointSlice, WithoutServiceIsSaid) {
  const ParsedManifests parsed = accepted(
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x, namespace: y}\naddressType: "
      "IPv4\nendpoints: []\n");
  EXPECT_EQ(parsed.warnings,
            (std::vector<std::string>{
                "in.yaml:3: EndpointSlice y/x: metadata.labels[\"kubernetes.io/service-name\"]: missing: this "
                "EndpointSlice belongs to no Service, and is not used"}));
}

TEST(Node, IsRead) {
  const ParsedManifests parsed = accepted(
      "apiVersion: v1\nkind: Node\nmetadata: {name: pi2, labels: {zone: a}}\nspec: {unschedulable: true}\nstatus:\n  addresses:\n  - {type: "
      "InternalIP, address: 192.168.0.12}\n"
      "  - {type: Hostname, address: pi2}\n  conditions: [{type: Ready, status: 'False'}, {type: NetworkUnavailable, "
      "status: 'True'}]\n");
  const Node& read = parsed.objects.nodes.at(0);
  EXPECT_EQ(read.name, "pi2");
  EXPECT_EQ(read.labels.at("zone"), "a");
  ASSERT_EQ(read.addresses.size(), 1U);
  EXPECT_EQ(read.addresses[0].text(), "192.168.0.12");
  EXPECT_TRUE(read.network_unavailable);
  EXPECT_TRUE(read.cordoned);
}

TEST(Objects, IdsNeedNoValidRest) {
  const auto ids = object_ids(
      {{"in.yaml", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: home}\nspec: broken\n"}});
  ASSERT_TRUE(ids);
  ASSERT_EQ(ids->size(), 1U);
  EXPECT_EQ((*ids)[0].text(), "IPAddressPool metallb-system/home");
  EXPECT_EQ((ObjectId{"Node", {"", "pi"}}.text()), "Node pi");
}

}  // namespace
}  // namespace xlb
