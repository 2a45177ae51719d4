// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/lease.hpp"

namespace xlb {

bool Lease::take_over(std::uint64_t now_ns) {
  const lb_node node = rows_.node();
  const bool fresh = node.lease_boot_ns == XLB_FOREVER || now_ns < node.lease_boot_ns;
  // In this order: a new lease must not be seen beside the old epoch.
  if (!fresh) rows_.set_epoch(node.epoch + 1);
  rows_.set_lease(now_ns + static_cast<std::uint64_t>(length_.count()));
  return fresh;
}

bool Lease::renew(const std::function<std::uint64_t()>& now_ns) {
  const lb_node node = rows_.node();
  std::uint64_t now = now_ns();
  const auto over = [&] { return node.lease_boot_ns != XLB_FOREVER && now >= node.lease_boot_ns; };
  if (!over()) {
    rows_.set_lease(now + static_cast<std::uint64_t>(length_.count()));
    // Stopped between the two looks at the clock, the store above came too late and revived what was over.
    now = now_ns();
    if (!over()) return true;
  }
  rows_.set_epoch(node.epoch + 1);
  rows_.set_lease(now + static_cast<std::uint64_t>(length_.count()));
  return false;
}

}  // namespace xlb
