// SPDX-License-Identifier: Apache-2.0
// A return is written by a program in three stores, nonce, flags and time, in an order that no other CPU need keep. Hence
// `flags` stands at "not yet" while an echo is under way, and an echo is home when neither flags nor time are missing.
#include "loader/live_rows.hpp"

#include <atomic>
#include <utility>

#include "loader/bpf_map.hpp"
#include "loader/kernel_tables.hpp"
#include "loader/mapped_array.hpp"
#include "loader/node_row.hpp"
#include "loader/pins.hpp"
#include "loader/program_facts.hpp"

namespace xlb {
namespace {

constexpr std::uint32_t not_yet = ~0u;  // flags of an echo under way

template <typename Field>
std::atomic_ref<Field> atomic(Field& field) {
  return std::atomic_ref<Field>(field);
}

class PinnedLiveRows final : public LiveRows {
 public:
  PinnedLiveRows(NodeRow node, MappedArray<lb_peer> peers, MappedArray<lb_echo> echoes, BpfMap<lb_addr, lb_vip> vips,
                 std::string vips_pin)
      : node_(std::move(node)),
        peers_(std::move(peers)),
        echoes_(std::move(echoes)),
        vips_(std::move(vips)),
        vips_pin_(std::move(vips_pin)) {}

  [[nodiscard]] lb_node node() const override { return node_.read(); }
  void set_lease(std::uint64_t boot_ns) override { node_.set_lease(boot_ns); }
  void set_epoch(std::uint64_t epoch) override { node_.set_epoch(epoch); }

  void expect_echo(std::uint32_t node_id, std::uint64_t nonce) override {
    lb_echo& echo = echoes_[node_id * XLB_ECHOES + static_cast<std::uint32_t>(nonce & (XLB_ECHOES - 1))];
    atomic(echo.nonce).store(0, std::memory_order_relaxed);  // nobody returns the old one into the new one's row
    atomic(echo.returned_mono_ns).store(0, std::memory_order_release);
    atomic(echo.flags).store(not_yet, std::memory_order_release);
    atomic(echo.nonce).store(nonce, std::memory_order_release);
    expected_[node_id * XLB_ECHOES + static_cast<std::uint32_t>(nonce & (XLB_ECHOES - 1))] = nonce;
  }

  std::vector<EchoReturn> take_returns(std::uint32_t node_id) override {
    std::vector<EchoReturn> returns;
    for (std::uint32_t at = node_id * XLB_ECHOES; at < (node_id + 1) * XLB_ECHOES; ++at) {
      lb_echo& echo = echoes_[at];
      const std::uint64_t returned = atomic(echo.returned_mono_ns).load(std::memory_order_acquire);
      if (returned == 0 || expected_[at] == 0) continue;
      const std::uint32_t flags = atomic(echo.flags).load(std::memory_order_acquire);
      if (flags == not_yet) continue;
      returns.push_back({std::exchange(expected_[at], 0), returned, (flags & XLB_WIRE_STALE) != 0});
    }
    return returns;
  }

  void set_presence(std::uint32_t node_id, std::uint32_t presence) override {
    auto flags = atomic(peers_[node_id].flags);
    flags.store((flags.load() & ~(XLB_PEER_ALIVE | XLB_PEER_AWAITED)) | presence);  // this daemon alone writes them
  }

  Result<void> own(const Address& vip, std::uint64_t owned_epoch, std::uint64_t claim_epoch) override {
    const lb_addr key = vip.to_abi();
    auto row = vips_.find(key);
    if (!row) return row.error().in("VIP " + vip.text());
    if (!*row) return Error{"VIP " + vip.text() + ": no row in xlb_vips"};
    if ((*row)->owned_epoch == owned_epoch && (*row)->claim_epoch == claim_epoch) return {};
    (*row)->owned_epoch = owned_epoch;
    (*row)->claim_epoch = claim_epoch;
    if (auto written = vips_.write(key, **row); !written) return written.error().in("VIP " + vip.text());
    return {};
  }

  [[nodiscard]] bool in_force() const override {
    auto pinned = open_pin(vips_pin_);
    return pinned && map_id(pinned->get()) == map_id(vips_.fd());
  }

 private:
  NodeRow node_;
  MappedArray<lb_peer> peers_;
  MappedArray<lb_echo> echoes_;
  std::vector<std::uint64_t> expected_ = std::vector<std::uint64_t>(XLB_MAX_PEERS * XLB_ECHOES);  // nonces, 0: none
  BpfMap<lb_addr, lb_vip> vips_;
  std::string vips_pin_;
};

}  // namespace

Result<std::unique_ptr<LiveRows>> open_live_rows(const std::string& pin_dir) {
  const auto folder = tables_folder(pin_dir);
  if (!folder) return folder.error();
  const auto node_map = BpfMap<std::uint32_t, lb_node>::open(*folder, "xlb_node");
  if (!node_map) return node_map.error();
  const auto peer_map = BpfMap<std::uint32_t, lb_peer>::open(*folder, "xlb_peers");
  if (!peer_map) return peer_map.error();
  const auto echo_map = BpfMap<std::uint32_t, lb_echo>::open(*folder, "xlb_echoes");
  if (!echo_map) return echo_map.error();
  auto vips = BpfMap<lb_addr, lb_vip>::open(*folder, "xlb_vips");
  if (!vips) return vips.error();
  auto node = NodeRow::open(node_map->fd());
  if (!node) return node.error();
  auto peers = MappedArray<lb_peer>::open(peer_map->fd(), peer_map->entries(), "xlb_peers");
  if (!peers) return peers.error();
  auto echoes = MappedArray<lb_echo>::open(echo_map->fd(), echo_map->entries(), "xlb_echoes");
  if (!echoes) return echoes.error();
  return std::unique_ptr<LiveRows>(std::make_unique<PinnedLiveRows>(
      std::move(*node), std::move(*peers), std::move(*echoes), std::move(*vips), *folder + "/xlb_vips"));
}

}  // namespace xlb
