// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/loader/pinned_tables.hpp"

#include <bpf/libbpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xdp_lb.skel.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "loader/file.hpp"
#include "maps/abi.h"

namespace xlb {

Result<PinnedTables> PinnedTables::make() {
  char folder[] = "/tmp/xlb-tables-XXXXXX";
  if (mkdtemp(folder) == nullptr) return system_error("make a folder in /tmp");
  PinnedTables tables{folder};
  if (unshare(CLONE_NEWNS) != 0) return system_error("make a mount namespace");
  // In a chroot / is no mount, and there the one below may be seen outside as well; it is taken away all the same.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 && errno != EINVAL)
    return system_error("keep mounts private");
  if (mount("bpf", folder, "bpf", 0, nullptr) != 0) return system_error("mount a bpf filesystem");
  return tables;
}

PinnedTables::PinnedTables(PinnedTables&& other) noexcept : mount_(std::exchange(other.mount_, {})) {}

PinnedTables::~PinnedTables() {
  if (mount_.empty()) return;
  umount2(mount_.c_str(), MNT_DETACH);
  rmdir(mount_.c_str());
}

std::string PinnedTables::folder() const {
  return pin_dir() + "/v" + std::to_string(XLB_ABI_VERSION);
}

Result<void> PinnedTables::pin(const PinnedSizes& sizes) const {
  const std::unique_ptr<xdp_lb_bpf, decltype(&xdp_lb_bpf__destroy)> object(xdp_lb_bpf__open(), &xdp_lb_bpf__destroy);
  if (!object) return system_error("open the BPF object");
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object->obj) {
    bpf_program__set_autoload(program, false);
  }
  bpf_map__set_max_entries(object->maps.xlb_services, sizes.services);
  bpf_map__set_max_entries(object->maps.xlb_svc_stats, sizes.services);
  bpf_map__set_max_entries(object->maps.xlb_backends, sizes.backends);
  bpf_map__set_max_entries(object->maps.xlb_slots, sizes.slots);
  bpf_map__set_max_entries(object->maps.xlb_sources, sizes.sources);
  bpf_map__set_max_entries(object->maps.xlb_flows, sizes.flows);
  if (const int failed = xdp_lb_bpf__load(object.get()); failed != 0) return system_error("make the maps", -failed);
  if (mkdir(pin_dir().c_str(), 0700) != 0 || mkdir(folder().c_str(), 0700) != 0) return system_error("make folders");
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object->obj) {
    if (bpf_map__is_internal(map)) continue;
    const std::string path = folder() + "/" + bpf_map__name(map);
    if (const int failed = bpf_map__pin(map, path.c_str()); failed != 0) return system_error("pin " + path, -failed);
  }
  return {};
}

}  // namespace xlb
