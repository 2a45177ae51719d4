// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/json.hpp"

#include <gtest/gtest.h>

#include "userspace/kube/lines.hpp"
#include "userspace/kube/percent.hpp"
#include "userspace/kube/troubles.hpp"

namespace xlb {
namespace {

std::vector<TreeNode> items_of(const std::string& body, const LeaveOut& leave_out = {}) {
  std::vector<TreeNode> items;
  const auto page = parse_list(body, leave_out, [&](TreeNode item) { items.push_back(std::move(item)); });
  EXPECT_TRUE(page) << page.error().text;
  return items;
}

std::string refusal_of(const std::string& body) {
  const auto page = parse_list(body, {}, [](const TreeNode&) {});
  return page ? "accepted" : page.error().text;
}

TEST(Json, ReadsAPage) {
  std::vector<std::string> names;
  const auto page = parse_list(
      R"({"kind":"ServiceList","metadata":{"resourceVersion":"12","continue":"abc","remainingItemCount":4},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]})",
      {}, [&](const TreeNode& item) {
        names.push_back(text_at(item, {"metadata", "name"}));
      });
  ASSERT_TRUE(page) << page.error().text;
  EXPECT_EQ(page->version, "12");
  EXPECT_EQ(page->more, "abc");
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b"}));
}

TEST(Json, AListMayBeEmptyOrNull) {
  EXPECT_TRUE(items_of(R"({"metadata":{"resourceVersion":"1"},"items":[]})").empty());
  EXPECT_TRUE(items_of(R"({"metadata":{"resourceVersion":"1"},"items":null})").empty());
}

TEST(Json, WhatIsNoListIsRefused) {
  EXPECT_EQ(refusal_of(""), "not valid JSON at byte 1");
  EXPECT_EQ(refusal_of("[[[]]]"), "not a list of objects");
  EXPECT_EQ(refusal_of("7"), "not a list of objects");
  EXPECT_EQ(refusal_of("{}"), "not a list of objects");
  EXPECT_EQ(refusal_of(R"({"items":{"a":{}},"metadata":{"resourceVersion":"1"}})"), "not a list of objects");
  EXPECT_EQ(refusal_of(R"({"items":[1],"metadata":{"resourceVersion":"1"}})"), "not a list of objects");
  EXPECT_EQ(refusal_of(R"({"items":[]})"), "a list without a resourceVersion");
  EXPECT_EQ(refusal_of(R"({"items":[],"metadata":{"resourceVersion":12}})"), "a list without a resourceVersion");
  EXPECT_EQ(refusal_of(R"({"items":[],"metadata":{"resourceVersion":"1"}} x)").substr(0, 14), "not valid JSON");
  EXPECT_EQ(refusal_of("{\"items\":[\"\xff\"]}").substr(0, 14), "not valid JSON");
  EXPECT_EQ(refusal_of(std::string(100'000, '[')), "more than 64 levels inside one another");
  EXPECT_EQ(refusal_of("{\"items\":[" + std::string(100'000, '{')).substr(0, 14), "not valid JSON");
  std::string wide = "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{\"a\":[";
  for (std::size_t i = 0; i <= kMaxJsonNodes; ++i) wide += "1,";
  EXPECT_EQ(refusal_of(wide + "1]}]}"), "more than 200000 values in one object");
}

TEST(Json, TypesAreKept) {
  const auto items = items_of(
      R"({"metadata":{"resourceVersion":"1"},"items":[{"s":"1","n":1,"m":-2,"f":1.5,"t":true,"z":null,"o":{},"l":[1]}]})");
  const TreeNode& item = items.at(0);
  EXPECT_EQ(scalar_type(*item.find("s")), ScalarType::string);
  EXPECT_EQ(scalar_type(*item.find("n")), ScalarType::number);
  EXPECT_EQ(item.find("m")->scalar, "-2");
  EXPECT_EQ(item.find("f")->scalar, "1.5");
  EXPECT_EQ(scalar_type(*item.find("t")), ScalarType::boolean);
  EXPECT_EQ(item.find("z")->kind, TreeNode::Kind::null);
  EXPECT_EQ(item.find("o")->kind, TreeNode::Kind::mapping);
  EXPECT_EQ(item.find("l")->children.size(), 1U);
  EXPECT_EQ(text_at(item, {"n"}), "") << "a number is no string";
}

TEST(Json, LeavesOutWhatNobodyReads) {
  const LeaveOut leave_out = {"metadata.managedFields", "spec"};
  const char* const object =
      R"({"metadata":{"name":"a","resourceVersion":"3","managedFields":[{"x":[1,{"y":{}}]}],"uid":"u"},"spec":{"metadata":{"managedFields":1}},"status":{"managedFields":1,"spec":2}})";
  const auto items = items_of(
      std::string(R"({"metadata":{"resourceVersion":"1","managedFields":"kept"},"spec":1,"items":[)") + object + "]}",
      leave_out);
  ASSERT_EQ(items.size(), 1U);
  const auto event = parse_event(std::string(R"({"type":"ADDED","object":)") + object + "}", leave_out);
  ASSERT_TRUE(event) << event.error().text;
  for (const TreeNode* item : {&items[0], &event->object}) {
    EXPECT_EQ(item->keys, (std::vector<std::string>{"metadata", "status"}));
    EXPECT_EQ(item->children.size(), 2U);
    EXPECT_EQ(item->find("metadata")->keys, (std::vector<std::string>{"name", "resourceVersion", "uid"}));
    EXPECT_EQ(item->find("metadata")->children.size(), 3U);
    EXPECT_EQ(item->find("status")->keys.size(), 2U);
  }
}

TEST(Json, ReadsEvents) {
  using Type = WatchEvent::Type;
  const auto read = [](const char* line) {
    auto event = parse_event(line, {});
    EXPECT_TRUE(event) << event.error().text;
    return std::move(*event);
  };
  const auto added = read(R"({"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"3"}}})");
  EXPECT_EQ(added.type, Type::added);
  EXPECT_EQ(added.version, "3");
  EXPECT_EQ(text_at(added.object, {"metadata", "name"}), "a");
  EXPECT_EQ(read(R"({"type":"DELETED","object":{"metadata":{"resourceVersion":"3"}}})").type, Type::deleted);
  EXPECT_EQ(read(R"({"object":{"metadata":{"resourceVersion":"9"}},"type":"BOOKMARK"})").version, "9");
  const auto gone = read(R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}})");
  EXPECT_EQ(gone.code, 410U);
  EXPECT_EQ(gone.message, "too old");
  EXPECT_EQ(read(R"({"type":"ERROR","object":{}})").code, 0U);
}

TEST(Json, RefusesWhatIsNoEvent) {
  for (const char* line :
       {"", "{", "[]", "null", R"({"type":"ADDED"})", R"({"type":"ADDED","object":[]})",
        R"({"type":"ADDED","object":{}})", R"({"type":"added","object":{"metadata":{"resourceVersion":"3"}}})",
        R"({"type":7,"object":{"metadata":{"resourceVersion":"3"}}})",
        R"({"type":"ADDED","object":[{"managedFields":1}]})"}) {
    EXPECT_FALSE(parse_event(line, {"metadata.managedFields"})) << line;
  }
}

TEST(Json, AStatusMayBeAnythingElse) {
  EXPECT_EQ(parse_status(R"({"kind":"Status","reason":"Conflict","message":"m","code":409})").reason, "Conflict");
  EXPECT_EQ(parse_status("<html>").message, "");
  EXPECT_EQ(parse_status("").code, 0U);
  EXPECT_EQ(parse_status(R"({"reason":"x","message":"y"})").message, "");
}

// ---- lines
// ----------------------------------------------------------------------------------------------------------

TEST(Lines, AreTheSameWhateverPiecesTheyComeIn) {
  const std::string text = "one\ntwo\r\n\n\r\nthree\nrest";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    Lines lines(100);
    std::vector<std::string> got;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      EXPECT_EQ(lines.feed(text.substr(at, piece),
                           [&](std::string_view line) {
                             got.emplace_back(line);
                             return true;
                           }),
                Lines::Fed::all);
    }
    EXPECT_EQ(got, (std::vector<std::string>{"one", "two", "three"})) << piece;
    EXPECT_EQ(lines.held(), 4U);
  }
}

TEST(Lines, AreBounded) {
  const auto ignore = [](std::string_view) { return true; };
  Lines whole(10);
  EXPECT_EQ(whole.feed("0123456789\n", ignore), Lines::Fed::all);
  EXPECT_EQ(whole.feed("0123456789x\n", ignore), Lines::Fed::too_long);
  Lines pieces(10);
  EXPECT_EQ(pieces.feed("01234", ignore), Lines::Fed::all);
  EXPECT_EQ(pieces.feed("56789", ignore), Lines::Fed::all);
  EXPECT_EQ(pieces.feed("x", ignore), Lines::Fed::too_long);
}

TEST(Lines, StopWhereTheyAreTold) {
  Lines lines(100);
  int count = 0;
  EXPECT_EQ(lines.feed("a\nb\nc\n", [&](std::string_view) { return ++count < 2; }), Lines::Fed::stopped);
  EXPECT_EQ(count, 2);
}

// ---- small things
// ---------------------------------------------------------------------------------------------------

TEST(Percent, LeavesOnlyWhatIsPlain) {
  EXPECT_EQ(percent_encoded("aZ0-._~"), "aZ0-._~");
  EXPECT_EQ(percent_encoded("a=b&c d/\xc3\xa4"), "a%3Db%26c%20d%2F%C3%A4");
}

TEST(Troubles, AreSaidOnceUntilNobodySuffers) {
  Troubles troubles;
  troubles.report(0, "no server: after 3 ms");
  troubles.report(1, "no server: after 4 ms");
  troubles.report(0, "no server: after 5 ms");
  EXPECT_EQ(troubles.take(), std::vector<std::string>{"no server: after 3 ms"});
  troubles.report(0, "refused: 403");
  EXPECT_EQ(troubles.take(), std::vector<std::string>{"refused: 403"});
  troubles.over(0);
  EXPECT_EQ(troubles.take(), std::vector<std::string>{"this is over: refused"});
  troubles.over(1);
  troubles.over(1);
  EXPECT_EQ(troubles.take(), std::vector<std::string>{"this is over: no server"});
  troubles.report(1, "no server: again");
  EXPECT_EQ(troubles.take(), std::vector<std::string>{"no server: again"});
}

}  // namespace
}  // namespace xlb
