// SPDX-License-Identifier: Apache-2.0
#include "loader/kernel_data_plane.hpp"

#include <sys/stat.h>

#include <chrono>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "loader/attachment.hpp"
#include "loader/groups.hpp"
#include "loader/kept_lists.hpp"
#include "loader/kernel_tables.hpp"
#include "loader/pins.hpp"

namespace xlb {
namespace {

constexpr auto kRowsBelieved = std::chrono::seconds(30);  // what is kept: as long as KeptLists believes its lists

class KernelDataPlane final : public DataPlane {
 public:
  explicit KernelDataPlane(const std::string& pin_dir) : pins_(pin_dir) {}

  Result<AttachedLink> attach(const AttachRequest& request) override {
    return act([&](Attachment& attachment) { return attachment.attach(request); });
  }
  Result<void> detach(const std::string& interface) override {
    return act([&](Attachment& attachment) { return attachment.detach(interface); });
  }
  Result<void> detach_all() override {
    return act([](Attachment& attachment) { return attachment.detach_all(); });
  }
  Result<void> upgrade() override {
    return act([](Attachment& attachment) { return attachment.upgrade(); });
  }

  Result<std::vector<AttachedLink>> attached() override {
    struct stat info {};
    if (lstat(pins_.tables().c_str(), &info) != 0) {
      if (errno == ENOENT) return std::vector<AttachedLink>();
      return system_error("look into the pin directory " + pins_.folder() + (errno == EACCES ? " (needs root)" : ""));
    }
    auto attachment = look();
    return attachment ? attachment->attached() : attachment.error();
  }

  Result<lb_node> node() override {
    auto tables = open();
    return tables ? tables->node() : tables.error();
  }
  Result<void> set_trace(std::uint64_t until_mono_ns, std::uint32_t every) override {
    auto tables = open();
    if (!tables) return tables.error();
    auto row = tables->node_row();
    if (!row) return row.error();
    row->set_trace(until_mono_ns, every);
    return {};
  }
  Result<void> give_lease_for_ever() override {
    auto tables = open();
    if (!tables) return tables.error();
    auto row = tables->node_row();
    if (!row) return row.error();
    row->set_lease(XLB_FOREVER);
    return {};
  }
  Result<Capacity> capacity() override {
    auto tables = open();
    if (!tables) return tables.error();
    return tables->capacity();
  }
  Result<Counters> counters() override {
    auto tables = open();
    return tables ? tables->counters() : tables.error();
  }
  Result<std::vector<FlowRow>> flows() override {
    auto tables = open();
    return tables ? tables->flows() : tables.error();
  }

  Result<Tables> installed() override;
  void keep(Tables tables) override { kept_ = std::move(tables); }
  void forget() override {
    if (kept_) stretches_ = std::move(kept_->slots);
    kept_.reset();
  }
  Result<void> apply(const Edits& edits) override;

 private:
  Result<KernelTables> open() const { return KernelTables::open(pins_.folder()); }
  Result<Attachment> look() {
    if (!lists_) {
      auto lists = KeptLists::open();
      if (!lists) return lists.error();
      lists_.emplace(std::move(*lists));
    }
    return Attachment::open(pins_, *lists_);
  }
  // The kernel does not notify of all that an act changes.
  template <typename Act>
  std::invoke_result_t<Act, Attachment&> act(const Act& change) {
    auto attachment = look();
    if (!attachment) return attachment.error();
    auto done = change(*attachment);
    lists_->forget();
    forget();
    return done;
  }
  Result<Tables> read();

  Pins pins_;
  std::optional<KeptLists> lists_;  // since they were needed first
  std::optional<Tables> kept_;
  std::chrono::steady_clock::time_point read_at_{};  // when what is kept was last read from the tables
  SlotStretches stretches_;  // of what is kept no more: what still stands in the tables is not read into memory anew
};

Result<Tables> KernelDataPlane::read() {
  const auto now = std::chrono::steady_clock::now();
  if (now - read_at_ >= kRowsBelieved) forget();
  auto tables = open();
  if (!tables) return tables.error();
  if (kept_) {
    Tables kept = std::move(*std::exchange(kept_, std::nullopt));
    if (auto fresh = tables->read_links_and_peers(kept); !fresh) return fresh.error();
    return kept;
  }
  read_at_ = now;
  return tables->read(std::exchange(stretches_, {}));
}

Result<Tables> KernelDataPlane::installed() {
  auto tables = read();
  if (!tables) return tables;
  auto attachment = look();
  if (!attachment) return attachment.error();
  std::set<std::uint32_t> veths, l3_interfaces;
  for (const auto& [key, row] : tables->links) {
    if (row.role == XLB_LINK_RETURN) veths.insert(key.ifindex);
    if (row.role == XLB_LINK_LAN) l3_interfaces.insert(row.l3_ifindex);
  }
  auto returns = attachment->returns_among(veths);
  if (!returns) return returns.error();
  tables->returns = std::move(*returns);
  auto groups = joined_groups(attachment->netlink(), l3_interfaces);
  if (!groups) return groups.error();
  tables->groups = std::move(*groups);
  return tables;
}

Result<void> KernelDataPlane::apply(const Edits& edits) {
  if (edits.empty()) return {};
  auto tables = open();
  if (!tables) return tables.error();
  std::optional<Attachment> attachment;  // for those edits only that need it: it may have to list the interfaces anew
  for (const Edit& edit : edits) {
    auto done = std::visit(
        [&](const auto& one) -> Result<void> {
          using Kind = std::remove_cvref_t<decltype(one)>;
          if constexpr (std::is_same_v<Kind, EditReturn> || std::is_same_v<Kind, EditGroup>) {
            if (!attachment) {
              auto opened = look();
              if (!opened) return opened.error();
              attachment.emplace(std::move(*opened));
            }
          }
          if constexpr (std::is_same_v<Kind, EditReturn>) {
            return one.attached ? attachment->put_return(*tables, one.ifindex)
                                : attachment->remove_return(*tables, one.ifindex);
          } else if constexpr (std::is_same_v<Kind, EditGroup>) {
            return one.joined ? join_group(attachment->netlink(), one.group)
                              : leave_group(attachment->netlink(), one.group);
          } else {
            return tables->apply(one);
          }
        },
        edit);
    if (done) continue;
    const bool said = !std::holds_alternative<EditReturn>(edit) && !std::holds_alternative<EditGroup>(edit);
    return said ? done : done.error().in(describe(edit));
  }
  return {};
}

}  // namespace

const char* attach_mode_text(AttachMode mode) {
  switch (mode) {
    case AttachMode::automatic:
      return "auto";
    case AttachMode::native:
      return "native";
    case AttachMode::tc:
      return "tc";
    case AttachMode::generic:
      return "generic";
  }
  return "unknown";
}

Result<std::unique_ptr<DataPlane>> open_data_plane(const std::string& pin_dir) {
  if (pin_dir.empty() || pin_dir[0] != '/') {
    return Error{"the pin directory \"" + pin_dir + "\" is no absolute path: one below /sys/fs/bpf is needed"};
  }
  return std::unique_ptr<DataPlane>(std::make_unique<KernelDataPlane>(pin_dir));
}

}  // namespace xlb
