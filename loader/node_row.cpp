// SPDX-License-Identifier: Apache-2.0
#include "loader/node_row.hpp"

#include <atomic>

namespace xlb {
namespace {

template <typename Field>
Field load(Field& field) {
  return std::atomic_ref(field).load(std::memory_order_acquire);
}

template <typename Field>
void store(Field& field, Field value) {
  std::atomic_ref(field).store(value, std::memory_order_release);
}

}  // namespace

Result<NodeRow> NodeRow::open(int map_fd) {
  auto rows = MappedArray<lb_node>::open(map_fd, 1, "xlb_node");
  if (!rows) return rows.error();
  return NodeRow(std::move(*rows));
}

lb_node NodeRow::read() const {
  lb_node node{};
  node.lease_boot_ns = load(row().lease_boot_ns);
  node.try_mono_ns = load(row().try_mono_ns);
  node.epoch = load(row().epoch);
  node.tcp_idle_ns = load(row().tcp_idle_ns);
  node.trace_until_mono_ns = load(row().trace_until_mono_ns);
  node.trace_every = load(row().trace_every);
  node.reject_per_second = load(row().reject_per_second);
  node.abi_version = load(row().abi_version);
  return node;
}

void NodeRow::set_lease(std::uint64_t boot_ns) {
  store<__u64>(row().lease_boot_ns, boot_ns);
}

void NodeRow::set_epoch(std::uint64_t epoch) {
  store<__u64>(row().epoch, epoch);
}

void NodeRow::set_try(std::uint64_t mono_ns) {
  store<__u64>(row().try_mono_ns, mono_ns);
}

void NodeRow::set_trace(std::uint64_t until_mono_ns, std::uint32_t every) {
  store<__u32>(row().trace_every, every);
  store<__u64>(row().trace_until_mono_ns, until_mono_ns);
}

}  // namespace xlb
