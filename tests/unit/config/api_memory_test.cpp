// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/api_memory.hpp"

#include <unistd.h>

#include <filesystem>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;

ApiFacts facts() {
  ApiFacts facts;
  facts.objects.pools = {test::pool("home", {"192.168.0.200-192.168.0.250"})};
  L2Advertisement advertisement;
  advertisement.name.name = "home";
  advertisement.pools = {"home"};
  facts.objects.advertisements = {advertisement};
  facts.objects.services = {test::service("web"), test::service("waits")};
  EndpointSlice slice = test::slice("web", {{"", Protocol::tcp, 8000}}, {test::endpoint("10.42.0.8"), test::endpoint("192.168.0.11")});
  slice.endpoints[0].node = slice.endpoints[1].node = "pi1";
  facts.objects.slices = {slice};
  Node node;
  node.name = "pi1";
  node.addresses = {address("192.168.0.11")};
  facts.objects.nodes = {node};
  facts.objects.namespaces.own()["shop"] = {{"team", "a"}};
  facts.given.own()[{"default", "web"}] = {{address("192.168.0.200")}, "home"};
  facts.given.own()[{"default", "waits"}] = {};
  facts.waiting[{"default", "waits"}] = "had no address when the API server was last heard";
  facts.policed.own() = {address("10.42.0.8")};
  facts.taken_over = {{address("192.168.0.200"), {true, "", false}}, {address("fd00::200"), {false, "", false}}};
  return facts;
}

TEST(ApiMemoryTest, TheSameBootReadsWhatWasWritten) {
  auto read = decode_api_memory(encode_api_memory(facts(), "boot-1"), "boot-1");
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(*read, facts());
}

TEST(ApiMemoryTest, AfterARebootPodsWaitAndNodesDoNot) {
  for (const std::string boot : {"boot-2", ""}) {
    auto read = decode_api_memory(encode_api_memory(facts(), boot.empty() ? "" : "boot-1"), boot);
    ASSERT_TRUE(read);
    ASSERT_EQ(read->objects.slices.size(), 1u);
    ASSERT_EQ(read->objects.slices[0].endpoints.size(), 1u);
    EXPECT_EQ(read->objects.slices[0].endpoints[0].addresses[0], address("192.168.0.11"));
    EXPECT_EQ(read->given, facts().given) << "VIPs stay";
  }
}

TEST(ApiMemoryTest, DamageIsFoundWhereverItIs) {
  const std::string text = encode_api_memory(facts(), "boot-1");
  for (std::size_t at = 0; at < text.size(); at += 7) {
    EXPECT_FALSE(decode_api_memory(std::string_view(text).substr(0, at), "boot-1"));
    std::string bent = text;
    bent[at] = bent[at] == 'x' ? 'y' : 'x';
    auto read = decode_api_memory(bent, "boot-1");
    if (read) { EXPECT_EQ(*read, facts()) << "a blank of JSON, perhaps"; }
  }
}

TEST(ApiMemoryTest, OnDiskAndForgotten) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("xlb-api-memory-" + std::to_string(getpid()));
  const auto file = folder / "api.json";
  auto none = read_api_memory(file, "b");
  ASSERT_TRUE(none) << none.error().text;
  EXPECT_FALSE(*none);
  ASSERT_TRUE(write_api_memory(file, facts(), "b"));
  EXPECT_EQ(std::filesystem::status(file).permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  auto read = read_api_memory(file, "b");
  ASSERT_TRUE(read && *read);
  EXPECT_EQ(**read, facts());
  ASSERT_TRUE(forget_api_memory(file));
  ASSERT_TRUE(forget_api_memory(file));
  EXPECT_FALSE(*read_api_memory(file, "b"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace xlb
