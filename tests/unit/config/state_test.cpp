// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/state.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/unit/config/temporary_folder.hpp"
#include "userspace/config/sealed_json.hpp"

namespace xlb {
namespace {

State sample() {
  State state;
  state.held[{"default", "web"}] = {{*parse_address("192.168.0.200"), *parse_address("fd00::1")}, "home"};
  state.held[{"kube-system", "traefik"}] = {{*parse_address("192.168.0.201")}, "home"};
  state.conflicts[*parse_address("192.168.0.202")] = "answered by aa:bb:cc:dd:ee:ff on eth0";
  state.probed = {*parse_address("192.168.0.200"), *parse_address("192.168.0.201")};
  return state;
}

bool same(const State& a, const State& b) {
  return a.held == b.held && a.conflicts == b.conflicts && a.probed == b.probed;
}

TEST(State, IsReadAsItWasWritten) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "state.json";
  ASSERT_TRUE(write_state(file, sample()));
  const auto read = read_state(file);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_TRUE(same(*read, sample()));
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"state.json"}));
}

TEST(State, MissingIsEmpty) {
  const TemporaryFolder folder;
  const auto read = read_state(folder.path() / "none" / "state.json");
  ASSERT_TRUE(read);
  EXPECT_TRUE(same(*read, State{}));
}

TEST(State, CutAnywhereIsFound) {
  const std::string text = encode_state(sample());
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_FALSE(decode_state(std::string_view(text).substr(0, length))) << length;
  }
  EXPECT_TRUE(decode_state(text));
}

TEST(State, AnyChangedBitIsFoundOrHarmless) {
  const std::string text = encode_state(sample());
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const auto read = decode_state(damaged);
      EXPECT_TRUE(!read || same(*read, sample())) << i << " " << damaged;
    }
  }
}

TEST(State, DamageSaysWhatToDo) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "state.json";
  const std::string text = encode_state(sample());
  std::ofstream(file) << text.substr(0, text.size() / 2);
  const auto read = read_state(file);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, file.string() +
                                   ": cut short or damaged: move it aside (as state.json.damaged) and start again; "
                                   "services then take their addresses from "
                                   "what the kernel holds, or anew");
  ASSERT_TRUE(set_aside(file));
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"state.json.damaged"}));
  EXPECT_TRUE(read_state(file));
}

TEST(State, OfAnotherVersionIsRefused) {
  const auto read = decode_state(seal(2, nlohmann::json::object()));
  ASSERT_FALSE(read);
  EXPECT_TRUE(read.error().text.starts_with(
      "written by another xdp-lb (version 2, this one reads 1): use that program, or: "))
      << read.error().text;
}

TEST(State, SoundTextOfTheWrongShapeIsRefused) {
  for (const char* content :
       {"[]", "{}", "3", "{\"held\":3,\"conflicts\":{},\"probed\":[]}",
        "{\"held\":[3],\"conflicts\":{},\"probed\":[]}",
        "{\"held\":[{\"namespace\":\"a\"}],\"conflicts\":{},\"probed\":[]}",
        "{\"held\":[],\"conflicts\":[],\"probed\":[]}", "{\"held\":[],\"conflicts\":{\"x\":\"y\"},\"probed\":[]}",
        "{\"held\":[],\"conflicts\":{\"1.2.3.4\":5},\"probed\":[]}",
        "{\"held\":[],\"conflicts\":{},\"probed\":[\"x\"]}", "{\"held\":[],\"conflicts\":{},\"probed\":{}}",
        "{\"held\":[{\"namespace\":\"a\",\"name\":\"b\",\"pool\":\"c\",\"addresses\":[1]}],\"conflicts\":{},"
        "\"probed\":[]}"}) {
    const auto read = decode_state(seal(1, nlohmann::json::parse(content)));
    ASSERT_FALSE(read) << content;
    EXPECT_NE(read.error().text.find("state.json.damaged"), std::string::npos);
  }
}

TEST(State, UnreadableNamesPathAndCause) {
  const TemporaryFolder folder;
  const auto read = read_state(folder.path());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, folder.path().string() + ": not a regular file: move it elsewhere");
  const auto written = write_state(folder.path() / "file" / "state.json", {});
  EXPECT_TRUE(written);  // the folder is made
  std::ofstream(folder.path() / "plain") << "x";
  const auto refused = write_state(folder.path() / "plain" / "state.json", {});
  ASSERT_FALSE(refused);
  EXPECT_NE(
      refused.error().text.find("cannot make the folder " + (folder.path() / "plain").string() + ": Not a directory"),
      std::string::npos)
      << refused.error().text;
}

TEST(SealedJson, ChecksumIsTheOneOfIeee) {
  EXPECT_EQ(crc32("123456789"), 0xcbf43926U);
}

}  // namespace
}  // namespace xlb
