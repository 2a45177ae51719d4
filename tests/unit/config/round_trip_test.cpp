// SPDX-License-Identifier: Apache-2.0
// parse(to_yaml(x)) == x, for objects drawn at random from everything that a valid one may hold.
#include <algorithm>
#include <random>

#include "tests/unit/config/refusal.hpp"

namespace xlb {
namespace {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  bool coin() { return below(2) == 0; }
  std::string word() {
    static const std::vector<std::string> words = {"home", "a",   "x-1",  "0",       "7",       "true", "no",
                                                   "null", "1e3", "0x1f", "on-call", "web.lan", "80"};
    return words[below(words.size())];
  }
  std::string value() {
    static const std::vector<std::string> values = {"",  "a",   "yes", "12", "~",  "a: b", "- x", "#", "\"", "'",
                                                    "é", "a b", " a ", "\n", "\t", "{}",   "%",   "@", "*a", "!"};
    return values[below(values.size())];
  }
  std::string key() {
    static const std::vector<std::string> keys = {"app", "example.org/x", "1", "true", "a.b/c-d", "on"};
    return keys[below(keys.size())];
  }
  Labels labels() {
    Labels labels;
    for (std::size_t n = below(3); n > 0; --n) labels[key()] = value();
    return labels;
  }
  ObjectName name() {
    return {coin() ? "default" : "ns-" + std::to_string(below(9)),
            "n" + std::to_string(random_() % 100000) + (coin() ? "" : ".x")};
  }
  Address address(Family family) {
    if (family == Family::ipv4) {
      return Address::from_ipv4({static_cast<std::uint8_t>(1 + below(126)), byte(), byte(), byte()});
    }
    Address address;
    address.bytes[0] = 0xfd;
    for (std::size_t i = 1; i < 16; ++i) address.bytes[i] = coin() ? byte() : 0;
    return address;
  }
  Family family() { return coin() ? Family::ipv4 : Family::ipv6; }
  LabelSelector selector() {
    using Operator = LabelRequirement::Operator;
    LabelSelector selector;
    for (std::size_t n = below(4); n > 0; --n) {
      LabelRequirement requirement{key() + std::to_string(n), static_cast<Operator>(below(4)), {}};
      const bool values = requirement.op == Operator::in || requirement.op == Operator::not_in;
      for (std::size_t m = values ? 1 + below(3) : 0; m > 0; --m)
        requirement.values.push_back(value() + std::to_string(m));
      selector.requirements.push_back(requirement);
    }
    return selector;
  }
  std::vector<LabelSelector> selectors() {
    std::vector<LabelSelector> out;
    for (std::size_t n = below(3); n > 0; --n) {
      LabelSelector drawn = selector();
      if (std::find(out.begin(), out.end(), drawn) == out.end()) out.push_back(std::move(drawn));
    }
    return out;
  }

  Pool pool() {
    Pool pool;
    pool.name = name();
    pool.labels = labels();
    for (std::size_t n = 1 + below(4); n > 0; --n) {  // each in a block of its own: ranges must not overlap
      const Family of = family();
      const bool ipv4 = of == Family::ipv4;
      Address first = address(of);
      Address last = address(of);
      first.bytes[ipv4 ? 12 : 1] = static_cast<std::uint8_t>(n);
      last.bytes[ipv4 ? 12 : 1] = static_cast<std::uint8_t>(n);
      if (last < first) std::swap(first, last);
      AddressRange range{first, last, first.text() + (coin() ? "-" : " - ") + last.text()};
      if (coin()) {
        const auto prefix = parse_prefix(first.text() + "/" + std::to_string(ipv4 ? 8 + below(25) : 16 + below(113)));
        range = {prefix->first(), prefix->last(), prefix->text()};
      }
      pool.ranges.push_back(range);
    }
    pool.auto_assign = coin();
    pool.avoid_buggy_ips = coin();
    if (coin()) {
      pool.allocation = ServiceAllocation{static_cast<std::uint32_t>(below(100)), {}, selectors(), selectors()};
      if (coin()) pool.allocation->namespaces = {word(), "z"};
    }
    return pool;
  }
  L2Advertisement advertisement() {
    L2Advertisement out;
    out.name = name();
    if (coin()) out.pools = {"a", word() + "-pool"};
    out.pool_selectors = selectors();
    out.node_selectors = selectors();
    out.service_selectors = selectors();
    for (std::size_t n = below(3); n > 0; --n)
      out.preferred_nodes.push_back({static_cast<std::int32_t>(1 + below(100)), selector()});
    if (coin()) out.interfaces = {"eth0", word()};
    return out;
  }
  Service service() {
    Service out;
    out.name = name();
    out.labels = labels();
    out.type = coin() ? "LoadBalancer" : "NodePort";
    if (coin()) out.load_balancer_class = "xdp-lb.io/" + word();
    for (std::size_t n = 1 + below(3); n > 0; --n) {
      ServicePort port{"p" + std::to_string(n), coin() ? Protocol::tcp : Protocol::udp,
                       static_cast<std::uint16_t>(n * 1000 + below(1000)), ""};
      if (coin()) port.target = coin() ? std::to_string(1 + below(65535)) : "web-" + std::to_string(n);
      out.ports.push_back(port);
    }
    out.selector = labels();
    if (coin()) out.requested.push_back(address(Family::ipv4));
    if (coin()) out.requested.push_back(address(Family::ipv6));
    if (coin()) out.pool = word();
    if (coin()) out.sharing_key = "k" + value();
    out.family_policy = static_cast<FamilyPolicy>(below(3));
    if (coin()) out.families.push_back(Family::ipv6);
    if (coin() && (out.families.empty() || out.family_policy != FamilyPolicy::single))
      out.families.push_back(Family::ipv4);
    out.policy = coin() ? TrafficPolicy::cluster : TrafficPolicy::local;
    if (coin()) out.affinity_s = static_cast<std::uint32_t>(1 + below(86400));
    for (std::size_t n = below(3); n > 0; --n) {
      out.source_ranges.push_back(*parse_prefix(address(family()).text() + "/" + std::to_string(below(33))));
    }
    out.path = static_cast<Path>(below(3));
    out.unknown_ports = static_cast<UnknownPorts>(below(3));
    constexpr std::array<const char*, 4> checks = {"tcp", "tcp:8080", "http:/ready", "http:9000/a?b=c:204"};
    if (below(2) == 0) out.health = *parse_health_check(checks[below(4)]);
    out.publish_not_ready = coin();
    if (coin()) out.health_check_port = static_cast<std::uint16_t>(1 + below(65535));
    return out;
  }
  EndpointSlice slice() {
    EndpointSlice out;
    out.name = name();
    if (coin()) out.service = word();
    for (std::size_t n = below(3); n > 0; --n) {
      out.ports.push_back({coin() ? "" : word(), coin() ? Protocol::tcp : Protocol::udp,
                           static_cast<std::uint16_t>(1 + below(65535))});
    }
    const Family of = family();
    for (std::size_t n = below(4); n > 0; --n) {
      Endpoint endpoint{{address(of)}, coin(), coin(), coin(), coin() ? "" : word()};
      if (coin()) endpoint.addresses.push_back(address(of));
      out.endpoints.push_back(endpoint);
    }
    return out;
  }
  Node node() {
    Node out{"n" + std::to_string(below(1000)), labels(), {}, coin()};
    for (std::size_t n = below(3); n > 0; --n) out.addresses.push_back(address(family()));
    return out;
  }

 private:
  std::uint8_t byte() { return static_cast<std::uint8_t>(below(256)); }
  std::mt19937_64 random_;
};

template <typename T, typename List>
void expect_same(const T& value, const List& read, const std::string& yaml) {
  ASSERT_EQ(read.size(), 1U) << yaml;
  ASSERT_TRUE(read[0] == value) << yaml << "\nread, it is written as\n" << to_yaml(read[0]);
}

TEST(RoundTrip, EveryObjectReadsAsItWas) {
  Draw draw(20'260'101);
  for (int round = 0; round < 3000 && !::testing::Test::HasFatalFailure(); ++round) {
    const Pool pool = draw.pool();
    expect_same(pool, accepted(to_yaml(pool)).objects.pools, to_yaml(pool));
    const L2Advertisement advertisement = draw.advertisement();
    expect_same(advertisement, accepted(to_yaml(advertisement)).objects.advertisements, to_yaml(advertisement));
    const Service service = draw.service();
    expect_same(service, accepted(to_yaml(service)).objects.services, to_yaml(service));
    const EndpointSlice slice = draw.slice();
    expect_same(slice, accepted(to_yaml(slice)).objects.slices, to_yaml(slice));
    const Node node = draw.node();
    expect_same(node, accepted(to_yaml(node)).objects.nodes, to_yaml(node));
  }
}

TEST(RoundTrip, APoolIsWrittenAsTheTutorialWritesIt) {
  Pool pool;
  pool.name = {"metallb-system", "home"};
  pool.ranges = {{*parse_address("192.168.0.200"), *parse_address("192.168.0.250"), "192.168.0.200-192.168.0.250"}};
  EXPECT_EQ(
      to_yaml(pool),
      "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: home\n  namespace: metallb-system\n"
      "spec:\n  addresses:\n  - 192.168.0.200-192.168.0.250\n");
}

}  // namespace
}  // namespace xlb
