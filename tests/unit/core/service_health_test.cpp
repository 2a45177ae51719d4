// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/service_health.hpp"

#include <gtest/gtest.h>

namespace xlb {
namespace {

Address address(const char* text) { return *parse_address(text); }

class ServiceHealthTest : public testing::Test {
 protected:
  ServiceHealthTest() {
    Service service;
    service.name = {"shop", "web"};
    service.policy = TrafficPolicy::local;
    service.health_check_port = 31000;
    service.ports = {{"http", Protocol::tcp, 80, ""}};
    objects_.services = {service};
    add("10.42.0.8", "pi1");
  }
  Service& web() { return objects_.services.own(0); }
  Endpoint& add(const char* at, const char* node) {
    EndpointSlice slice;
    slice.name = {"shop", "web-" + std::to_string(objects_.slices.size())};
    slice.service = "web";
    slice.ports = {{"http", Protocol::tcp, 8000}};
    slice.endpoints.push_back({{address(at)}, true, true, false, node});
    objects_.slices.push_back(slice);
    return objects_.slices.own(objects_.slices.size() - 1).endpoints.front();
  }
  [[nodiscard]] std::size_t counted() const {
    const auto all = service_health(objects_, "pi1", ill_);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? 99 : all.front().local_endpoints;
  }

  Objects objects_;
  std::map<HealthTarget, std::string> ill_;
};

TEST_F(ServiceHealthTest, ReadyEndpointsOfThisNodeEachOnce) {
  EXPECT_EQ(service_health(objects_, "pi1", {}), (std::vector<ServiceHealth>{{{"shop", "web"}, 31000, 1}}));
  EXPECT_EQ(service_health(objects_, "pi2", {}), (std::vector<ServiceHealth>{{{"shop", "web"}, 31000, 0}}));
  add("10.42.0.8", "pi1");  // with another port
  EXPECT_EQ(counted(), 1u);
  add("10.42.1.8", "pi2");
  EXPECT_EQ(counted(), 1u);
  add("10.42.0.9", "pi1").ready = false;
  EXPECT_EQ(counted(), 1u);
  add("10.42.0.10", "");
  EXPECT_EQ(counted(), 2u) << "without a node it is here";
  objects_.slices.own(0).endpoints.front() = {{address("10.42.0.8")}, false, true, true, "pi1"};
  objects_.slices.own(1).endpoints.clear();
  EXPECT_EQ(counted(), 1u) << "one that is terminating still serves, and is not advertised";
}

TEST_F(ServiceHealthTest, BothFamiliesOfAPodAreOne) {
  add("fd00:42::8", "pi1");
  EXPECT_EQ(counted(), 1u);
  add("fd00:42::9", "pi1");
  EXPECT_EQ(counted(), 2u);
}

TEST_F(ServiceHealthTest, WhoIsIllDoesNotCountButWithAllItsPorts) {
  Service& service = web();
  service.health = *parse_health_check("tcp");
  ill_[health_target(*service.health, address("10.42.0.8"), 8000)] = "refused";
  EXPECT_EQ(counted(), 0u);
  objects_.slices.own(0).ports.push_back({"https", Protocol::tcp, 8443});
  EXPECT_EQ(counted(), 1u);
  service.health.reset();
  EXPECT_EQ(counted(), 1u);
}

TEST_F(ServiceHealthTest, NobodyAsksForOthers) {
  const auto none = [&](auto change) {
    Objects changed = objects_;
    change(changed.services.own(0));
    return service_health(changed, "pi1", {}).empty();
  };
  EXPECT_FALSE(none([](Service&) {}));
  EXPECT_TRUE(none([](Service& service) { service.health_check_port = 0; }));
  EXPECT_TRUE(none([](Service& service) { service.policy = TrafficPolicy::cluster; }));
  EXPECT_TRUE(none([](Service& service) { service.type = "ClusterIP"; }));
  EXPECT_TRUE(none([](Service& service) { service.load_balancer_class = "example.com/other"; }));
}

}  // namespace
}  // namespace xlb
