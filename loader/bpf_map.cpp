// SPDX-License-Identifier: Apache-2.0
#include "loader/bpf_map.hpp"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace xlb {
namespace {

constexpr std::uint32_t batch_rows = 4096;
constexpr int kernel_enotsupp = 524;     // the kernel's own ENOTSUPP, which has no name in user space
constexpr std::size_t cursor_size = 64;  // of a batch: a bucket number or a key

bool per_cpu(std::uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

bool no_batches(int number) {
  return number == kernel_enotsupp || number == EOPNOTSUPP || number == EINVAL;
}

}  // namespace

Result<PinnedMap> PinnedMap::open(const std::string& folder, const std::string& name, std::size_t key_size,
                                  std::size_t value_size) {
  const std::string path = folder + "/" + name;
  PinnedMap map;
  map.name_ = name;
  map.file_ = File(bpf_obj_get(path.c_str()));
  if (!map.file_) {
    const int number = errno;
    if (number == EPERM || number == EACCES) return Error{path + ": permission denied; reading tables needs root"};
    if (number == ENOENT)
      return Error{path + ": this table is missing, its pin has been removed: take the rest away (xdp-lb detach --all), "
                          "then attach again"};
    return system_error("open table " + path, number);
  }
  bpf_map_info info{};
  std::uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map.fd(), &info, &length) != 0) return system_error("ask about table " + path);
  if (info.key_size != key_size || info.value_size != value_size) {
    const auto sizes = [](std::size_t key, std::size_t value) {
      return std::to_string(key) + " + " + std::to_string(value) + " bytes";
    };
    return Error{path + ": an entry has " + sizes(info.key_size, info.value_size) + ", this build expects " +
                 sizes(key_size, value_size) +
                 ": another build made it; detach all links with that one, then attach them with this one"};
  }
  map.key_size_ = key_size;
  map.value_size_ = value_size;
  map.entries_ = info.max_entries;
  if (per_cpu(info.type)) {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus <= 0) return system_error("count the possible CPUs", -cpus);
    map.copies_ = static_cast<std::size_t>(cpus);
  }
  return map;
}

Error PinnedMap::failure(const std::string& doing, int number) const {
  // Hashes say E2BIG, tries ENOSPC.
  if (number == E2BIG || number == ENOSPC) {
    return Error{name_ + ": full: it was made for " + std::to_string(entries_) + " entries"};
  }
  return system_error(name_ + ": " + doing, number);
}

Result<bool> PinnedMap::find(const void* key, void* value) const {
  if (bpf_map_lookup_elem(fd(), key, value) == 0) return true;
  if (errno == ENOENT) return false;
  return failure("look an entry up", errno);
}

Result<void> PinnedMap::write(const void* key, const void* value) const {
  if (bpf_map_update_elem(fd(), key, value, BPF_ANY) != 0) return failure("write an entry", errno);
  return {};
}

Result<void> PinnedMap::erase(const void* key) const {
  if (bpf_map_delete_elem(fd(), key) != 0 && errno != ENOENT) return failure("erase an entry", errno);
  return {};
}

Result<void> PinnedMap::each(const Take& take) const {
  std::array<std::byte, cursor_size> from{};
  std::array<std::byte, cursor_size> to{};
  if (key_size_ > cursor_size) return each_by_key(take);
  const std::uint32_t room = std::min(entries_, batch_rows);
  std::vector<std::byte> keys(room * key_size_);
  std::vector<std::byte> values(room * value_bytes());
  for (bool first = true;;) {
    std::uint32_t got = room;
    const int failed = bpf_map_lookup_batch(fd(), first ? nullptr : from.data(), to.data(), keys.data(),
                                            values.data(), &got, nullptr);
    const int number = failed == 0 ? 0 : errno;
    if (first && no_batches(number)) return each_by_key(take);
    if (number == EINTR) continue;
    if (number != 0 && number != ENOENT) return system_error(name_ + ": read a batch of entries", number);
    for (std::size_t i = 0; i < got; ++i) take(&keys[i * key_size_], &values[i * value_bytes()]);
    if (number == ENOENT) return {};
    first = false;
    std::swap(from, to);
  }
}

Result<void> PinnedMap::each_by_key(const Take& take) const {
  std::vector<std::byte> key(key_size_);
  std::vector<std::byte> next(key_size_);
  std::vector<std::byte> value(value_bytes());
  bool first = true;
  // After a key that has gone meanwhile a hash starts again at its beginning: the count keeps that from going on
  // forever.
  for (std::uint32_t i = 0; i < entries_; ++i) {
    if (bpf_map_get_next_key(fd(), first ? nullptr : key.data(), next.data()) != 0) {
      if (errno == ENOENT) return {};
      return failure("step to the next entry", errno);
    }
    first = false;
    std::swap(key, next);
    const auto found = find(key.data(), value.data());
    if (!found) return found.error();
    if (*found) take(key.data(), value.data());
  }
  return {};
}

}  // namespace xlb
