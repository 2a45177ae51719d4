// SPDX-License-Identifier: Apache-2.0
#include "loader/socket_programs.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/stat.h>

#include <algorithm>

#include "loader/bpf_link.hpp"

namespace xlb {
namespace {

struct SocketProgram {
  const char* name;
  const char* pin;
  bpf_attach_type type;
};
constexpr SocketProgram kPrograms[] = {
    // What names the peer comes before what changes it: no connection is made whose answers nobody translates.
    {"xlb_recvmsg4", "cgroup-recvmsg4", BPF_CGROUP_UDP4_RECVMSG},
    {"xlb_recvmsg6", "cgroup-recvmsg6", BPF_CGROUP_UDP6_RECVMSG},
    {"xlb_peername4", "cgroup-getpeername4", BPF_CGROUP_INET4_GETPEERNAME},
    {"xlb_peername6", "cgroup-getpeername6", BPF_CGROUP_INET6_GETPEERNAME},
    {"xlb_connect4", "cgroup-connect4", BPF_CGROUP_INET4_CONNECT},
    {"xlb_connect6", "cgroup-connect6", BPF_CGROUP_INET6_CONNECT},
    {"xlb_sendmsg4", "cgroup-sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    {"xlb_sendmsg6", "cgroup-sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
};

Result<bool> at_cgroup(const std::string& pin, std::uint64_t cgroup_id) {
  auto link = open_pin(pin);
  if (!link) return link.error();
  auto facts = link_facts(link->get());
  if (!facts) return facts.error().in(pin);
  return facts->cgroup_id == cgroup_id;
}

Result<void> remove_one(const std::string& pin) {
  if (!exists(pin)) return {};
  if (auto link = open_pin(pin)) (void)bpf_link_detach(link->get());  // its control group may have gone
  return remove_pin(pin);
}

}  // namespace

Result<void> put_socket_programs(int cgroup, const std::string& path, const Pins& pins, const Programs& programs) {
  struct stat info {};
  if (fstat(cgroup, &info) != 0) return system_error("look at the control group " + path);
  for (const SocketProgram& program : kPrograms) {
    const std::string pin = pins.links() + "/" + program.pin;
    if (exists(pin)) {
      auto same = at_cgroup(pin, info.st_ino);
      if (!same) return same.error();
      if (*same) {
        if (auto updated = update_link(pin, programs.get(program.name)); !updated) return updated;
        continue;
      }
      if (auto gone = remove_one(pin); !gone) return gone;
    }
    const auto refused = pin_new_cgroup_link(programs.get(program.name), cgroup, program.type, pin);
    if (!refused) continue;
    const std::string why = *refused == EPERM
                                ? std::string(
                                      "somebody else has a program there, or above it, that tolerates no other: "
                                      "see bpftool cgroup tree; or leave local clients alone with --cgroup none")
                                : std::strerror(*refused);
    return Error{std::string("attach ") + program.name + " to the control group " + path + ": " + why};
  }
  return {};
}

Result<void> update_socket_programs(const Pins& pins, const Programs& programs) {
  for (const SocketProgram& program : kPrograms) {
    const std::string pin = pins.links() + "/" + program.pin;
    const int loaded = programs.get(program.name);
    if (!exists(pin) || loaded < 0) continue;
    if (auto updated = update_link(pin, loaded); !updated) return updated;
  }
  return {};
}

Result<void> remove_socket_programs(const Pins& pins) {
  for (auto program = std::rbegin(kPrograms); program != std::rend(kPrograms); ++program) {
    if (auto gone = remove_one(pins.links() + "/" + program->pin); !gone) return gone;
  }
  return {};
}

bool has_socket_programs(const Pins& pins) {
  return std::any_of(std::begin(kPrograms), std::end(kPrograms),
                     [&](const SocketProgram& program) { return exists(pins.links() + "/" + program.pin); });
}

}  // namespace xlb
