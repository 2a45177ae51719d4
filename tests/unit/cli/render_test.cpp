// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/render.hpp"

#include <gtest/gtest.h>

#include <sstream>

namespace xlb {
namespace {

std::string printed(const Table& table, bool wide, bool colour = false) {
  std::ostringstream out;
  table.print(out, wide, colour);
  return out.str();
}

Table pools() {
  Table table({{"NAME"}, {"TOTAL", false, true}, {"REASON", true}});
  table.row({"home", "51", "because"});
  table.row({"a-long-name", "1", ""});
  return table;
}

TEST(RenderTest, TablesLookLikeKubectls) {
  EXPECT_EQ(printed(pools(), false),
            "NAME          TOTAL\n"
            "home             51\n"
            "a-long-name       1\n");
  EXPECT_EQ(printed(pools(), true),
            "NAME          TOTAL   REASON\n"
            "home             51   because\n"
            "a-long-name       1   <none>\n");
}

TEST(RenderTest, ColourDoesNotMoveColumns) {
  Table table({{"A"}, {"B"}});
  table.row({Cell("x", Tone::good), Cell("y", Tone::bad)});
  EXPECT_EQ(printed(table, false, true), "A   B\n\033[32mx\033[0m   \033[31my\033[0m\n");
}

TEST(RenderTest, WideCharactersAreOneColumn) {
  Table table({{"NAME"}, {"B"}});
  table.row({"k\xc3\xbc" "che", "1"});
  table.row({"abcde", "2"});
  EXPECT_EQ(printed(table, false), "NAME    B\nk\xc3\xbc" "che   1\nabcde   2\n");
}

TEST(RenderTest, YamlSaysWhatJsonSays) {
  const Json document{{"node", "pi1"},
                      {"yes", "no"},
                      {"address", "192.168.0.200"},
                      {"empty", ""},
                      {"none", nullptr},
                      {"count", 3},
                      {"list", {"a", "b c"}},
                      {"nothing", Json::array()},
                      {"rows", {{{"name", "x"}, {"on", true}, {"inner", {{"k", 1}}}}, {{"name", "y"}}}}};
  EXPECT_EQ(yaml_text(document),
            "node: pi1\n"
            "\"yes\": \"no\"\n"
            "address: \"192.168.0.200\"\n"
            "empty: \"\"\n"
            "none: null\n"
            "count: 3\n"
            "list:\n"
            "- a\n"
            "- \"b c\"\n"
            "nothing: []\n"
            "rows:\n"
            "- name: x\n"
            "  \"on\": true\n"
            "  inner:\n"
            "    k: 1\n"
            "- name: \"y\"\n");
  EXPECT_EQ(yaml_text(Json::array({Json{{"a", 1}}})), "- a: 1\n");
  EXPECT_EQ(yaml_text(Json::array()), "[]\n");
}

}  // namespace
}  // namespace xlb
