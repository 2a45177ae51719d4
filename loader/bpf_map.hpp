// SPDX-License-Identifier: Apache-2.0
// Pinned maps with the types of the contract. Sizes are checked once, at opening: a pin of another build is refused
// with a sentence. Maps are read in batches where the kernel can (arrays and hashes since 5.6, the others later).
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "loader/file.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

// A map as bytes: what the typed ones below share.
class PinnedMap {
 public:
  PinnedMap() = default;
  // `value_size` of a per-CPU map: of one CPU.
  static Result<PinnedMap> open(const std::string& folder, const std::string& name, std::size_t key_size,
                                std::size_t value_size);

  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] const std::string& name() const { return name_; }
  // The size it was made with, not how much of it is in use.
  [[nodiscard]] std::uint32_t entries() const { return entries_; }
  // Possible CPUs of a per-CPU map; 1 for all others.
  [[nodiscard]] std::size_t copies() const { return copies_; }

  // False: no such entry.
  Result<bool> find(const void* key, void* value) const;
  Result<void> write(const void* key, const void* value) const;
  // An entry that is not there needs no erasing.
  Result<void> erase(const void* key) const;

  // Every entry once; of those that come and go meanwhile, some. Arrays give all their rows, used or not.
  using Take = std::function<void(const void* key, const void* value)>;
  Result<void> each(const Take& take) const;
  // The same, one entry a system call: what each() does where the kernel has no batches for this kind of map.
  Result<void> each_by_key(const Take& take) const;

 private:
  [[nodiscard]] Error failure(const std::string& doing, int number) const;
  [[nodiscard]] std::size_t value_bytes() const { return value_size_ * copies_; }

  File file_;
  std::string name_;
  std::size_t key_size_ = 0;
  std::size_t value_size_ = 0;  // of one copy; the kernel rounds those of a per-CPU map up to 8
  std::size_t copies_ = 1;
  std::uint32_t entries_ = 0;
};

template <typename Key, typename Value>
class BpfMap {
 public:
  BpfMap() = default;
  static Result<BpfMap> open(const std::string& folder, const std::string& name) {
    auto map = PinnedMap::open(folder, name, sizeof(Key), sizeof(Value));
    if (!map) return map.error();
    return BpfMap(std::move(*map));
  }

  [[nodiscard]] int fd() const { return map_.fd(); }
  [[nodiscard]] std::uint32_t entries() const { return map_.entries(); }

  Result<std::optional<Value>> find(const Key& key) const {
    Value value{};
    const auto found = map_.find(&key, &value);
    if (!found) return found.error();
    return *found ? std::optional<Value>(value) : std::nullopt;
  }
  Result<void> write(const Key& key, const Value& value) const { return map_.write(&key, &value); }
  Result<void> erase(const Key& key) const { return map_.erase(&key); }

  // take(const Key&, const Value&)
  template <typename TakeRow>
  Result<void> each(TakeRow take) const {
    return map_.each([&take](const void* raw_key, const void* raw_value) {
      Key key;
      Value value;
      std::memcpy(&key, raw_key, sizeof(key));
      std::memcpy(&value, raw_value, sizeof(value));
      take(key, value);
    });
  }

 private:
  explicit BpfMap(PinnedMap map) : map_(std::move(map)) {}
  PinnedMap map_;
};

// An array with one value a CPU.
template <typename Value>
class PerCpuArray {
 public:
  static_assert(sizeof(Value) % 8 == 0, "the kernel rounds each CPU's value up to 8 bytes");

  PerCpuArray() = default;
  static Result<PerCpuArray> open(const std::string& folder, const std::string& name) {
    auto map = PinnedMap::open(folder, name, sizeof(std::uint32_t), sizeof(Value));
    if (!map) return map.error();
    return PerCpuArray(std::move(*map));
  }

  // take(index, const std::vector<Value>& by_cpu)
  template <typename TakeRow>
  Result<void> each(TakeRow take) const {
    std::vector<Value> by_cpu(map_.copies());
    return map_.each([&take, &by_cpu](const void* raw_key, const void* raw_values) {
      std::uint32_t index = 0;
      std::memcpy(&index, raw_key, sizeof(index));
      std::memcpy(by_cpu.data(), raw_values, by_cpu.size() * sizeof(Value));
      take(index, by_cpu);
    });
  }

 private:
  explicit PerCpuArray(PinnedMap map) : map_(std::move(map)) {}
  PinnedMap map_;
};

}  // namespace xlb
