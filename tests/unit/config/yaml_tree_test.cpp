// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/yaml_tree.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <ctime>

#include "userspace/core/fields.hpp"

namespace xlb {
namespace {

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  while (times-- > 0) out += text;
  return out;
}

std::string refusal(std::string_view text) {
  if (auto sound = check_text(text, "in.yaml"); !sound) return sound.error().text;
  const auto root = parse_yaml(text, "in.yaml");
  return root ? "accepted" : root.error().text;
}

TreeNode parsed(const std::string& text) {
  auto root = parse_yaml(text, "in.yaml");
  EXPECT_TRUE(root) << root.error().text;
  return root && *root ? **root : TreeNode{};
}

void expect_refused(std::string_view text, std::string_view with) {
  const std::string sentence = refusal(text);
  EXPECT_NE(sentence.find(with), std::string::npos) << sentence << "\nfor: " << text.substr(0, 60);
}

TEST(YamlTree, KeepsWhatWasWrittenAndWhere) {
  const TreeNode root = parsed("a: 1\nb: \"1\"\nc:\n- x\n- ~\nd: !!str 1\n");
  ASSERT_EQ(root.keys, (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_FALSE(root.find("a")->quoted);
  EXPECT_TRUE(root.find("b")->quoted);
  EXPECT_TRUE(root.find("d")->quoted);
  EXPECT_EQ(root.find("c")->children[0].line, 4);
  EXPECT_EQ(root.find("c")->children[1].kind, TreeNode::Kind::null);
  EXPECT_EQ(root.find("e"), nullptr);
}

TEST(YamlTree, NothingButCommentsIsNothing) {
  for (const char* text : {"", "# x\n", "---\n", "---\n# x\n", "...\n", "\n\n", "null\n"}) {
    const auto root = parse_yaml(text, "in.yaml");
    ASSERT_TRUE(root) << text;
    EXPECT_FALSE(*root) << text;
  }
}

// Nesting of 20,000 and more, in every way that YAML nests. Run on a stack of 256 KiB: a parser that recursed before
// the guard would die here and not just be slow.
TEST(YamlTree, DeepNestingIsRefusedBeforeItIsDescended) {
  std::vector<std::string> texts;
  for (const std::size_t depth : {std::size_t{65}, std::size_t{20'000}, std::size_t{400'000}}) {
    for (const char* level : {"[", "{", "{a: ", "[a: ", "{\"a\": ", "- ", "? ", ": ", "[\n", "{\n", "{a:\n", "{ ? ",
                              "[[],", "{a: {}, b: ", "- [", "-\t"}) {
      texts.push_back(repeated(level, depth));
    }
    texts.push_back(repeated("[", depth) + repeated("]", depth));
    texts.push_back("a: &b " + repeated("[", depth));
    texts.push_back("a: 'it\"s' # [\nb: " + repeated("[", depth));
  }
  std::string steps;
  for (std::size_t i = 0; i < 1500; ++i) steps += std::string(i, ' ') + "a:\n";
  texts.push_back(steps);

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  pthread_t thread{};
  const auto run = [](void* argument) -> void* {
    for (const std::string& text : *static_cast<const std::vector<std::string>*>(argument)) {
      const std::string sentence = refusal(std::string_view(text).substr(0, kMaxYamlBytes));
      EXPECT_NE(sentence, "accepted") << text.substr(0, 20) << " " << text.size();
    }
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, &texts), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(YamlTree, DepthIsCountedExactlyAndSaid) {
  EXPECT_EQ(refusal(repeated("[", 64) + repeated("]", 64)), "accepted");
  EXPECT_EQ(refusal(repeated("- ", 63) + "a: 1\n"), "accepted");
  const std::string said =
      "in.yaml:1: lists and mappings stand inside one another more than 64 deep; no manifest needs that: write it "
      "flatter";
  EXPECT_EQ(refusal(repeated("[", 65) + repeated("]", 65)), said);
  EXPECT_EQ(refusal(repeated("- ", 64) + "a: 1\n"), said);
}

TEST(YamlTree, BracketsThatNestNothingAreNotCounted) {
  EXPECT_EQ(refusal("a: \"" + repeated("[", 200) + "\"\n"), "accepted");
  EXPECT_EQ(refusal("a: '" + repeated("{", 200) + "'\n"), "accepted");
  EXPECT_EQ(refusal("a: b # " + repeated("{", 200) + "\n"), "accepted");
  EXPECT_EQ(refusal("a: [" + repeated("[],", 500) + "]\n"), "accepted");
  EXPECT_EQ(refusal("a: it's\nb: don't [\nc: [x]\n"), "accepted");
}

TEST(YamlTree, BombsOfAliasesAreRefused) {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    const std::string before(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [" + repeated("*" + before + ",", 9) + "]\n";
  }
  expect_refused(bomb, "more than 16 aliases (*name) in one document: write the values out");
  std::string doubling = "a0: &a0 [" + repeated("x,", 60'000) + "]\n";
  for (int i = 1; i <= 8; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    doubling += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before + "," + before + "]\n";
  }
  expect_refused(doubling, "holds more than 400000 values (aliases written out): split it with ---");
  expect_refused("a: &a [*a]\n", "in.yaml:1: this alias stands inside the value that it repeats");
  expect_refused("a: *b\n", "the referenced anchor is not defined");
}

TEST(YamlTree, AliasesCannotHideDepth) {
  std::string text = "a0: &a0 " + repeated("[", 30) + repeated("]", 30) + "\n";
  text += "a1: &a1 " + repeated("[", 30) + "*a0" + repeated("]", 30) + "\n";
  EXPECT_EQ(refusal(text), "accepted");
  expect_refused(text + "a2: " + repeated("[", 10) + "*a1" + repeated("]", 10) + "\n", "more than 64 deep");
}

TEST(YamlTree, AliasesAreWrittenOut) {
  const TreeNode root = parsed("a: &x {b: [1, 2]}\nc: *x\n");
  EXPECT_EQ(root.find("c")->find("b")->children[1].scalar, "2");
  EXPECT_EQ(root.find("c")->line, 2);
}

TEST(YamlTree, TooMuchTextIsRefusedUnread) {
  EXPECT_EQ(refusal(std::string(10 << 20, 'a')), "in.yaml: more than 4 MiB of YAML: split it into several files");
  EXPECT_EQ(refusal("a: \"" + std::string(kMaxYamlBytes - 6, 'x') + "\"\n"), "accepted");
}

TEST(YamlTree, ManyValuesAreRefused) {
  expect_refused("[" + repeated("a,", 400'001) + "]", "more than 400000 values");
}

// What a file within the limits costs: no quadratic corner. The figures are far above what a slow Pi takes.
TEST(YamlTree, HostileTextIsReadInLinearTime) {
  const std::clock_t begin = std::clock();  // of this process: other load does not count
  const std::size_t size = kMaxYamlBytes / 4;
  for (const char* piece : {"[",    "{",  "a: ", "- ",    "? ",    "!",      "&a ",    "!!x ",  "x\n  ",
                            "#x\n", " ",  "\n",  "''",    "'a' ",  "\"\\\"", "- \"\\", "- |\n", "%TAG !a! b\n",
                            ": \"", "-'", "a\n", "---\n", "...\n", "{a: [",  "*a ",    "\t",    "? \n"}) {
    const std::string text = repeated(piece, size / std::char_traits<char>::length(piece));
    (void)refusal(text);
    (void)refusal("a: >\n" + text.substr(0, size / 2));
  }
  EXPECT_LT(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC, 60.0) << "s";
#ifndef __SANITIZE_ADDRESS__  // which keeps freed memory, and g++ says so by this name
#ifdef __has_feature
#if __has_feature(address_sanitizer)
  return;
#endif
#endif
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 300'000) << "KiB, of a megabyte at a time";
#endif
}

TEST(YamlTree, WhatIsNoTextIsRefused) {
  expect_refused(std::string_view("a: b\n\0c", 7),
                 "in.yaml:2: a NUL byte in the text: this is not a text file, or it is damaged");
  expect_refused("a: \x01", "in.yaml:1: the control character \"\\x01\" in the text");
  expect_refused("a: b\n\nc: \xff\xfe\n", "in.yaml:3: not valid UTF-8: save the file as UTF-8");
  expect_refused("a: \xc0\xaf\n", "not valid UTF-8");          // overlong
  expect_refused("a: \xed\xa0\x80\n", "not valid UTF-8");      // surrogate
  expect_refused("a: \xf4\x90\x80\x80\n", "not valid UTF-8");  // beyond U+10FFFF
  expect_refused("a: \xe2\x82", "not valid UTF-8");            // cut short
  EXPECT_EQ(refusal("a: \xe2\x82\xac \xf0\x9f\x98\x80\n"), "accepted");
  EXPECT_EQ(parsed("\xef\xbb\xbf"
                   "a: 1\n")
                .keys.front(),
            "a");
}

TEST(YamlTree, TabsAreNamed) {
  EXPECT_EQ(refusal("spec:\n  a: b\n\tc: d\n"),
            "in.yaml:3: not valid YAML: a tab indents this line: YAML wants blanks");
  EXPECT_EQ(refusal("spec:\n\taddresses: a\n"),
            "in.yaml:2: not valid YAML: a tab indents this line: YAML wants blanks");
  EXPECT_EQ(refusal("a:\tb\nc: [\n\td]\n"), "accepted");
}

TEST(YamlTree, BrokenYamlNamesTheLine) {
  expect_refused("a: b\nc: [d\n", "in.yaml:3: not valid YAML: ");
  expect_refused("a: b: c\n", "in.yaml:1: not valid YAML: ");
  expect_refused("a: b\n]\n", "in.yaml:2: not valid YAML: ");
  expect_refused("[a] b\n", "in.yaml:1: something stands after the end of the document: begin a new one with ---");
}

TEST(YamlTree, KeysAreWordsAndStandOnce) {
  EXPECT_EQ(refusal("a: 1\nb: 2\na: 3\n"), "in.yaml:3: the key \"a\" is there already, at line 1: keep one of them");
  expect_refused("? [a]\n: b\n", "a key must be a word");
  expect_refused("? {a: b}\n: b\n", "a key must be a word");
  expect_refused("x: &a [1]\n? *a\n: b\n", "a key must be a word");
  expect_refused(": b\n", "a key is missing in front of the colon");
  expect_refused("x: &a {b: 1}\ny:\n  <<: *a\n",
                 "in.yaml:3: merge keys (<<) are not understood: write the fields out");
  expect_refused("a: !secret x\n", "the tag \"!secret\" is not understood: remove it");
}

bool same(const TreeNode& a, const TreeNode& b) {
  if (a.kind != b.kind || a.keys != b.keys || a.children.size() != b.children.size() || a.scalar != b.scalar)
    return false;
  if (a.kind == TreeNode::Kind::scalar && scalar_type(a) != scalar_type(b)) return false;
  for (std::size_t i = 0; i < a.children.size(); ++i) {
    if (!same(a.children[i], b.children[i])) return false;
  }
  return true;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t n) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<std::size_t>(state_ >> 33) % n;
  }

 private:
  std::uint64_t state_;
};

std::string random_text(Random& random) {
  static const std::vector<std::string> pieces = {
      "a",  "b c", ":",  "-",    "#",   "'",    "\"",       "\\",           "\n",           "\t", " ", "{",
      "]",  "é",   "1",  "true", "~",   "null", "0x1f",     "---",          "...",          "%",  "@", "`",
      "&x", "*x",  "!y", "|",    ">",   "\x01", "\xc2\x85", "\xe2\x80\xa8", "\xef\xbb\xbf", ",",  "?", ": ",
      " #", "=",   "<<", "on",   "1e3", ".5",   "\r"};
  std::string out;
  for (std::size_t n = random.below(4); n > 0; --n) out += pieces[random.below(pieces.size())];
  return out;
}

TreeNode random_node(Random& random, int depth) {
  switch (random.below(depth > 4 ? 4 : 6)) {
    case 0:
      return {};
    case 1:
      return yaml_plain(random.below(2) == 0 ? "true" : "42");
    case 2:
    case 3:
      return yaml_string(random_text(random));
    case 4: {
      TreeNode node = yaml_sequence();
      for (std::size_t n = random.below(4); n > 0; --n) node.children.push_back(random_node(random, depth + 1));
      return node;
    }
    default: {
      TreeNode node = yaml_mapping();
      for (std::size_t n = random.below(4); n > 0; --n) {
        std::string key = random_text(random);
        if (node.find(key) == nullptr) yaml_set(node, std::move(key), random_node(random, depth + 1));
      }
      return node;
    }
  }
}

TEST(YamlTree, WrittenTextReadsAsTheSame) {
  Random random(1);
  for (int round = 0; round < 20'000; ++round) {
    const TreeNode node = random_node(random, 0);
    const std::string text = yaml_text(node);
    auto again = parse_yaml(text, "in.yaml");
    ASSERT_TRUE(again) << again.error().text << "\n" << text;
    ASSERT_TRUE(same(again->value_or(TreeNode{}), node)) << text;
  }
}

TEST(YamlTree, WrittenTextIsWhatAPersonWouldWrite) {
  TreeNode root = yaml_mapping();
  yaml_set(root, "kind", yaml_string("IPAddressPool"));
  TreeNode& spec = yaml_set(root, "spec", yaml_mapping());
  yaml_set(spec, "addresses", yaml_strings({"192.168.0.200-192.168.0.250", "fd00::/120"}));
  yaml_set(spec, "port", yaml_plain("80"));
  yaml_set(spec, "name", yaml_string("80"));
  yaml_set(spec, "none", yaml_sequence());
  EXPECT_EQ(yaml_text(root),
            "kind: IPAddressPool\nspec:\n  addresses:\n  - 192.168.0.200-192.168.0.250\n  - fd00::/120\n  port: 80\n "
            " name: \"80\"\n  none: []\n");
}

}  // namespace
}  // namespace xlb
