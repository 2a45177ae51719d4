// SPDX-License-Identifier: Apache-2.0
// Objects as an API server sends them, to values.
#include "userspace/kube/kinds.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "userspace/kube/store.hpp"

namespace xlb {
namespace {

ReadObject read(ApiKind kind, const std::string& json) {
  const auto event = parse_event(R"({"type":"ADDED","object":)" + json + "}", about(kind).leave_out);
  EXPECT_TRUE(event) << event.error().text << "\n" << json;
  if (!event) return {};
  auto object = read_api_object(kind, event->object);
  EXPECT_TRUE(object) << object.error().text;
  return object ? std::move(*object) : ReadObject{};
}

// A Service shop/web with these pieces of JSON put in.
std::string service(const std::string& metadata, const std::string& spec, const std::string& status = "{}") {
  return R"({"metadata":{"name":"web","namespace":"shop","uid":"u1","resourceVersion":"7")" + metadata +
         R"(},"spec":{"type":"LoadBalancer","clusterIP":"10.43.0.9","clusterIPs":["10.43.0.9","fd00::9"],"ports":[{"port":80,"targetPort":"http","nodePort":30080,"protocol":"TCP"}])" +
         spec + R"(},"status":)" + status + "}";
}

std::string annotated(const std::string& annotations) {
  return service(R"(,"annotations":{)" + annotations + "}", "");
}

const ReadService& service_of(const ReadObject& object) {
  static const ReadService none;
  const auto* value = std::get_if<Read<ReadService>>(&object.value);
  EXPECT_NE(value, nullptr) << object.unreadable;
  return value == nullptr ? none : **value;
}

TEST(ApiService, IsReadAsAServerSendsIt) {
  const auto object = read(
      ApiKind::services,
      service(
          R"(,"labels":{"app":"web"},"annotations":{"metallb.io/loadBalancerIPs":"192.168.0.201,fd00::201","metallb.io/address-pool":"home","metallb.io/allow-shared-ip":"key","metallb.io/ip-allocated-from-pool":"home","xdp-lb.io/path":"kernel","xdp-lb.io/unknown-ports":"drop","xdp-lb.io/health":"http:/ready"},"managedFields":[{"manager":"kubectl"}])",
          R"(,"selector":{"app":"web"},"loadBalancerClass":"x/y","externalTrafficPolicy":"Local","healthCheckNodePort":31000,"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}},"ipFamilies":["IPv4","IPv6"],"ipFamilyPolicy":"RequireDualStack","loadBalancerSourceRanges":["192.168.0.0/24"],"publishNotReadyAddresses":true,"internalTrafficPolicy":"Cluster","allocateLoadBalancerNodePorts":true)",
          R"({"loadBalancer":{"ingress":[{"ip":"192.168.0.201","ipMode":"VIP"},{"hostname":"x.example"},{"ip":"fd00::201"}]}})"));
  EXPECT_EQ(object.unreadable, "");
  EXPECT_TRUE(object.warnings.empty());
  const ReadService& read = service_of(object);
  EXPECT_TRUE(read.counts);
  const ApiService& api = read.api;
  EXPECT_EQ(api.identity.uid, "u1");
  EXPECT_EQ(api.identity.version, "7");
  EXPECT_FALSE(api.identity.deleting);
  ASSERT_EQ(api.ingress.size(), 2U);
  EXPECT_EQ(api.ingress[1].text(), "fd00::201");
  EXPECT_EQ(api.hostnames, std::vector<std::string>{"x.example"});
  EXPECT_TRUE(api.vip_mode);
  EXPECT_EQ(api.cluster_ips.size(), 2U);
  EXPECT_FALSE(api.headless);
  EXPECT_EQ(api.allocated_from, "home");
  EXPECT_TRUE(api.deprecated.empty());
  EXPECT_EQ(api.contradiction, "");
  const Service& service = read.service;
  EXPECT_EQ(service.name.text(), "shop/web");
  EXPECT_EQ(service.ports.at(0).target, "http");
  EXPECT_EQ(service.requested.size(), 2U);
  EXPECT_EQ(service.pool, "home");
  EXPECT_EQ(service.sharing_key, "key");
  EXPECT_EQ(service.load_balancer_class, "x/y");
  EXPECT_EQ(service.policy, TrafficPolicy::local);
  EXPECT_EQ(service.affinity_s, 60U);
  EXPECT_EQ(service.family_policy, FamilyPolicy::require_dual);
  EXPECT_EQ(service.source_ranges.size(), 1U);
  EXPECT_TRUE(service.publish_not_ready);
  EXPECT_EQ(service.path, Path::kernel);
  EXPECT_EQ(service.unknown_ports, UnknownPorts::drop);
  EXPECT_TRUE(service.health.has_value());
  EXPECT_EQ(service.health_check_port, 31000);
}

TEST(ApiService, IsNoneOfOursWithoutTypeAndAddress) {
  const std::string inner =
      R"({"metadata":{"name":"a","namespace":"b","resourceVersion":"7"},"spec":{"type":"ClusterIP","clusterIP":"None","ports":[{"port":80}]})";
  EXPECT_TRUE(std::holds_alternative<std::monostate>(read(ApiKind::services, inner + "}").value));
  const auto had_one =
      read(ApiKind::services, inner + R"(,"status":{"loadBalancer":{"ingress":[{"ip":"192.168.0.7"}]}}})");
  EXPECT_TRUE(service_of(had_one).api.headless);
  EXPECT_EQ(service_of(had_one).service.type, "ClusterIP");
  EXPECT_TRUE(had_one.warnings.empty());
  EXPECT_EQ(service_of(had_one).api.ingress.size(), 1U);
}

TEST(ApiService, SeesThatItIsBeingDeletedAndProxied) {
  const auto object =
      read(ApiKind::services, service(R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")", "",
                                      R"({"loadBalancer":{"ingress":[{"ip":"192.168.0.201","ipMode":"Proxy"}]}})"));
  EXPECT_TRUE(service_of(object).api.identity.deleting);
  EXPECT_FALSE(service_of(object).api.vip_mode);
}

TEST(ApiService, ReadsTheOldSpellings) {
  const auto object = read(
      ApiKind::services,
      annotated(
          R"("metallb.universe.tf/loadBalancerIPs":"192.168.0.7","metallb.universe.tf/address-pool":"old","metallb.io/address-pool":"new","metallb.universe.tf/ip-allocated-from-pool":"old")"));
  const ReadService& read = service_of(object);
  EXPECT_EQ(read.service.requested.at(0).text(), "192.168.0.7");
  EXPECT_EQ(read.service.pool, "new") << "the new one wins";
  EXPECT_EQ(read.api.allocated_from, "old");
  EXPECT_EQ(read.api.deprecated, (std::vector<std::string>{"metallb.universe.tf/address-pool",
                                                           "metallb.universe.tf/ip-allocated-from-pool",
                                                           "metallb.universe.tf/loadBalancerIPs"}));
}

TEST(ApiService, AContradictionIsSaidInMetallbsWordsAndAsksForNothing) {
  const auto contradiction = [](const std::string& json) {
    const auto object = read(ApiKind::services, json);
    EXPECT_EQ(object.unreadable, "") << "it counts";
    EXPECT_TRUE(service_of(object).counts);
    EXPECT_TRUE(service_of(object).service.requested.empty());
    return service_of(object).api.contradiction;
  };
  EXPECT_EQ(contradiction(service(R"(,"annotations":{"metallb.io/loadBalancerIPs":"192.168.0.7"})",
                                  R"(,"loadBalancerIP":"192.168.0.8")")),
            "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP: keep the annotation");
  EXPECT_TRUE(contradiction(annotated(R"("metallb.io/loadBalancerIPs":"nonsense")"))
                  .starts_with("invalid metallb.io/loadBalancerIPs: \"nonsense\""));
  EXPECT_TRUE(contradiction(annotated(R"("metallb.io/loadBalancerIPs":"1.2.3.4,fd00::1,1.2.3.5")"))
                  .starts_with("more than two addresses"));
  EXPECT_TRUE(contradiction(annotated(R"("metallb.io/loadBalancerIPs":"1.2.3.4,1.2.3.5")"))
                  .starts_with("\"1.2.3.4\" \"1.2.3.5\" has the same family"));
  EXPECT_TRUE(
      contradiction(service("", R"(,"loadBalancerIP":"x")")).starts_with("invalid spec.loadBalancerIP \"x\""));
}

TEST(ApiService, ThatCannotBeReadDoesNotCountButItsAddressIsKnown) {
  const auto object = read(
      ApiKind::services,
      R"({"metadata":{"name":"web","namespace":"shop","uid":"u1","resourceVersion":"7"},"spec":{"type":"LoadBalancer","ports":[{"port":80,"protocol":"SCTP"}]},"status":{"loadBalancer":{"ingress":[{"ip":"192.168.0.7"}]}}})");
  EXPECT_EQ(object.unreadable, "Service shop/web: spec.ports[0].protocol: SCTP is not supported: write TCP or UDP");
  EXPECT_FALSE(service_of(object).counts);
  EXPECT_EQ(service_of(object).api.contradiction, "SCTP is not supported: write TCP or UDP");
  EXPECT_EQ(service_of(object).api.ingress.at(0).text(), "192.168.0.7");
}

TEST(ApiService, UnknownAnnotationsOfOursDrawAWarningOnly) {
  const auto object = read(ApiKind::services, annotated(R"("xdp-lb.io/pathh":"fast")"));
  EXPECT_EQ(object.unreadable, "");
  ASSERT_EQ(object.warnings.size(), 1U);
  EXPECT_EQ(object.warnings[0],
            "Service shop/web: metadata.annotations[\"xdp-lb.io/pathh\"]: unknown annotation, ignored: did you mean "
            "xdp-lb.io/path?");
  EXPECT_NE(read(ApiKind::services, annotated(R"("xdp-lb.io/path":"fasst")")).unreadable, "");
}

TEST(ApiService, WithoutANameIsNoObject) {
  for (const char* json :
       {R"({"metadata":{"resourceVersion":"7"}})", R"({"metadata":{"name":"x","resourceVersion":"7"}})",
        R"({"metadata":{"name":5,"namespace":"x","resourceVersion":"7"}})"}) {
    const auto event = parse_event(std::string(R"({"type":"ADDED","object":)") + json + "}", {});
    ASSERT_TRUE(event);
    EXPECT_FALSE(read_api_object(ApiKind::services, event->object)) << json;
  }
}

// ---- the others
// -----------------------------------------------------------------------------------------------------

TEST(ApiKinds, SliceWithConditionsThatAreNotKnown) {
  const auto object = read(
      ApiKind::slices,
      R"({"metadata":{"name":"web-1","namespace":"shop","resourceVersion":"7","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[{"addresses":["10.42.0.7"],"conditions":{"ready":null},"nodeName":"pi1"},{"addresses":["10.42.0.8"],"conditions":{"ready":false,"serving":true,"terminating":true}}],"ports":[{"name":"","port":8080,"protocol":"TCP"}]})");
  const auto& slice = *std::get<Read<EndpointSlice>>(object.value);
  EXPECT_EQ(object.owner, "web");
  EXPECT_TRUE(slice.endpoints[0].ready && slice.endpoints[0].serving && !slice.endpoints[0].terminating);
  EXPECT_TRUE(!slice.endpoints[1].ready && slice.endpoints[1].serving && slice.endpoints[1].terminating);
  EXPECT_EQ(slice.endpoints[0].node, "pi1");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(
      read(ApiKind::slices,
           R"({"metadata":{"name":"x","namespace":"shop","resourceVersion":"7"},"addressType":"FQDN"})")
          .value))
      << "of no service";
  EXPECT_NE(
      read(
          ApiKind::slices,
          R"({"metadata":{"name":"x","namespace":"shop","resourceVersion":"7","labels":{"kubernetes.io/service-name":"web"}},"addressType":"FQDN"})")
          .unreadable,
      "");
}

TEST(ApiKinds, Node) {
  const auto object = read(
      ApiKind::nodes,
      R"({"metadata":{"name":"pi1","resourceVersion":"7","labels":{"a":"b"}},"spec":{"podCIDR":"x","unschedulable":true},"status":{"addresses":[{"type":"InternalIP","address":"192.168.0.11"},{"type":"InternalIP","address":"fd00::11"},{"type":"Hostname","address":"pi1"}],"conditions":[{"type":"Ready","status":"False"},{"type":"NetworkUnavailable","status":"True"}],"images":[{}]}})");
  const auto& node = *std::get<Read<Node>>(object.value);
  EXPECT_EQ(node.name, "pi1");
  EXPECT_EQ(node.addresses.size(), 2U);
  EXPECT_TRUE(node.network_unavailable);
  EXPECT_TRUE(node.cordoned);
  EXPECT_EQ(node.labels.at("a"), "b");
}

TEST(ApiKinds, PoolAndAdvertisement) {
  const auto pool = read(
      ApiKind::pools,
      R"({"metadata":{"name":"home","namespace":"metallb-system","uid":"u","resourceVersion":"7"},"spec":{"addresses":["192.168.0.0/24","192.168.1.9/30"],"autoAssign":false,"avoidBuggyIPs":true,"fromTheFuture":1,"serviceAllocation":{"priority":5,"namespaces":["shop"],"serviceSelectors":[{"matchLabels":{"a":"b"}}]}},"status":{"assignedIPv4":3}})");
  const auto& read_pool = *std::get<Read<ReadPool>>(pool.value);
  EXPECT_EQ(read_pool.pool.ranges.size(), 2U);
  EXPECT_FALSE(read_pool.pool.auto_assign);
  EXPECT_EQ(read_pool.pool.allocation->priority, 5U);
  EXPECT_EQ(read_pool.identity.uid, "u");
  EXPECT_EQ(pool.warnings.size(), 2U) << "host bits, and a field that is newer than we are";
  const auto bad = read(
      ApiKind::pools,
      R"({"metadata":{"name":"home","namespace":"metallb-system","resourceVersion":"7"},"spec":{"addresses":["192.168.0.250-192.168.0.200"]}})");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(bad.value));
  EXPECT_EQ(bad.unreadable,
            "IPAddressPool metallb-system/home: spec.addresses[0]: invalid CIDR \"192.168.0.250-192.168.0.200\" in "
            "pool \"home\": invalid IP range \"192.168.0.250-192.168.0.200\": start IP \"192.168.0.250\" is after "
            "the end IP \"192.168.0.200\"");
  const auto advertisement = read(
      ApiKind::advertisements,
      R"({"metadata":{"name":"l2","namespace":"metallb-system","resourceVersion":"7"},"spec":{"ipAddressPools":["home"],"interfaces":["eth0"],"nodeSelectors":[{"matchExpressions":[{"key":"k","operator":"In","values":["v"]}]}]}})");
  EXPECT_EQ(std::get<Read<L2Advertisement>>(advertisement.value)->node_selectors.size(), 1U);
}

TEST(ApiKinds, LeaseAndL2Status) {
  const auto lease = read(
      ApiKind::leases,
      R"({"metadata":{"name":"vip-192.168.0.7","namespace":"metallb-system","uid":"u","resourceVersion":"7","annotations":{"a":"b"}},"spec":{"holderIdentity":"h","leaseDurationSeconds":15,"leaseTransitions":2,"renewTime":"2026-01-01T00:00:00.000000Z"}})");
  const auto& value = *std::get<Read<ApiLease>>(lease.value);
  EXPECT_EQ(value.holder, "h");
  EXPECT_EQ(value.duration_s, 15U);
  EXPECT_EQ(value.transitions, 2U);
  EXPECT_EQ(value.renewed, "2026-01-01T00:00:00.000000Z");
  EXPECT_EQ(value.annotations.at("a"), "b");
  const auto status = read(
      ApiKind::l2_statuses,
      R"({"metadata":{"name":"l2-x","namespace":"metallb-system","resourceVersion":"7"},"status":{"node":"pi1","serviceName":"web","serviceNamespace":"shop","interfaces":[{"name":"eth0"}]}})");
  EXPECT_EQ(std::get<Read<ApiL2Status>>(status.value)->service.text(), "shop/web");
  EXPECT_EQ(std::get<Read<ApiL2Status>>(status.value)->interfaces, std::vector<std::string>{"eth0"});
  const auto unfinished = read(
      ApiKind::l2_statuses,
      R"({"metadata":{"name":"l2-x","namespace":"metallb-system","resourceVersion":"7","labels":{"metallb.io/node":"pi2","metallb.io/service-name":"web","metallb.io/service-namespace":"shop"}}})");
  EXPECT_EQ(std::get<Read<ApiL2Status>>(unfinished.value)->node, "pi2");
}

TEST(ApiKinds, Paths) {
  EXPECT_EQ(collection(ApiKind::services, "ours", ""), "/api/v1/services?");
  EXPECT_EQ(collection(ApiKind::pods, "ours", "pi1"), "/api/v1/pods?fieldSelector=spec.nodeName%3Dpi1&");
  EXPECT_EQ(collection(ApiKind::slices, "ours", "pi1"), "/apis/discovery.k8s.io/v1/endpointslices?");
  EXPECT_EQ(collection(ApiKind::pools, "ours", ""), "/apis/metallb.io/v1beta1/namespaces/ours/ipaddresspools?");
  EXPECT_EQ(collection(ApiKind::leases, "ours", ""), "/apis/coordination.k8s.io/v1/namespaces/ours/leases?");
}

// ---- together
// -------------------------------------------------------------------------------------------------------

Store listed_store() {
  Store store;
  for (std::size_t i = 0; i < kApiKinds; ++i) store.commit_listed(static_cast<ApiKind>(i));
  return store;
}

std::string pod(const std::string& name, const std::string& ns, const std::string& address, const std::string& labels,
                const std::string& more = "") {
  return R"({"metadata":{"name":")" + name + R"(","namespace":")" + ns + R"(","resourceVersion":"7","labels":{)" +
         labels + R"(}},"spec":{)" + more + R"("containers":[{}]},"status":{"phase":"Running","podIP":")" + address +
         R"(","podIPs":[{"ip":")" + address + R"("}]}})";
}

std::string policy(const std::string& ns, const std::string& selector) {
  return R"({"metadata":{"name":"p","namespace":")" + ns + R"(","resourceVersion":"7"},"spec":{"podSelector":)" +
         selector + R"(,"ingress":[{}]}})";
}

TEST(Store, PodsThatAPolicySelectsArePoliced) {
  Store store = listed_store();
  const auto put = [&](ApiKind kind, const std::string& json) { store.put(kind, read(kind, json)); };
  put(ApiKind::pods, pod("a", "shop", "10.42.0.1", R"("app":"web")"));
  put(ApiKind::pods, pod("b", "shop", "10.42.0.2", R"("app":"dns")"));
  put(ApiKind::pods, pod("c", "other", "10.42.0.3", R"("app":"web")"));
  put(ApiKind::pods, pod("d", "shop", "192.168.0.11", R"("app":"web")", R"("hostNetwork":true,)"));
  EXPECT_TRUE(store.state().policed->empty());
  put(ApiKind::policies, policy("shop", R"({"matchLabels":{"app":"web"}})"));
  const auto texts = [](const std::set<Address>& addresses) {
    std::vector<std::string> out;
    for (const Address& address : addresses) out.push_back(address.text());
    return out;
  };
  EXPECT_EQ(texts(store.state().policed), std::vector<std::string>{"10.42.0.1"});
  put(ApiKind::policies, policy("shop", "{}"));
  EXPECT_EQ(texts(store.state().policed), (std::vector<std::string>{"10.42.0.1", "10.42.0.2"}));
  put(ApiKind::policies, policy("shop", R"({"matchExpressions":[{"key":"a","operator":"New"}]})"));
  EXPECT_EQ(store.state().policed->size(), 2U) << "whom it means is not known: everybody";
  EXPECT_EQ(store.state().unreadable.size(), 1U);
  store.remove(ApiKind::policies, {"shop", "p"});
  EXPECT_TRUE(store.state().policed->empty());
  put(ApiKind::policies, policy("shop", "{}"));
  store.put(
      ApiKind::pods,
      read(
          ApiKind::pods,
          R"({"metadata":{"name":"a","namespace":"shop","resourceVersion":"8"},"status":{"phase":"Succeeded","podIP":"10.42.0.1"}})"));
  EXPECT_EQ(texts(store.state().policed), std::vector<std::string>{"10.42.0.2"}) << "its address is another's by now";
}

TEST(Store, OneBadObjectAffectsNothingElse) {
  Store store = listed_store();
  const auto put = [&](ApiKind kind, const std::string& json) { store.put(kind, read(kind, json)); };
  put(ApiKind::services, service("", ""));
  put(ApiKind::pools,
      R"({"metadata":{"name":"bad","namespace":"m","resourceVersion":"7"},"spec":{"addresses":["x"]}})");
  put(ApiKind::pools,
      R"({"metadata":{"name":"good","namespace":"m","resourceVersion":"7"},"spec":{"addresses":["10.0.0.0/24"]}})");
  const ApiState state = store.state();
  EXPECT_EQ(state.objects.services.size(), 1U);
  ASSERT_EQ(state.objects.pools.size(), 1U);
  EXPECT_EQ(state.objects.pools[0].name.name, "good");
  EXPECT_EQ(state.unreadable.size(), 1U);
  EXPECT_TRUE(
      state.unreadable[0].starts_with("IPAddressPool m/bad: spec.addresses[0]: invalid CIDR \"x\" in pool \"bad\""))
      << state.unreadable[0];
}

TEST(Store, SlicesOfOtherServicesAreKeptAside) {
  Store store = listed_store();
  const std::string slice =
      R"({"metadata":{"name":"web-1","namespace":"shop","resourceVersion":"7","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[],"ports":[]})";
  store.put(ApiKind::slices, read(ApiKind::slices, slice));
  store.put(
      ApiKind::slices,
      read(
          ApiKind::slices,
          R"({"metadata":{"name":"x","namespace":"shop","resourceVersion":"7","labels":{"kubernetes.io/service-name":"inner"}},"addressType":"FQDN"})"));
  ApiState state = store.state();
  EXPECT_TRUE(state.objects.slices.empty());
  EXPECT_TRUE(state.unreadable.empty()) << "what is wrong with them is nobody's concern here";
  store.put(ApiKind::services, read(ApiKind::services, service("", "")));
  state = store.state();
  EXPECT_EQ(state.objects.slices.size(), 1U);
}

std::string slice_json(const std::string& name, const std::string& owner, int endpoints) {
  std::string list;
  for (int i = 0; i < endpoints; ++i)
    list += std::string(i == 0 ? "" : ",") + R"({"addresses":["10.42.0.)" + std::to_string(i) + R"("]})";
  return R"({"metadata":{"name":")" + name + R"(","namespace":"shop","resourceVersion":"7","labels":{"kubernetes.io/service-name":")" +
         owner + R"("}},"addressType":"IPv4","endpoints":[)" + list + R"(],"ports":[]})";
}

TEST(Store, WhatHasNotChangedIsTheSameInTheNextState) {
  Store store = listed_store();
  const auto put = [&](ApiKind kind, const std::string& json) { store.put(kind, read(kind, json)); };
  put(ApiKind::services, service("", ""));
  put(ApiKind::slices, slice_json("web-1", "web", 1));
  put(ApiKind::slices, slice_json("web-2", "web", 1));
  const ApiState before = store.state();
  put(ApiKind::slices, slice_json("web-2", "web", 2));
  const ApiState after = store.state();
  EXPECT_TRUE(after.services.is(before.services));
  EXPECT_TRUE(after.leases.is(before.leases));
  EXPECT_EQ(after.objects.services.pointers(), before.objects.services.pointers());
  ASSERT_EQ(after.objects.slices.size(), 2U);
  EXPECT_EQ(after.objects.slices.pointers()[0], before.objects.slices.pointers()[0]);
  EXPECT_EQ(before.objects.slices[1].endpoints.size(), 1U) << "who holds the state before has it as it was";
  EXPECT_EQ(after.objects.slices[1].endpoints.size(), 2U);
  store.listed(ApiKind::slices, read(ApiKind::slices, slice_json("web-1", "web", 1)));
  store.listed(ApiKind::slices, read(ApiKind::slices, slice_json("web-2", "web", 1)));
  store.commit_listed(ApiKind::slices);
  EXPECT_EQ(store.state().objects.slices.pointers()[0], before.objects.slices.pointers()[0]) << "a list that says so again";
}

TEST(Store, WhatIsNobodysConcernMakesNoState) {
  Store store = listed_store();
  const auto put = [&](ApiKind kind, const std::string& json) { store.put(kind, read(kind, json)); };
  put(ApiKind::services, service("", ""));
  put(ApiKind::slices, slice_json("web-1", "web", 1));
  (void)store.state();
  put(ApiKind::slices, slice_json("inner-1", "inner", 1));
  put(ApiKind::slices, slice_json("inner-1", "inner", 2));
  put(ApiKind::pods, pod("a", "shop", "10.42.0.1", R"("app":"web")"));
  store.remove(ApiKind::slices, {"shop", "inner-1"});
  EXPECT_FALSE(store.changed());
  put(ApiKind::slices, slice_json("web-1", "inner", 1));
  EXPECT_TRUE(store.changed()) << "it was the Service's";
  EXPECT_TRUE(store.state().objects.slices.empty());
  put(ApiKind::policies, policy("shop", "{}"));
  EXPECT_EQ(store.state().policed->size(), 1U) << "pods of before count";
}

// Whatever way it came about: the same objects are the same state, and one that is not announced as another is none.
TEST(Store, IsWhatANewOneWouldBe) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::minstd_rand random(seed);
    const auto below = [&](unsigned limit) { return static_cast<int>(random() % limit); };
    const auto some = [&](ApiKind kind) -> std::string {
      const std::string digit = std::to_string(below(3));
      if (kind == ApiKind::slices) return slice_json("web-" + digit, below(2) == 0 ? "web" : "inner", below(3));
      if (kind == ApiKind::pods) return pod(digit, "shop", below(6) == 0 ? "x" : "10.42.0." + digit, below(2) == 0 ? R"("app":"web")" : "");
      if (kind == ApiKind::policies) return policy("shop", below(2) == 0 ? "{}" : R"({"matchLabels":{"app":"web"}})");
      return service("", "", below(2) == 0 ? R"({"loadBalancer":{"ingress":[{"ip":"192.168.0.200"}]}})" : "{}");
    };
    const ApiKind kinds[] = {ApiKind::services, ApiKind::slices, ApiKind::pods, ApiKind::policies};
    Store store = listed_store();
    std::map<ApiKind, std::map<ObjectName, std::string>> there;
    ApiState before = store.state();
    for (int step = 0; step < 150; ++step) {
      const ApiKind kind = kinds[below(4)];
      const std::string json = some(kind);
      const ObjectName name = read(kind, json).name;
      if (below(3) == 0) {
        store.remove(kind, name);
        there[kind].erase(name);
      } else if (below(4) == 0) {
        if (below(2) == 0) there[kind][name] = json;
        for (const auto& [other, text] : there[kind]) store.listed(kind, read(kind, text));
        store.commit_listed(kind);
      } else {
        store.put(kind, read(kind, json));
        there[kind][name] = json;
      }
      if (below(3) == 0) continue;
      const bool changed = store.changed();
      const ApiState now = store.state();
      Store fresh = listed_store();
      for (const auto& [kind_there, objects] : there)
        for (const auto& [object, text] : objects) fresh.put(kind_there, read(kind_there, text));
      ASSERT_TRUE(now == fresh.state()) << "seed " << seed << ", step " << step;
      ASSERT_TRUE(changed || now == before) << "seed " << seed << ", step " << step;
      before = now;
    }
  }
}

TEST(Store, ChangesOnlyWhenSomethingDoes) {
  Store store = listed_store();
  EXPECT_TRUE(store.changed());
  (void)store.state();
  store.put(ApiKind::services, read(ApiKind::services, service("", "")));
  EXPECT_TRUE(store.changed());
  (void)store.state();
  store.put(ApiKind::services, read(ApiKind::services, service("", "")));
  EXPECT_FALSE(store.changed());
  store.remove(ApiKind::services, {"shop", "none"});
  EXPECT_FALSE(store.changed());
  store.listed(ApiKind::services, read(ApiKind::services, service("", "")));
  store.commit_listed(ApiKind::services);
  EXPECT_FALSE(store.changed()) << "a list that says what was known";
  store.listed(ApiKind::services, read(ApiKind::services, service("", "")));
  store.forget_listed(ApiKind::services);
  store.commit_listed(ApiKind::services);
  EXPECT_TRUE(store.changed()) << "what is gone from a list is gone";
  EXPECT_TRUE(store.state().services->empty());
}

TEST(Store, IsWholeWhenEachKindIsKnown) {
  Store store;
  for (std::size_t i = 0; i < kApiKinds; ++i) {
    EXPECT_FALSE(store.whole());
    const auto kind = static_cast<ApiKind>(i);
    if (about(kind).custom) {
      store.absent(kind);
    } else {
      store.commit_listed(kind);
    }
  }
  EXPECT_TRUE(store.whole());
  EXPECT_FALSE(store.state().metallb_kinds);
  store.commit_listed(ApiKind::pools);
  EXPECT_TRUE(store.changed());
  EXPECT_TRUE(store.state().metallb_kinds);
}

}  // namespace
}  // namespace xlb
