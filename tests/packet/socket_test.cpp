// SPDX-License-Identifier: Apache-2.0
// Clients on the node itself: sockets of a real process in a cgroup of its own, real servers, the programs attached
// there.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

// An address as sockets of either family take it.
struct Name {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  Name() = default;
  // `mapped`: an IPv4 address for an IPv6 socket, ::ffff:a.b.c.d.
  Name(const IpAddress& address, std::uint16_t port, bool mapped = false) {
    if (address.is_ipv4() && !mapped) {
      auto* in = reinterpret_cast<sockaddr_in*>(&storage);
      in->sin_family = AF_INET;
      in->sin_port = htons(port);
      std::memcpy(&in->sin_addr, address.bytes.data() + 12, 4);
      size = sizeof(sockaddr_in);
    } else {
      auto* in = reinterpret_cast<sockaddr_in6*>(&storage);
      in->sin6_family = AF_INET6;
      in->sin6_port = htons(port);
      std::memcpy(&in->sin6_addr, address.bytes.data(), 16);
      size = sizeof(sockaddr_in6);
    }
  }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] std::string text() const {
    if (storage.ss_family == AF_INET) {
      const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
      IpAddress address("0.0.0.0");
      std::memcpy(address.bytes.data() + 12, &in->sin_addr, 4);
      return address.text() + " " + std::to_string(ntohs(in->sin_port));
    }
    if (storage.ss_family == AF_INET6) {
      const auto* in = reinterpret_cast<const sockaddr_in6*>(&storage);
      IpAddress address;
      std::memcpy(address.bytes.data(), &in->sin6_addr, 16);
      return address.text() + " " + std::to_string(ntohs(in->sin6_port));
    }
    return "none";
  }
};

std::string cgroup2_mount() {
  std::ifstream mounts("/proc/mounts");
  for (std::string device, where, type, rest; mounts >> device >> where >> type && std::getline(mounts, rest);) {
    if (type == "cgroup2") return where;
  }
  return {};
}

class SocketTest : public PacketTest {
 protected:
  void SetUp() override {
    PacketTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string mount = cgroup2_mount();
    if (mount.empty()) GTEST_SKIP() << "no cgroup2 hierarchy is mounted";
    cgroup_ = mount + "/xlb-packet-test-" + std::to_string(getpid());
    ASSERT_EQ(mkdir(cgroup_.c_str(), 0755), 0) << cgroup_ << ": " << std::strerror(errno);
    const int folder = open(cgroup_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const char* name : {"xlb_connect4", "xlb_connect6", "xlb_sendmsg4", "xlb_sendmsg6", "xlb_recvmsg4",
                             "xlb_recvmsg6", "xlb_peername4", "xlb_peername6"}) {
      const bpf_program* program = bpf_object__find_program_by_name(rig().object(), name);
      ASSERT_NE(program, nullptr) << name;
      links_.push_back(bpf_program__attach_cgroup(program, folder));
      ASSERT_NE(links_.back(), nullptr) << name;
    }
    close(folder);
    tcp_server_ = serve(SOCK_STREAM, &tcp_port_);
    udp_server_ = serve(SOCK_DGRAM, &udp_port_);
    second_server_ = serve(SOCK_STREAM, &second_port_);
    rig().set_backend(kPodA, on_node(tcp_port_, IPPROTO_TCP));
    rig().set_backend(kPodB, on_node(second_port_, IPPROTO_TCP));
    rig().set_backend(kPodAUdp, on_node(udp_port_, IPPROTO_UDP));
  }

  void TearDown() override {
    for (bpf_link* each : links_) bpf_link__destroy(each);
    for (const int file : {tcp_server_, udp_server_, second_server_}) {
      if (file >= 0) close(file);
    }
    if (!cgroup_.empty()) rmdir(cgroup_.c_str());
  }

  lb_backend on_node(std::uint16_t port, std::uint8_t protocol) const {
    lb_backend row = backend_row(node_address, port, protocol, 0);
    row.flags |= XLB_BACKEND_HOST;
    return row;
  }

  int serve(int type, std::uint16_t* port) const {
    Name name(node_address, 0);
    const int file = socket(name.family(), type | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(file, name.get(), name.size), 0) << std::strerror(errno);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(listen(file, 64), 0);
    }
    Name bound;
    getsockname(file, bound.get(), &bound.size);
    *port = ntohs(reinterpret_cast<sockaddr_in*>(&bound.storage)->sin_port);  // the same place in both families
    return file;
  }

  // Runs `work` in a process of the cgroup and returns what it writes.
  std::string as_client(const std::function<std::string()>& work) const {
    int ends[2];
    if (pipe(ends) != 0) return "pipe";
    const pid_t child = fork();
    if (child == 0) {
      alarm(10);
      std::ofstream(cgroup_ + "/cgroup.procs") << "0" << std::flush;
      const std::string result = work();
      const ssize_t written = write(ends[1], result.data(), result.size());
      _exit(written == static_cast<ssize_t>(result.size()) ? 0 : 1);
    }
    close(ends[1]);
    std::string out;
    char part[256];
    for (ssize_t got; (got = read(ends[0], part, sizeof part)) > 0;) out.append(part, static_cast<std::size_t>(got));
    close(ends[0]);
    waitpid(child, nullptr, 0);
    return out;
  }

  // "connected <peer>" or the error's name.
  static std::string connect_to(Name to, int type = SOCK_STREAM, std::optional<Name> from = {}) {
    const int file = socket(to.family(), type | SOCK_NONBLOCK, 0);
    if (file < 0) return std::string("socket: ") + std::strerror(errno);
    if (from && bind(file, from->get(), from->size) != 0) return std::string("bind: ") + std::strerror(errno);
    if (connect(file, to.get(), to.size) != 0 && errno != EINPROGRESS) return std::strerror(errno);
    pollfd wait{.fd = file, .events = POLLOUT, .revents = 0};
    if (type == SOCK_STREAM && poll(&wait, 1, 300) <= 0) return "no answer";
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return std::strerror(error);
    Name peer;
    if (getpeername(file, peer.get(), &peer.size) != 0) return std::string("getpeername: ") + std::strerror(errno);
    return "connected " + peer.text();
  }

  // Sends "ping" to a name and returns who the answer seems to come from.
  static std::string ask(Name to) {
    const int file = socket(to.family(), SOCK_DGRAM, 0);
    if (sendto(file, "ping", 4, 0, to.get(), to.size) != 4) return std::string("sendto: ") + std::strerror(errno);
    pollfd wait{.fd = file, .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 2000) <= 0) return "no answer";
    char buffer[16];
    Name from;
    const ssize_t got = recvfrom(file, buffer, sizeof buffer, 0, from.get(), &from.size);
    return std::string(buffer, got > 0 ? static_cast<std::size_t>(got) : 0) + " from " + from.text();
  }

  // Answers one datagram of the UDP server from a process of its own, outside of the cgroup.
  void answer_one() const {
    if (fork() != 0) return;
    alarm(5);
    char buffer[16];
    Name from;
    const ssize_t got = recvfrom(udp_server_, buffer, sizeof buffer, 0, from.get(), &from.size);
    if (got > 0) sendto(udp_server_, "pong", 4, 0, from.get(), from.size);
    _exit(0);
  }

  static int accepted(int server) {
    int count = 0;
    fcntl(server, F_SETFL, O_NONBLOCK);
    for (int file; (file = accept(server, nullptr, nullptr)) >= 0; count++) close(file);
    return count;
  }

  std::uint64_t counted(enum xlb_verdict verdict) { return rig().traces().counters[verdict].packets; }
  void expect_nothing_counted() {
    const Traces now = rig().traces();
    for (const lb_counter& counter : now.counters) EXPECT_EQ(counter.packets, 0u);
  }
  std::string vip_text(std::uint16_t port) const { return vip.text() + " " + std::to_string(port); }

  std::string cgroup_;
  std::vector<bpf_link*> links_;
  int tcp_server_ = -1, udp_server_ = -1, second_server_ = -1;
  std::uint16_t tcp_port_ = 0, udp_port_ = 0, second_port_ = 0;
};
XLB_RUN_SUITE(SocketTest, Ways{Way::tc}, kBothNets);
class SocketIpv4Test : public SocketTest {};
XLB_RUN_SUITE(SocketIpv4Test, Ways{Way::tc}, kIpv4Only);

TEST_P(SocketTest, ConnectReachesTheBackendAndSeesTheVip) {
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(tcp_server_), 1);
  EXPECT_EQ(counted(XLB_VERDICT_SOCKET), 1u);
  EXPECT_EQ(rig().traces().services.at(kWeb).flows, 1u);
}

TEST_P(SocketTest, ABackendOfThisNodeIsPreferredToOneOnAPeer) {
  // Two servers here stand for both: what matters is which one the hook picks.
  lb_peer peer{};
  peer.flags = XLB_PEER_ALIVE;
  rig().set_peer(5, peer);
  lb_backend there = on_node(tcp_port_, IPPROTO_TCP);
  there.flags = XLB_BACKEND_LIVE;
  there.node_id = 5;
  rig().set_backend(kPodA, there);
  lb_service web = service_row(kWeb);
  web.local_slot_base += 10 * kSlotsPerService;
  fill_slots(kWeb + 10, {kPodB, 0});
  rig().set_service(kVipId, 80, IPPROTO_TCP, web);
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(second_server_), 1);
  // None is here, or none that may be used.
  change_backend(kPodB, 0);
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(tcp_server_), 1);
  web.local_slot_count = 0;
  rig().set_service(kVipId, 80, IPPROTO_TCP, web);
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(tcp_server_), 1);
  peer.flags = 0;
  rig().set_peer(5, peer);
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), std::strerror(ECONNREFUSED));
}

TEST_P(SocketTest, DatagramIsAnsweredByTheVip) {
  answer_one();
  EXPECT_EQ(as_client([&] { return ask(Name(vip, 53)); }), "pong from " + vip_text(53));
  EXPECT_EQ(counted(XLB_VERDICT_SOCKET), 1u);
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

TEST_P(SocketTest, ConnectedDatagramSocketSeesTheVip) {
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 53), SOCK_DGRAM); }), "connected " + vip_text(53));
}

TEST_P(SocketTest, OtherAddressesAreLeftAlone) {
  const std::string here = node_address.text() + " " + std::to_string(tcp_port_);
  EXPECT_EQ(as_client([&] { return connect_to(Name(node_address, tcp_port_)); }), "connected " + here);
  expect_nothing_counted();
}

TEST_P(SocketTest, ClosedPortIsRefusedAtOnce) {
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 81)); }), std::strerror(ECONNREFUSED));
  EXPECT_EQ(counted(XLB_VERDICT_REJECTED_TCP), 1u);
  EXPECT_EQ(as_client([&] { return ask(Name(vip, 81)); }), std::string("sendto: ") + std::strerror(ECONNREFUSED));
  EXPECT_EQ(counted(XLB_VERDICT_REJECTED_UDP), 1u);
}

TEST_P(SocketTest, NoBackendIsRefusedAtOnce) {
  fill_slots(kWeb, {0, 0});
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), std::strerror(ECONNREFUSED));
  EXPECT_EQ(counted(XLB_VERDICT_NO_BACKEND), 1u);
}

TEST_P(SocketTest, SecondBackendTakesOver) {
  lb_backend dead = on_node(tcp_port_, IPPROTO_TCP);
  dead.flags &= ~XLB_BACKEND_LIVE;
  rig().set_backend(kPodA, dead);
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(second_server_), 1);
}

TEST_P(SocketTest, SourceRangesAskForTheAddressThatTheSocketIsBoundTo) {
  // Before connect() a socket has no source unless it is bound: who does not say where from may not.
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_SOURCES));
  rig().allow_source(kWeb, node_address, v4() ? 32 : 128);
  const Name bound(node_address, 0), elsewhere(v4() ? "192.168.9.10" : "fd09::10", 0);
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80), SOCK_STREAM, bound); }), "connected " + vip_text(80));
  EXPECT_EQ(counted(XLB_VERDICT_DENIED), 0u);
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80), SOCK_STREAM, elsewhere); }),
            std::strerror(ECONNREFUSED));
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80)); }), std::strerror(ECONNREFUSED));
  EXPECT_EQ(counted(XLB_VERDICT_DENIED), 2u);
}

TEST_P(SocketTest, VipWithFallBackIsKubeProxys) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  EXPECT_NE(as_client([&] { return connect_to(Name(vip, 80)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(tcp_server_), 0);
  expect_nothing_counted();
}

TEST_P(SocketTest, TryDeadlineOverLeavesSocketsAlone) {
  node.try_mono_ns = mono_ns() - XLB_SECOND_NS;
  rig().set_node(node);
  EXPECT_NE(as_client([&] { return connect_to(Name(vip, 80)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(tcp_server_), 0);
  expect_nothing_counted();
}

TEST_P(SocketTest, ProcessesOfOtherCgroupsAreLeftAlone) {
  EXPECT_NE(connect_to(Name(vip, 80)), "connected " + vip_text(80));
  expect_nothing_counted();
}

TEST_P(SocketTest, SocketsSpreadWithoutAffinityAndStayWithIt) {
  for (std::uint32_t slot = 0; slot < kSlotsPerService; slot++) {
    rig().set_slot(kWeb * kSlotsPerService + slot, slot % 2 ? lb_slot{kPodA, 0} : lb_slot{kPodB, 0});
  }
  const auto connect_often = [&] {
    std::string all;
    for (int i = 0; i < 40; i++) all += connect_to(Name(vip, 80))[0];
    return all;
  };
  EXPECT_EQ(as_client(connect_often), std::string(40, 'c'));
  const int first = accepted(tcp_server_), second = accepted(second_server_);
  EXPECT_EQ(first + second, 40);
  EXPECT_GT(first, 5);
  EXPECT_GT(second, 5);
  rig().set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb, XLB_SERVICE_AFFINITY));
  EXPECT_EQ(as_client(connect_often), std::string(40, 'c'));
  const int with_first = accepted(tcp_server_), with_second = accepted(second_server_);
  EXPECT_TRUE((with_first == 40 && with_second == 0) || (with_first == 0 && with_second == 40))
      << with_first << " and " << with_second;
}

TEST_P(SocketIpv4Test, Ipv6SocketMayConnectToAnIpv4Vip) {
  // Java and Go programs use IPv6 sockets for everything: the VIP comes as ::ffff:192.168.0.200.
  EXPECT_EQ(as_client([&] { return connect_to(Name(vip, 80, true)); }), "connected " + vip_text(80));
  EXPECT_EQ(accepted(tcp_server_), 1);
}

TEST_P(SocketIpv4Test, Ipv6SocketMaySendToAnIpv4Vip) {
  answer_one();
  EXPECT_EQ(as_client([&] { return ask(Name(vip, 53, true)); }), "pong from " + vip_text(53));
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace
}  // namespace xlb
