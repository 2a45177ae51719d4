// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/documents.hpp"

#include <gtest/gtest.h>

namespace xlb {
namespace {

std::vector<std::string> parts(std::string_view text) {
  std::vector<std::string> out;
  for (const Document& document : split_documents(text)) out.emplace_back(document.in(text));
  return out;
}

TEST(Documents, AreSplitInFrontOfMarkerLines) {
  EXPECT_EQ(parts("a: 1\n---\nb: 2\n--- # two\nc: 3\n...\n"),
            (std::vector<std::string>{"a: 1\n", "---\nb: 2\n", "--- # two\nc: 3\n", "...\n"}));
  EXPECT_EQ(parts("---\na: 1"), (std::vector<std::string>{"---\na: 1"}));
  EXPECT_EQ(parts("a: 1\r\n---\r\nb: 2\r\n"), (std::vector<std::string>{"a: 1\r\n", "---\r\nb: 2\r\n"}));
}

TEST(Documents, OtherDashesAreNoMarkers) {
  EXPECT_EQ(parts("a: |\n  ---\n---x: 1\n----\n - --- \n").size(), 1U);
}

TEST(Documents, KnowTheirLines) {
  const auto documents = split_documents("# one\n---\na: 1\nb: 2\n---\nc: 3\n");
  ASSERT_EQ(documents.size(), 3U);
  EXPECT_EQ(documents[0].line, 1);
  EXPECT_EQ(documents[1].line, 2);
  EXPECT_EQ(documents[2].line, 5);
}

TEST(Documents, ExchangeLeavesTheOthersByteForByte) {
  const std::string text = "# head \na:   1\n---\nb: 2 # two\n---\nc: 3\n";
  const auto documents = split_documents(text);
  EXPECT_EQ(exchange(text, documents[1], {"B: 3\n"}), "# head \na:   1\n---\nB: 3\n---\nc: 3\n");
  EXPECT_EQ(exchange(text, documents[1], {}), "# head \na:   1\n---\nc: 3\n");
  EXPECT_EQ(exchange(text, documents[0], {"A: 1\n"}), "A: 1\n---\nb: 2 # two\n---\nc: 3\n");
  EXPECT_EQ(exchange(text, documents[2], {"C: 1\n", "D: 1"}),
            "# head \na:   1\n---\nb: 2 # two\n---\nC: 1\n---\nD: 1\n");
}

TEST(Documents, ExchangeMindsAMissingLineEnd) {
  const std::string text = "a: 1\n---\nb: 2";
  const auto documents = split_documents(text);
  EXPECT_EQ(exchange(text, documents[1], {"c: 3"}), "a: 1\n---\nc: 3\n");
  EXPECT_EQ(exchange(text, documents[1], {"--- # mine\nc: 3"}), "a: 1\n--- # mine\nc: 3\n");
}

TEST(Documents, BodyHasNoMarkerAndALineEnd) {
  EXPECT_EQ(document_body("---\na: 1"), "a: 1\n");
  EXPECT_EQ(document_body("# c\na: 1\n"), "# c\na: 1\n");
  EXPECT_EQ(document_body("--- {a: 1}\n"), "--- {a: 1}\n");
  EXPECT_EQ(document_body("\xef\xbb\xbf"
                          "a: 1\n"),
            "a: 1\n");
  EXPECT_EQ(document_body("---"), "");
}

// Whatever the text, its documents are the whole of it, in order.
TEST(Documents, AreTheWholeText) {
  std::uint32_t random = 7;
  const std::string letters = "-.\n a:\r\t#";
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (int i = 0; i < 24; ++i) {
      random = random * 1664525U + 1013904223U;
      text += letters[(random >> 16) % letters.size()];
    }
    std::string whole;
    for (const std::string& part : parts(text)) whole += part;
    ASSERT_EQ(whole, text);
  }
}

}  // namespace
}  // namespace xlb
