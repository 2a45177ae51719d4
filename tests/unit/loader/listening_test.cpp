// SPDX-License-Identifier: Apache-2.0
#include "loader/listening.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sstream>

namespace xlb {
namespace {

bool listed(const std::string& rows, std::uint16_t port) {
  std::istringstream table("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" + rows);
  return listed_as_listening(table, port);
}
const std::string kOthers = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n";
const std::string kProxy = "   1: 00000000:2810 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0\n";
const std::string kProxy6 =
    "   1: 00000000000000000000000000000000:2810 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 2 1 0\n";
const std::string kConnected = "   2: 0100007F:2810 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1\n";

TEST(Listening, WhoListensIsFoundInBothFamilies) {
  EXPECT_TRUE(listed(kOthers + kProxy, 10256));
  EXPECT_TRUE(listed(kProxy6, 10256));
  EXPECT_TRUE(listed(kOthers + kProxy, 8080));
  EXPECT_FALSE(listed(kOthers, 10256));
}

TEST(Listening, AConnectionIsNobodyWhoListensAndEndsTheList) {
  EXPECT_FALSE(listed(kConnected, 10256));
  EXPECT_FALSE(listed(kConnected + kProxy, 10256)) << "the kernel never writes them in this order";
}

TEST(Listening, WhatIsNoTableListsNobody) {
  for (const char* text : {"", "\n", "x", "   1: 0000\n", "   1: nocolon x 0A\n", "   1: 00:zz 00:0 0A\n"}) EXPECT_FALSE(listed(text, 10256)) << text;
}

TEST(Listening, ASocketOfThisMachine) {
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) GTEST_SKIP() << "no IPv6 here";
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_addr = in6addr_loopback;
  socklen_t length = sizeof at;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&at), length) != 0) {
    close(fd);
    GTEST_SKIP() << "::1 is not there";
  }
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&at), &length), 0);
  EXPECT_FALSE(somebody_listens(ntohs(at.sin6_port))) << "bound is not listening";
  ASSERT_EQ(listen(fd, 1), 0);
  EXPECT_TRUE(somebody_listens(ntohs(at.sin6_port)));
  close(fd);
  EXPECT_FALSE(somebody_listens(ntohs(at.sin6_port)));
}

}  // namespace
}  // namespace xlb
