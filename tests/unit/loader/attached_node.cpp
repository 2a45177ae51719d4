// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/loader/attached_node.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "loader/bpf_map.hpp"
#include "loader/program_facts.hpp"

namespace xlb {

Result<File> foreign_program(bool xdp, int answer, const std::string& name) {
  bpf_insn code[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, answer}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  File program(
      bpf_prog_load(xdp ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS, name.c_str(), "GPL", code, 2, nullptr));
  if (!program) return system_error("load " + name);
  return program;
}

void AttachedNode::SetUp() {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes network namespaces and loads programs";
  auto node = NetworkSpace::enter();
  ASSERT_TRUE(node) << node.error().text;
  node_.emplace(std::move(*node));
  auto far = NetworkSpace::make();
  ASSERT_TRUE(far) << far.error().text;
  far_.emplace(std::move(*far));
  auto pins = PinnedTables::make();
  ASSERT_TRUE(pins) << pins.error().text;
  pins_.emplace(std::move(*pins));
  const std::string quiet =
      "for f in accept_dad accept_ra router_solicitations; do echo 0 > /proc/sys/net/ipv6/conf/default/$f; done\n"
      "ip link set lo up\n";
  run(quiet);
  auto done = far_->run(quiet);
  ASSERT_TRUE(done) << done.error().text;
  std::string make;
  for (const char* name : {"lan0", "lan1", "pod0", "pod1"}) {
    make += "ip link add " + std::string(name) + " type veth peer name far-" + name + " netns " + far_->path() + "\n";
  }
  run(make +
      "ip link add cni0 type bridge; ip link set pod0 master cni0; ip link set pod1 master cni0\n"
      "for i in cni0 lan0 lan1 pod0 pod1; do ip link set $i up; done\n"
      "ip addr add 192.168.0.10/24 dev lan0; ip addr add fd00::10/64 dev lan0\n");
  done = far_->run("for i in lan0 lan1 pod0 pod1; do ip link set far-$i up; done");
  ASSERT_TRUE(done) << done.error().text;
  // Carriers come up in the kernel's own time.
  run("for try in $(seq 500); do [ $(ip link | grep -c 'LOWER_UP.* state UP') = 5 ] && exit; sleep 0.02; done; ip "
      "link; exit 1");
  auto plane = open_data_plane(pin_dir());
  ASSERT_TRUE(plane) << plane.error().text;
  plane_ = std::move(*plane);
}

void AttachedNode::TearDown() {
  if (plane_) {
    auto gone = plane_->detach_all();
    EXPECT_TRUE(gone) << gone.error().text;
  }
  if (!cgroup_.empty()) rmdir(cgroup_.c_str());
}

void AttachedNode::run(const std::string& commands) const {
  const auto done = node_->run(commands);
  ASSERT_TRUE(done) << done.error().text;
}

std::string AttachedNode::output(const std::string& commands) const {
  const auto done = node_->output(commands);
  EXPECT_TRUE(done) << done.error().text;
  return done ? *done : std::string();
}

std::uint32_t AttachedNode::ifindex(const std::string& name) const {
  return if_nametoindex(name.c_str());
}

std::string AttachedNode::everything() const {
  const std::string text = output(
      // What ip has to say about other people's namespaces that come and go is no difference.
      "exec 2>/dev/null; ip -d link; ip addr; ip maddr; ip route show table all; ip -6 route show table all; ip "
      "rule; ip -6 neigh show "
      "proxy; tc qdisc\n"
      "for i in lan0 lan1 pod0 pod1 cni0; do ip link show $i > /dev/null 2>&1 || continue\n"
      "echo filters of $i; tc filter show dev $i ingress; tc filter show dev $i egress\n"
      "ethtool -k $i 2>/dev/null || true; done\n"
      "ls -R " +
      pin_dir().substr(0, pin_dir().find_last_of('/')));
  // Timers of a bridge only count, and so do the stations that it has learned, which newer versions of ip show.
  return std::regex_replace(text, std::regex("([a-z_]+_timer|fdb_n_learned) +[0-9.]+ ?"), "");
}

// The kernel lists groups and routes in an order of its own, which says nothing.
std::string AttachedNode::difference(const std::string& before, const std::string& after) {
  std::map<std::string, int> counts;
  const auto count = [&counts](const std::string& text, int one) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) counts[line] += one;
  };
  count(before, -1);
  count(after, 1);
  std::string said;
  for (const auto& [line, more] : counts) {
    if (more != 0) said += (more < 0 ? "- " : "+ ") + line + "\n";
  }
  return said;
}

std::string AttachedNode::filters(const std::string& interface) const {
  return output("tc filter show dev " + interface + " ingress; tc filter show dev " + interface + " egress");
}

AttachedLink AttachedNode::attach(const std::string& interface, AttachMode mode) {
  auto link = plane_->attach({.interface = interface, .mode = mode, .try_for = {}, .cgroup = {}});
  EXPECT_TRUE(link) << link.error().text;
  return link ? *link : AttachedLink{};
}

std::string AttachedNode::refusal(const AttachRequest& request) {
  const std::string before = everything();
  const auto link = plane_->attach(request);
  EXPECT_FALSE(link) << request.interface << " was attached: " << link->reason;
  EXPECT_EQ(difference(before, everything()), "") << "something was half-done";
  if (link) return {};
  EXPECT_EQ(link.error().text.find('\n'), std::string::npos) << "one sentence, not:\n" << link.error().text;
  return link.error().text;
}

std::string AttachedNode::make_cgroup() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, folder, kind;
    words >> device >> folder >> kind;
    if (kind != "cgroup2") continue;
    cgroup_ = folder + "/xlb-loader-test-" + std::to_string(getpid());
    if (mkdir(cgroup_.c_str(), 0755) == 0) return cgroup_;
    cgroup_.clear();
  }
  return {};
}

unsigned AttachedNode::programs_at(const std::string& cgroup) {
  const File folder(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY));
  unsigned found = 0;
  for (const bpf_attach_type type : {BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_UDP4_SENDMSG,
                                     BPF_CGROUP_UDP6_SENDMSG, BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_UDP6_RECVMSG,
                                     BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME}) {
    std::array<__u32, 8> ids{};
    __u32 flags = 0, count = ids.size();
    if (bpf_prog_query(folder.get(), type, 0, &flags, ids.data(), &count) == 0) found += count;
  }
  return found;
}

std::uint32_t AttachedNode::pinned_map(const std::string& path) {
  const File map(bpf_obj_get(path.c_str()));
  return map_id(map.get());
}

}  // namespace xlb
