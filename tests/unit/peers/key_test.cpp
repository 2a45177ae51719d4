// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/key.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace xlb {
namespace {

class KeyTest : public testing::Test {
 protected:
  KeyTest() {
    std::string name = (std::filesystem::temp_directory_path() / "xlb-key-test-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    file_ = folder_ / "cluster.key";
  }
  ~KeyTest() override { std::filesystem::remove_all(folder_); }
  static std::string sentence(const Result<std::optional<ClusterKey>>& read) { return read ? "" : read.error().text; }
  static testing::AssertionResult has(const std::string& text, const std::string& part) {
    if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
    return testing::AssertionFailure() << '"' << text << "\" lacks \"" << part << '"';
  }
  std::string content() const {
    std::ifstream in(file_);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::filesystem::path folder_, file_;
};

TEST_F(KeyTest, TextSurvivesBeingCopied) {
  const ClusterKey key = *make_key();
  EXPECT_NE(key, *make_key());
  const std::string text = key_text(key);
  EXPECT_TRUE(text.starts_with("xlb1-"));
  EXPECT_EQ(text.size(), 4u + 9 * 9);
  EXPECT_EQ(*parse_key(text), key);
  EXPECT_EQ(*parse_key("  " + text + "\r\n\n"), key);
  std::string spoken = text;
  for (char& c : spoken) c = c == '-' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  EXPECT_EQ(*parse_key(spoken), key);
}

TEST_F(KeyTest, EveryMisreadDigitIsFound) {
  const std::string text = key_text(ClusterKey{});
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '-') continue;
    for (const char digit : std::string("0123456789abcdefO\x11")) {
      if (digit == text[i]) continue;
      std::string wrong = text;
      wrong[i] = digit;
      EXPECT_FALSE(parse_key(wrong)) << i << digit;
    }
    std::string shorter = text;
    shorter.erase(i, 1);
    EXPECT_FALSE(parse_key(shorter));
  }
  const std::string mixed = key_text(*make_key());
  for (std::size_t i = 5; i + 1 < mixed.size(); ++i) {
    if (mixed[i] == mixed[i + 1] || mixed[i] == '-' || mixed[i + 1] == '-') continue;
    std::string wrong = mixed;
    std::swap(wrong[i], wrong[i + 1]);
    EXPECT_FALSE(parse_key(wrong)) << "swapped at " << i;
  }
  EXPECT_TRUE(has(parse_key("").error().text, "no key in it"));
  EXPECT_TRUE(has(parse_key("hunter2").error().text, "begins with xlb1-"));
  EXPECT_TRUE(has(parse_key(text + text).error().text, "digits instead of 72"));
  EXPECT_TRUE(has(parse_key(std::string(100'000, '0')).error().text, "too long"));
}

TEST_F(KeyTest, FingerprintTellsKeysApart) {
  const ClusterKey key = *make_key(), other = *make_key();
  EXPECT_EQ(key_fingerprint(key), key_fingerprint(key));
  EXPECT_NE(key_fingerprint(key), key_fingerprint(other));
  EXPECT_EQ(fingerprint_text(0x1f), "0000001f");
}

TEST_F(KeyTest, AFileThatOnlyItsOwnerReads) {
  EXPECT_FALSE(*read_key(file_)) << "none yet";
  const ClusterKey key = *make_key();
  const mode_t before = umask(0);  // which must not matter
  ASSERT_TRUE(write_key(file_, key, false));
  umask(before);
  struct stat facts {};
  ASSERT_EQ(stat(file_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0600u);
  EXPECT_EQ(**read_key(file_), key);
  EXPECT_EQ(content(), key_text(key) + "\n");
  EXPECT_EQ(files(), 1u);
}

TEST_F(KeyTest, NeverReplacedUnasked) {
  const ClusterKey key = *make_key(), other = *make_key();
  ASSERT_TRUE(write_key(file_, key, false));
  const auto refused = write_key(file_, other, false);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(has(refused.error().text, "--replace"));
  EXPECT_EQ(**read_key(file_), key);
  EXPECT_EQ(files(), 1u);
  ASSERT_TRUE(write_key(file_, other, true));
  EXPECT_EQ(**read_key(file_), other);
  EXPECT_EQ(files(), 1u);
}

TEST_F(KeyTest, WhatARunThatDiedLeftIsNoObstacle) {
  std::ofstream(folder_ / "cluster.key.new") << "half a k";
  ASSERT_TRUE(write_key(file_, *make_key(), false));
  EXPECT_TRUE(*read_key(file_));
  EXPECT_EQ(files(), 1u);
}

TEST_F(KeyTest, RefusedWhenOthersCouldReadOrChangeIt) {
  ASSERT_TRUE(write_key(file_, *make_key(), false));
  for (const mode_t mode : {0644u, 0640u, 0604u, 0620u, 0601u}) {
    ASSERT_EQ(chmod(file_.c_str(), mode), 0);
    EXPECT_TRUE(has(sentence(read_key(file_)), "chmod 600")) << std::oct << mode;
  }
  ASSERT_EQ(chmod(file_.c_str(), 0400), 0);
  EXPECT_TRUE(read_key(file_));
  if (geteuid() == 0) {
    ASSERT_EQ(chown(file_.c_str(), 65534, 65534), 0);
    ASSERT_EQ(chmod(file_.c_str(), 0600), 0);
    EXPECT_TRUE(has(sentence(read_key(file_)), "belongs to another user"));
  }
}

TEST_F(KeyTest, MalformedFilesAreNamed) {
  const auto write = [&](const std::string& text) {
    std::filesystem::remove(file_);
    std::ofstream(file_) << text;
    chmod(file_.c_str(), 0600);
  };
  for (const std::string& text :
       {std::string(), std::string("xlb1-"), std::string(1 << 20, 'x'), key_text(ClusterKey{}) + "0"}) {
    write(text);
    EXPECT_TRUE(has(sentence(read_key(file_)), file_.string()));
  }
  std::filesystem::remove(file_);
  std::filesystem::create_directory(file_);
  EXPECT_TRUE(has(sentence(read_key(file_)), "not a plain file"));
  std::filesystem::remove(file_);
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  EXPECT_TRUE(has(sentence(read_key(file_)), "not a plain file")) << "and nobody waits for a writer";
}

TEST_F(KeyTest, AFolderThatIsNotThereIsSaid) {
  EXPECT_FALSE(write_key(folder_ / "no" / "cluster.key", ClusterKey{}, false));
}

}  // namespace
}  // namespace xlb
