// SPDX-License-Identifier: Apache-2.0
#include "loader/netlink_message.hpp"

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include <vector>

namespace xlb {
namespace {

std::span<const char> bytes_of(NetlinkMessage& message) {
  return {reinterpret_cast<const char*>(message.get()), message.get()->nlmsg_len};
}

TEST(NetlinkMessageTest, WhatIsPutIsRead) {
  NetlinkMessage message(RTM_NEWTFILTER, NLM_F_CREATE);
  message.header<tcmsg>()->tcm_ifindex = 7;
  message.put_text(TCA_KIND, "bpf");
  nlattr* nest = message.begin_nest(TCA_OPTIONS);
  message.put_u32(1, 0x01020304);
  message.put(2, "abcde", 5);
  message.end_nest(nest);
  message.put_u32(TCA_CHAIN, 9);

  EXPECT_EQ(message.get()->nlmsg_flags, NLM_F_REQUEST | NLM_F_CREATE);
  EXPECT_EQ(header_of<tcmsg>(*message.get()).tcm_ifindex, 7);
  const auto found = attributes<TCA_CHAIN + 1>(*message.get(), sizeof(tcmsg));
  EXPECT_EQ(read_text(found[TCA_KIND]), "bpf");
  EXPECT_EQ(read_u32(found[TCA_CHAIN]), 9u);
  EXPECT_EQ(found[TCA_RATE], nullptr);
  EXPECT_EQ(read_u32(found[TCA_RATE]), 0u);
  ASSERT_NE(found[TCA_OPTIONS], nullptr);
  const auto inner = nested_attributes<3>(*found[TCA_OPTIONS]);
  EXPECT_EQ(read_u32(inner[1]), 0x01020304u);
  EXPECT_EQ(payload(*inner[2]).size(), 5u);
  EXPECT_EQ(read_text(inner[2]), "abcde");
}

TEST(NetlinkMessageTest, ANumberThatIsTooShortIsNone) {
  NetlinkMessage message(RTM_NEWLINK, 0);
  message.header<ifinfomsg>();
  message.put(IFLA_MTU, "\xff\xff", 2);
  const auto found = attributes<IFLA_MTU + 1>(*message.get(), sizeof(ifinfomsg));
  ASSERT_NE(found[IFLA_MTU], nullptr);
  EXPECT_EQ(read_u32(found[IFLA_MTU]), 0u);
  EXPECT_EQ(read_u16(found[IFLA_MTU]), 0xffffu);
}

TEST(NetlinkMessageTest, AttributesThatReachPastTheEndAreLeftOut) {
  NetlinkMessage message(RTM_NEWLINK, 0);
  message.header<ifinfomsg>();
  message.put_u32(IFLA_MTU, 1500);
  message.put_u32(IFLA_LINK, 3);
  const std::size_t whole = message.get()->nlmsg_len;
  for (std::size_t length = NLMSG_HDRLEN; length < whole; ++length) {
    message.get()->nlmsg_len = static_cast<std::uint32_t>(length);
    const auto found = attributes<IFLA_LINK + 1>(*message.get(), sizeof(ifinfomsg));
    EXPECT_EQ(found[IFLA_LINK], nullptr) << length;
    EXPECT_EQ(found[IFLA_MTU] != nullptr, length >= whole - 8) << length;
  }
}

TEST(NetlinkMessageTest, MessagesInOneBuffer) {
  NetlinkMessage first(RTM_NEWLINK, 0), second(RTM_NEWADDR, 0);
  first.header<ifinfomsg>();
  second.header<ifaddrmsg>();
  std::vector<char> buffer;
  for (NetlinkMessage* message : {&first, &second}) {
    const auto bytes = bytes_of(*message);
    buffer.insert(buffer.end(), bytes.begin(), bytes.end());
  }
  std::vector<int> types;
  const auto visit = [&](const nlmsghdr& message) {
    types.push_back(message.nlmsg_type);
    return true;
  };
  each_message(buffer, visit);
  EXPECT_EQ(types, (std::vector<int>{RTM_NEWLINK, RTM_NEWADDR}));
  types.clear();
  each_message(std::span<const char>(buffer).first(buffer.size() - 1), visit);  // cut short
  EXPECT_EQ(types, (std::vector<int>{RTM_NEWLINK}));
  types.clear();
  each_message(buffer, [&](const nlmsghdr& message) {
    visit(message);
    return false;
  });
  EXPECT_EQ(types, (std::vector<int>{RTM_NEWLINK}));
}

}  // namespace
}  // namespace xlb
