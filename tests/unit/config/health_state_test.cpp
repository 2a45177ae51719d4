// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/health_state.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/config/temporary_folder.hpp"

namespace xlb {
namespace {

TEST(HealthState, IsReadAsItWasWritten) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "health.json";
  EXPECT_TRUE(read_health(file)->empty());
  IllBackends ill;
  ill[health_target(*parse_health_check("tcp"), *parse_address("10.42.0.8"), 8000)] = "connection refused";
  ill[health_target(*parse_health_check("http:9000/x:204"), *parse_address("fd00::1"), 8000)] = "answered 500, not 204";
  ASSERT_TRUE(write_health(file, ill));
  const auto read = read_health(file);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(*read, ill);
}

TEST(HealthState, DamageIsSaid) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "health.json";
  for (const char* damage : {"", "{", R"({"version":1,"checksum":"00000000","content":{}})"}) {
    std::ofstream(file) << damage;
    const auto read = read_health(file);
    ASSERT_FALSE(read) << damage;
    EXPECT_NE(read.error().text.find("health.json"), std::string::npos) << read.error().text;
  }
}

}  // namespace
}  // namespace xlb
