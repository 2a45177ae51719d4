// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/command.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "userspace/cli/service_arguments.hpp"
#include "userspace/cli/tree.hpp"

namespace xlb {
namespace {

TEST(CommandTest, Durations) {
  EXPECT_EQ(parse_duration("30s")->count(), 30'000);
  EXPECT_EQ(parse_duration("30")->count(), 30'000);
  EXPECT_EQ(parse_duration("2m")->count(), 120'000);
  EXPECT_EQ(parse_duration("500ms")->count(), 500);
  EXPECT_EQ(parse_duration("24h")->count(), 86'400'000);
  for (const char* wrong : {"", "s", "0s", "-3s", "3 s", "3d", "25h", "9999999999", "1e3"}) EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

TEST(CommandTest, Ports) {
  EXPECT_EQ(parse_port("80")->target, 80);
  EXPECT_EQ(parse_port("80:8000")->target, 8000);
  EXPECT_EQ(parse_port("443:8443/tcp")->protocol, Protocol::tcp);
  EXPECT_EQ(parse_port("53/udp")->protocol, Protocol::udp);
  EXPECT_EQ(parse_port("65535")->port, 65535);
  for (const char* wrong : {"", "0", "70000", "80:", ":80", "80:0", "80:70000", "80/sctp", "80/", "http", "-1", "80:80:80", " 80"}) {
    auto port = parse_port(wrong);
    ASSERT_FALSE(port) << wrong;
    EXPECT_NE(port.error().text.find("1 to 65535"), std::string::npos);
  }
}

TEST(CommandTest, ServiceAddMakesAServiceAndASliceAFamily) {
  ServiceArguments arguments;
  arguments.name = "web";
  arguments.ports = {"80:8000", "443:8443"};
  arguments.backends = {"10.42.0.8", "10.42.0.9@pi2", "fd00::8"};
  arguments.affinity = "600";
  arguments.health = "http:/ready";
  arguments.sources = {"192.168.0.0/24"};
  auto made = service_manifests(arguments);
  ASSERT_TRUE(made) << made.error().text;
  EXPECT_EQ(made->service.affinity_s, 600u);
  EXPECT_EQ(made->service.family_policy, FamilyPolicy::prefer_dual);
  ASSERT_EQ(made->slices.size(), 2u);
  EXPECT_EQ(made->slices[0].endpoints.size(), 2u);
  EXPECT_EQ(made->slices[0].endpoints[1].node, "pi2");
  EXPECT_EQ(made->slices[1].endpoints[0].addresses[0].text(), "fd00::8");
  // What it writes is what the parser of manifests reads.
  std::string yaml = to_yaml(made->service);
  for (const EndpointSlice& slice : made->slices) yaml += "---\n" + to_yaml(slice);
  auto parsed = parse_manifests(yaml, "made");
  ASSERT_TRUE(parsed) << parsed.error().text << "\n" << yaml;
  ASSERT_EQ(parsed->objects.services.size(), 1u);
  EXPECT_EQ(parsed->objects.services[0].ports.size(), 2u);
  EXPECT_EQ(parsed->objects.services[0].affinity_s, 600u);
  EXPECT_EQ(parsed->objects.services[0].health, *parse_health_check("http:/ready"));
  EXPECT_EQ(parsed->objects.services[0].source_ranges.size(), 1u);
  EXPECT_EQ(parsed->objects.slices.size(), 2u);
}

TEST(CommandTest, ServiceAddRefusesWithTheOptionsName) {
  const auto refusal = [](auto change) {
    ServiceArguments arguments;
    arguments.name = "web";
    arguments.ports = {"80"};
    arguments.backends = {"10.42.0.8"};
    change(arguments);
    auto made = service_manifests(arguments);
    return made ? std::string() : made.error().text;
  };
  EXPECT_EQ(refusal([](ServiceArguments&) {}), "");
  EXPECT_NE(refusal([](ServiceArguments& a) { a.backends = {"10.42.0"}; }).find("--backend"), std::string::npos);
  EXPECT_NE(refusal([](ServiceArguments& a) { a.backends = {"10.42.0.8@"}; }).find("--backend"), std::string::npos);
  EXPECT_NE(refusal([](ServiceArguments& a) { a.vips = {"x"}; }).find("--vip"), std::string::npos);
  EXPECT_NE(refusal([](ServiceArguments& a) { a.sources = {"10.0.0.0/33"}; }).find("--source"), std::string::npos);
  EXPECT_NE(refusal([](ServiceArguments& a) { a.affinity = "0"; }).find("--affinity"), std::string::npos);
  EXPECT_NE(refusal([](ServiceArguments& a) { a.health = "udp"; }).find("--health"), std::string::npos);
}

class TreeTest : public testing::Test {
 protected:
  TreeTest() : app_("test", "xdp-lb") { build_commands(app_, context_); }
  // Exit of the parser for these words; the action is not run.
  bool parses(std::vector<std::string> words) {
    std::reverse(words.begin(), words.end());
    try {
      app_.parse(words);
    } catch (const CLI::ParseError&) {
      return false;
    }
    return static_cast<bool>(context_.action);
  }
  Context context_;
  CLI::App app_;
};

TEST_F(TreeTest, TheWordsOfTheCommandLine) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"attach", "eth0", "--mode", "generic", "--try", "30s"},
           {"detach", "--all"},
           {"detach", "eth0"},
           {"upgrade"},
           {"run", "--log-level", "debug"},
           {"--node", "pi2", "--config-dir", "/x", "run"},
           {"apply", "-f", "a.yaml", "b.yaml"},
           {"apply", "-f", "a.yaml", "-f", "-"},
           {"delete", "-f", "a.yaml"},
           {"check", "-f", "a.yaml"},
           {"pool", "add", "home", "192.168.0.200-192.168.0.250", "fd00::/120"},
           {"pool", "rm", "home"},
           {"pool", "ls", "-o", "json"},
           {"pool", "show", "home", "--pin-dir", "/p"},
           {"service", "add", "web", "--port", "80:8000", "--port", "443:8443/tcp", "--backend", "10.42.0.8", "--backend", "10.42.0.9@b", "--vip", "192.168.0.201"},
           {"service", "rm", "web"},
           {"service", "ls"},
           {"service", "show", "web", "-n", "kube-system", "-o", "yaml"},
           {"peer", "add", "pi2", "192.168.0.12"},
           {"peer", "add", "pi2", "192.168.0.12", "fd00::12"},
           {"peer", "rm", "pi2"},
           {"peer", "ls", "-o", "yaml"},
           {"peer", "key"},
           {"peer", "key", "--import", "-", "--replace"},
           {"why", "192.168.0.200", "-o", "json"},
           {"why", "web", "-n", "kube-system"},
           {"drain", "--timeout", "2m"},
           {"undrain"},
           {"status", "-o", "wide"},
           {"stats", "--watch"},
           {"flows", "--vip", "192.168.0.200"},
           {"trace", "--vip", "192.168.0.200", "--client", "192.168.0.9", "--every", "10"},
           {"completion", "fish"},
           {"version"}}) {
    EXPECT_TRUE(parses(words)) << words[0] << " " << (words.size() > 1 ? words[1] : "");
    context_.action = nullptr;
  }
}

TEST_F(TreeTest, WrongUsage) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {}, {"fly"}, {"attach"}, {"attach", "eth0", "--mode", "fast"}, {"pool"}, {"pool", "add", "home"}, {"apply"},
           {"status", "-o", "xml"}, {"peer"}, {"peer", "add", "pi2"}, {"peer", "key", "--import"}, {"why"}, {"drain", "now"}, {"service", "add", "web", "--port", "80"}, {"service", "add", "web", "--backend", "10.42.0.8"}})
    EXPECT_FALSE(parses(words)) << (words.empty() ? "" : words[0]);
}

TEST_F(TreeTest, EveryCommandAndOptionIsInTheDocumentAndInEveryCompletion) {
  const std::string document = cli_document(app_);
  const std::vector<std::string> scripts{bash_completion(app_, context_), zsh_completion(app_, context_), fish_completion(app_, context_)};
  std::function<void(const CLI::App&)> look = [&](const CLI::App& app) {
    for (const CLI::App* command : app.get_subcommands({})) {
      if (command->get_group().empty()) {
        EXPECT_EQ(document.find("xdp-lb " + command->get_name()), document.find("xdp-lb docs cli")) << "hidden";
        continue;
      }
      EXPECT_NE(document.find(command->get_name()), std::string::npos) << command->get_name();
      EXPECT_NE(command->get_description(), "") << command->get_name();
      for (const std::string& script : scripts) EXPECT_NE(script.find(command->get_name()), std::string::npos) << command->get_name();
      look(*command);
    }
    for (const CLI::Option* option : app.get_options()) {
      EXPECT_NE(option->get_description(), "") << option->get_name();
      for (const std::string& name : option->get_lnames()) {
        if (name != "help") {
          EXPECT_NE(document.find("--" + name), std::string::npos) << name;
        }
        for (const std::string& script : scripts) EXPECT_NE(script.find(name), std::string::npos) << name;
      }
    }
  };
  look(app_);
}

TEST_F(TreeTest, EveryGlobalOptionHasAVariable) {
  for (const CLI::Option* option : app_.get_options()) {
    if (option->get_single_name() == "help") continue;
    EXPECT_TRUE(option->get_envname().starts_with("XDP_LB_")) << option->get_name();
  }
}

}  // namespace
}  // namespace xlb
