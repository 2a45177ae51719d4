// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/sandbox.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace xlb {
namespace {

Error system_error(const std::string& what) {
  return Error{what + ": " + std::strerror(errno)};
}

// A new network namespace as a file; the thread ends up in it.
Result<int> new_space() {
  if (unshare(CLONE_NEWNET) != 0) return system_error("make a network namespace");
  const int file = open("/proc/self/ns/net", O_RDONLY);
  if (file < 0) return system_error("open /proc/self/ns/net");
  return file;
}

Result<void> enter(int space) {
  if (setns(space, CLONE_NEWNET) != 0) return system_error("enter a network namespace");
  return {};
}

}  // namespace

Result<Sandbox*> Sandbox::get() {
  static Result<Sandbox*> made = []() -> Result<Sandbox*> {
    if (geteuid() != 0) return Error{"packet tests need root: they make network namespaces and load BPF programs"};
    static Sandbox sandbox;
    if (auto built = sandbox.build(); !built) return built.error().in("network sandbox");
    return &sandbox;
  }();
  return made;
}

Result<void> Sandbox::run(int space, const std::string& command) const {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) return system_error("pipe");
  const pid_t child = fork();
  if (child < 0) return system_error("fork");
  if (child == 0) {
    dup2(pipe_ends[1], 1);
    dup2(pipe_ends[1], 2);
    close(pipe_ends[0]);
    if (setns(space, CLONE_NEWNET) != 0) _exit(126);
    execl("/bin/sh", "sh", "-ec", command.c_str(), nullptr);
    _exit(127);
  }
  close(pipe_ends[1]);
  std::string output;
  std::array<char, 1024> part;
  for (ssize_t got; (got = read(pipe_ends[0], part.data(), part.size())) > 0;) {
    output.append(part.data(), static_cast<std::size_t>(got));
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Error{command + ": " + output};
  return {};
}

int Sandbox::open_raw(int space, const Interface& interface) const {
  if (setns(space, CLONE_NEWNET) != 0) return -1;
  const int raw = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
  if (raw >= 0) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(interface.ifindex);
    if (bind(raw, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      close(raw);
      setns(node_, CLONE_NEWNET);
      return -1;
    }
  }
  return setns(node_, CLONE_NEWNET) == 0 ? raw : -1;
}

Result<void> Sandbox::build() {
  const auto wire = new_space();
  if (!wire) return wire.error();
  wire_ = *wire;
  const auto pod = new_space();
  if (!pod) return pod.error();
  pod_ = *pod;
  const auto node = new_space();  // last: the thread stays there
  if (!node) return node.error();
  node_ = *node;

  lan0 = {"lan0", 0, "02:00:00:00:00:10"};
  lan1 = {"lan1", 0, "02:00:00:00:00:11"};
  pod0 = {"pod0", 0, "02:00:00:00:01:10"};
  pod1 = {"pod1", 0, "02:00:00:00:01:11"};
  wire0 = {"wire0", 0, "02:00:00:00:00:01"};
  wire1 = {"wire1", 0, "02:00:00:00:00:02"};
  eth0 = {"eth0", 0, "02:00:00:00:01:01"};
  eth1 = {"eth1", 0, "02:00:00:00:01:02"};

  const std::string pid = std::to_string(getpid());
  const auto pair = [&](const Interface& here, const Interface& there, int space) {
    return "ip link add " + here.name + " address " + here.mac.text() + " type veth peer name " + there.name +
           " address " + there.mac.text() + " netns /proc/" + pid + "/fd/" + std::to_string(space) + "\n";
  };
  // Nothing speaks unasked: no router solicitation, no duplicate address detection.
  const std::string quiet =
      "echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra\n"
      "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad\n"
      "echo 0 > /proc/sys/net/ipv6/conf/default/router_solicitations\n"
      "ip link set lo up\n";
  if (auto done = in_wire(quiet); !done) return done;
  if (auto done = in_pod(quiet); !done) return done;
  if (auto done = in_node(quiet + pair(lan0, wire0, wire_) + pair(lan1, wire1, wire_) + pair(pod0, eth0, pod_) +
                          pair(pod1, eth1, pod_) +
                          "echo 1 > /proc/sys/net/ipv4/ip_forward\n"
                          "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n"
                          "ip link set lan0 up mtu 9000; ip link set lan1 up\n"
                          "ip link set pod0 up mtu 1500; ip link set pod1 up mtu 1280\n");
      !done) {
    return done;
  }
  if (auto done = in_wire("ip link set wire0 up mtu 9000; ip link set wire1 up"); !done) return done;
  if (auto done = in_pod("ip link set eth0 up; ip link set eth1 up mtu 1280\n"
                         "ip addr add 10.42.0.2/24 dev eth0; ip addr add fd42::2/64 dev eth0 nodad\n");
      !done) {
    return done;
  }
  if (auto done = in_node(
          "ip addr add 192.168.0.10/24 dev lan0; ip addr add fd00::10/64 dev lan0 nodad\n"
          "ip addr add 192.168.9.10/24 dev lan1; ip addr add fd09::10/64 dev lan1 nodad\n"
          "ip neigh add 192.168.0.1 lladdr 02:00:00:00:00:01 dev lan0\n"
          "ip neigh add 192.168.0.50 lladdr 02:00:00:00:00:50 dev lan0\n"
          "ip neigh add fd00::1 lladdr 02:00:00:00:00:01 dev lan0\n"
          "ip neigh add fd00::50 lladdr 02:00:00:00:00:50 dev lan0\n"
          "ip neigh add 10.42.0.2 lladdr 02:00:00:00:01:01 dev pod0\n"
          "ip neigh add fd42::2 lladdr 02:00:00:00:01:01 dev pod0\n"
          "ip route add default via 192.168.0.1 dev lan0; ip -6 route add default via fd00::1 dev lan0\n"
          "ip route add 10.42.0.2/32 dev pod0; ip -6 route add fd42::2/128 dev pod0\n"
          "ip route add 10.42.0.3/32 dev pod1; ip -6 route add fd42::3/128 dev pod1\n"
          "ip route add 10.99.0.0/16 via 192.168.9.1 dev lan1; ip -6 route add fd99::/64 via fd09::1 dev lan1\n");
      !done) {
    return done;
  }

  const auto index = [](int space, Interface& interface) -> Result<void> {
    if (auto entered = enter(space); !entered) return entered;
    interface.ifindex = if_nametoindex(interface.name.c_str());
    if (interface.ifindex == 0) return system_error(interface.name);
    return {};
  };
  for (Interface* each : {&wire0, &wire1}) {
    if (auto found = index(wire_, *each); !found) return found;
  }
  for (Interface* each : {&eth0, &eth1}) {
    if (auto found = index(pod_, *each); !found) return found;
  }
  for (Interface* each : {&lan0, &lan1, &pod0, &pod1}) {
    if (auto found = index(node_, *each); !found) return found;
  }
  return {};
}

}  // namespace xlb
