// SPDX-License-Identifier: Apache-2.0
// Short spellings of the model for the tests of the core.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "userspace/core/model.hpp"

namespace xlb::test {

inline Address address(const std::string& text) {
  auto parsed = parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Address{};
}

inline Prefix prefix(const std::string& text) {
  auto parsed = parse_prefix(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : Prefix{};
}

// "a-b" or "a/len".
inline AddressRange range(const std::string& text) {
  const std::size_t dash = text.find('-');
  if (dash != std::string::npos) return {address(text.substr(0, dash)), address(text.substr(dash + 1)), text};
  const Prefix cidr = prefix(text);
  return {cidr.first(), cidr.last(), text};
}

inline Pool pool(const std::string& name, const std::vector<std::string>& ranges) {
  Pool pool;
  pool.name.name = name;
  for (const std::string& text : ranges) pool.ranges.push_back(range(text));
  return pool;
}

inline ServicePort tcp(std::uint16_t port, std::string target = {}, std::string name = {}) {
  return {std::move(name), Protocol::tcp, port, std::move(target)};
}
inline ServicePort udp(std::uint16_t port, std::string target = {}, std::string name = {}) {
  return {std::move(name), Protocol::udp, port, std::move(target)};
}

inline Service service(const std::string& name, std::vector<ServicePort> ports = {tcp(80)}) {
  Service service;
  service.name.name = name;
  service.ports = std::move(ports);
  return service;
}

inline Endpoint endpoint(const std::string& text) {
  Endpoint endpoint;
  endpoint.addresses = {address(text)};
  return endpoint;
}

inline EndpointSlice slice(const std::string& service, std::vector<EndpointPort> ports,
                           const std::vector<Endpoint>& endpoints) {
  EndpointSlice slice;
  slice.name.name = service + "-1";
  slice.service = service;
  slice.ports = std::move(ports);
  slice.endpoints = endpoints;
  return slice;
}

inline Place pod(std::uint32_t veth) {
  Place place;
  place.kind = Place::Kind::pod;
  place.veth_ifindex = veth;
  place.veth_name = "veth" + std::to_string(veth);
  return place;
}

inline Place host() {
  Place place;
  place.kind = Place::Kind::host;
  return place;
}

// The same numbers in every run; a failure names the seed.
using Random = std::mt19937;
inline std::uint32_t below(Random& random, std::uint32_t limit) {
  return static_cast<std::uint32_t>(random()) % limit;
}
inline bool chance(Random& random, std::uint32_t percent) {
  return below(random, 100) < percent;
}

}  // namespace xlb::test
