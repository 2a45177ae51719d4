// SPDX-License-Identifier: Apache-2.0
// Asked only when a load has failed (or, for the socket programs, before it): probing costs a system call a helper.
#include "loader/kernel_features.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "loader/file.hpp"

namespace xlb {
namespace {

// Absent from the headers of Debian 12 where newer than 6.1; numbers are ABI.
struct NeededHelper {
  bpf_prog_type program;
  bpf_func_id helper;
  const char* name;
  const char* since;
};

constexpr NeededHelper kLinkHelpers[] = {
    {BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect_neigh, "bpf_redirect_neigh", "5.10"},
    {BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_redirect_peer, "bpf_redirect_peer", "5.10"},
    {BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_check_mtu, "bpf_check_mtu", "5.12"},
    {BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns", "5.11"},
    {BPF_PROG_TYPE_XDP, BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns", "5.11"},
    {BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_ktime_get_boot_ns, "bpf_ktime_get_boot_ns", "5.8"},
    {BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_ringbuf_reserve, "bpf_ringbuf_reserve", "5.8"},
    {BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_fib_lookup, "bpf_fib_lookup", "4.18"},
};
constexpr NeededHelper kSocketHelpers[] = {
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, "bpf_set_retval", "5.18"},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie, "bpf_get_netns_cookie", "5.7"},
    {BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_ktime_get_coarse_ns, "bpf_ktime_get_coarse_ns", "5.11"},
};

std::string kernel_release() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "unknown";
}

std::string lacks(const std::string& what) {
  return "this kernel (" + kernel_release() + ") lacks " + what;
}

template <std::size_t Count>
std::string first_missing(const NeededHelper (&helpers)[Count]) {
  for (const NeededHelper& needed : helpers) {
    if (libbpf_probe_bpf_helper(needed.program, needed.helper, nullptr) != 0) continue;
    return lacks(std::string("the helper ") + needed.name + ", which came with " + needed.since);
  }
  return {};
}

}  // namespace

Result<void> check_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return system_error("ask for this process's capabilities");
  const auto has = [&](unsigned number) { return (data[number / 32].effective & (1u << number % 32)) != 0; };
  std::string missing;
  const auto need = [&](bool held, const char* name) {
    if (!held) missing += (missing.empty() ? "" : ", ") + std::string(name);
  };
  need(has(CAP_NET_ADMIN), "CAP_NET_ADMIN");
  need(has(CAP_BPF) || has(CAP_SYS_ADMIN), "CAP_BPF");
  need(has(CAP_PERFMON) || has(CAP_SYS_ADMIN), "CAP_PERFMON");
  if (!missing.empty()) return Error{"not allowed without " + missing + ": run it as root"};
  return {};
}

std::string missing_for_links() {
  constexpr std::pair<bpf_prog_type, const char*> programs[] = {
      {BPF_PROG_TYPE_SCHED_CLS, "tc programs (CONFIG_NET_CLS_BPF)"}, {BPF_PROG_TYPE_XDP, "XDP programs"}};
  for (const auto& [type, name] : programs) {
    if (libbpf_probe_bpf_prog_type(type, nullptr) == 0) return lacks(name);
  }
  constexpr std::pair<bpf_map_type, const char*> maps[] = {
      {BPF_MAP_TYPE_LRU_HASH, "LRU hash tables"},
      {BPF_MAP_TYPE_LPM_TRIE, "LPM tries"},
      {BPF_MAP_TYPE_RINGBUF, "BPF ring buffers, which came with 5.8"}};
  for (const auto& [type, name] : maps) {
    if (libbpf_probe_bpf_map_type(type, nullptr) == 0) return lacks(name);
  }
  return first_missing(kLinkHelpers);
}

std::string missing_for_sockets() {
  if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, nullptr) == 0) {
    return lacks("BPF programs of control groups (CONFIG_CGROUP_BPF)");
  }
  return first_missing(kSocketHelpers);
}

std::string driver_of(const std::string& interface) {
  const File socket_file(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&info);
  if (!socket_file || ioctl(socket_file.get(), SIOCETHTOOL, &request) != 0) return {};
  return {info.driver, std::find(info.driver, info.driver + sizeof info.driver, '\0')};
}

bool has_whole_frames(const std::string& driver) {
  // "vif" is Xen's. virtio_net switches partial checksums off before it takes an XDP program.
  constexpr std::string_view software[] = {"", "veth", "tun", "netkit", "vif", "vmxnet3", "hv_netvsc"};
  return std::find(std::begin(software), std::end(software), driver) == std::end(software);
}

}  // namespace xlb
