// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/schedule.hpp"

#include <algorithm>

namespace xlb {

namespace {

std::optional<AnnouncementSchedule::Time> after(AnnouncementSchedule::Time taken, AnnouncementSchedule::Time now) {
  const auto since = std::chrono::duration_cast<std::chrono::milliseconds>(now - taken);
  const auto next = next_announcement(since);
  if (!next) return std::nullopt;
  return taken + *next;
}

}  // namespace

void AnnouncementSchedule::set(const std::vector<LinkVips>& owned, Time now) {
  decltype(entries_) kept;
  for (const LinkVips& entry : owned) {
    for (const Address& vip : entry.vips) {
      const std::tuple key(entry.link.attach_ifindex, entry.link.vlan, vip);
      const auto old = entries_.find(key);
      Entry fresh{entry.link, now, after(now, now)};
      if (old != entries_.end()) {
        fresh.taken = old->second.taken;
        fresh.next = old->second.next;
      }
      kept.emplace(key, std::move(fresh));
    }
  }
  entries_ = std::move(kept);
}

std::vector<LinkVips> AnnouncementSchedule::due(Time now) {
  std::vector<LinkVips> result;
  for (auto& [key, entry] : entries_) {
    if (!entry.next || *entry.next > now) continue;
    entry.next = after(entry.taken, now);
    if (result.empty() || result.back().link != entry.link) result.push_back({entry.link, {}});
    result.back().vips.push_back(std::get<Address>(key));
  }
  return result;
}

std::optional<AnnouncementSchedule::Time> AnnouncementSchedule::next() const {
  std::optional<Time> earliest;
  for (const auto& [key, entry] : entries_)
    if (entry.next && (!earliest || *entry.next < *earliest)) earliest = entry.next;
  return earliest;
}

}  // namespace xlb
