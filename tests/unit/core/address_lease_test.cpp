// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/address_lease.hpp"

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;

TEST(AddressLeaseTest, NamesAreOnesThatAServerTakes) {
  EXPECT_EQ(address_lease_name(address("192.168.0.200")), "vip-192.168.0.200");
  EXPECT_EQ(address_lease_name(address("fd00::200")), "vip-fd00-0-0-0-0-0-0-200");
  EXPECT_EQ(address_lease_name(address("fd00::")), "vip-fd00-0-0-0-0-0-0-0");
  for (const char* text : {"192.168.0.200", "0.0.0.1", "fd00::200", "fd00::", "::1", "1:2:3:4:5:6:7:8"})
    EXPECT_EQ(address_of_lease_name(address_lease_name(address(text))), address(text)) << text;
}

TEST(AddressLeaseTest, OtherNamesAreAboutSomethingElse) {
  for (const char* name : {"", "vip-", "vip", "xdp-lb-allocator", "vip-192.168.0", "vip-192.168.0.0200", "vip-fd00--200", "vip-x"})
    EXPECT_FALSE(address_of_lease_name(name)) << name;
}

TEST(AddressLeaseTest, WhatIsWrittenIsRead) {
  const AddressLease lease{address("fd00::200"), {{"u-1", {"shop", "web"}}, {"u-2", {"kube-system", "traefik"}}}, false, {}};
  auto read = read_address_lease("vip-fd00-0-0-0-0-0-0-200", address_lease_object(lease));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(*read, lease);
  EXPECT_TRUE(read->serves("u-2"));
  EXPECT_FALSE(read->serves("u-3"));
  EXPECT_FALSE(read->taken_over);
}

TEST(AddressLeaseTest, ThatItWasTakenOverIsWrittenAndRead) {
  AddressLease lease{address("192.168.0.200"), {{"u-1", {"shop", "web"}}}, true, {}};
  ApiLease object = address_lease_object(lease);
  auto read = read_address_lease("vip-192.168.0.200", object);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(*read, lease);
  object.annotations[kTakenOverByAnnotation] = "pi2";
  lease.taken_over = false;
  const std::map<std::string, ApiLease> leases{{"vip-192.168.0.200", object},
                                               {"vip-192.168.0.201", address_lease_object(lease)},
                                               {"xdp-lb-allocator", object}};
  using Taken = std::map<Address, TakenOver>;
  EXPECT_EQ(taken_over(leases, true), (Taken{{address("192.168.0.200"), {true, "pi2", true}}}));
  EXPECT_EQ(taken_over(leases, false), (Taken{{address("192.168.0.200"), {false, "", false}}}));
  object.annotations[kAnnouncedByAnnotation] = "pi2";
  EXPECT_EQ(taken_over({{"vip-192.168.0.200", object}}, true), (Taken{{address("192.168.0.200"), {true, "pi2", false}}})) << "others may follow";
}

TEST(AddressLeaseTest, WhatIsNotOursIsRefusedWithTheReason) {
  const ApiLease good = address_lease_object({address("192.168.0.200"), {{"u-1", {"shop", "web"}}}, false, {}});
  const auto why = [](const std::string& name, const ApiLease& lease) {
    auto read = read_address_lease(name, lease);
    return read ? std::string("read") : read.error().text;
  };
  EXPECT_EQ(why("vip-192.168.0.200", good), "read");
  EXPECT_NE(why("vip-192.168.0.201", good).find("named for another address"), std::string::npos);
  for (const char* services : {"", ",", "u-1", "u-1 shop", "u-1 shop/", " shop/web", "u-1 /web", "u-1 shop/web,", "u-9 shop/web"}) {
    ApiLease bad = good;
    bad.annotations[kServicesAnnotation] = services;
    const std::string said = why("vip-192.168.0.200", bad);
    EXPECT_TRUE(said.starts_with("Lease vip-192.168.0.200: ") || (said == "read" && std::string(services) == "u-1 shop/web,")) << services << said;
  }
}

}  // namespace
}  // namespace xlb
