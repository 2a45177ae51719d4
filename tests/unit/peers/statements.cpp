// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/peers/statements.hpp"

#include <set>

namespace xlb::test {

namespace {

Address random_address(std::mt19937_64& random) {
  Address address;
  for (std::uint8_t& byte : address.bytes) byte = static_cast<std::uint8_t>(random());
  if (random() % 2 == 0) return address;
  return Address::from_ipv4({address.bytes[0], address.bytes[1], address.bytes[2], address.bytes[3]});
}

std::string random_name(std::mt19937_64& random, std::size_t longest) {
  std::string name(1 + random() % longest, ' ');
  for (char& c : name) c = static_cast<char>(0x21 + random() % 0x5e);
  return name;
}

VipStatement random_vip(std::mt19937_64& random, const Address& address) {
  VipStatement vip;
  vip.vip = address;
  vip.eligible = random() % 2 == 0;
  if (random() % 2 == 0) vip.obstacle = "no healthy backend \xc3\xa4 " + std::to_string(random() % 4);
  vip.rank.preference = static_cast<std::int32_t>(random());
  for (std::uint8_t& byte : vip.rank.digest) byte = static_cast<std::uint8_t>(random());
  vip.epoch = random();
  if (random() % 4 == 0) vip.handing_to = "pi" + std::to_string(random() % 3);
  return vip;
}

}  // namespace

Address address(const std::string& text) {
  auto parsed = parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

Statement some_statement() {
  Statement statement;
  statement.node = "pi1";
  statement.incarnation = 7;
  statement.sequence = 100;
  statement.version = "0.1.0";
  statement.addresses = {address("192.168.0.11"), address("fd00::11")};
  statement.mac.bytes = {2, 0, 0, 0, 0, 1};
  statement.listening = true;
  statement.hears = {"pi2", "pi3"};
  statement.configuration = 0x0123456789abcdef;
  VipStatement free;
  free.vip = address("192.168.0.200");
  free.eligible = true;
  free.rank.preference = -5;
  free.rank.digest.fill(0xab);
  VipStatement claimed = free;
  claimed.vip = address("192.168.0.201");
  claimed.epoch = 41;
  claimed.handing_to = "pi2";
  VipStatement barred = free;
  barred.vip = address("fd00::200");
  barred.eligible = false;
  barred.obstacle = "no L2Advertisement of its pool matches this node";
  // In the order of the addresses' bytes, in which IPv4 (::ffff:…) comes first.
  statement.vips = {free, claimed, barred};
  return statement;
}

Statement random_statement(std::mt19937_64& random, std::size_t most_vips) {
  Statement statement;
  statement.node = random_name(random, kStatedName);
  statement.incarnation = random();
  statement.sequence = random();
  statement.version = random_name(random, 20);
  for (std::size_t i = random() % (kStatedAddresses + 1); i > 0; --i)
    statement.addresses.push_back(random_address(random));
  for (std::uint8_t& byte : statement.mac.bytes) byte = static_cast<std::uint8_t>(random());
  statement.draining = random() % 2 == 0;
  statement.listening = random() % 2 == 0;
  statement.deaf = random() % 2 == 0;
  for (std::size_t i = random() % 5; i > 0; --i) statement.hears.push_back(random_name(random, kStatedName));
  statement.configuration = random();
  std::set<Address> vips;
  for (std::size_t i = most_vips == 0 ? 0 : random() % (most_vips + 1); i > 0; --i)
    vips.insert(random_address(random));
  for (const Address& vip : vips) statement.vips.push_back(random_vip(random, vip));
  return statement;
}

Statement largest_statement() {
  Statement statement = some_statement();
  statement.node = std::string(kStatedName, 'n');
  statement.hears.assign(kStatedPeers, std::string(kStatedName, 'p'));
  statement.addresses.assign(kStatedAddresses, address("fd00::11"));
  statement.vips.clear();
  Address vip = address("fd00::1:0");
  for (std::size_t i = 0; i < kStatedVips; ++i, vip = vip.next()) {
    VipStatement stated;
    stated.vip = vip;
    stated.obstacle = std::to_string(i);
    stated.obstacle.resize(kStatedObstacle, 'o');
    stated.handing_to = "node" + std::to_string(i % kStatedPeers);
    stated.handing_to.resize(kStatedName, 'x');
    statement.vips.push_back(stated);
  }
  return statement;
}

ClusterKey key(std::uint8_t fill) {
  ClusterKey key;
  key.bytes.fill(fill);
  return key;
}

Seal seal(std::uint8_t fill) {
  return Seal(key(fill));
}

Assembly assembly(const std::string& own_name, std::optional<Seal> seal) {
  return {own_name, std::move(seal)};
}

}  // namespace xlb::test
