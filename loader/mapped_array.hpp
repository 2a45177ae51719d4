// SPDX-License-Identifier: Apache-2.0
// A BPF array (BPF_F_MMAPABLE) in memory of this process: what is edited by the thousand, or many times a second, needs no
// system call each. Programs and other processes see every store at once, so a field is written by one atomic store.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <memory>
#include <string>

#include "loader/file.hpp"

namespace xlb {

template <typename Row>
class MappedArray {
 public:
  static_assert(sizeof(Row) % 8 == 0, "the kernel rounds each row up to 8 bytes");

  // `entries` rows from `first` on, which has to be the first of a page; all of them: what the map was made with. `name` for the
  // error. The descriptor may be closed afterwards.
  static Result<MappedArray> open(int map_fd, std::uint32_t entries, const std::string& name, std::uint32_t first = 0) {
    const std::size_t bytes = entries * sizeof(Row);
    const auto offset = static_cast<off_t>(first * sizeof(Row));
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, offset);
    if (memory == MAP_FAILED) return system_error("map table " + name + " into memory");
    return MappedArray(static_cast<Row*>(memory), entries, bytes);
  }

  [[nodiscard]] std::uint32_t entries() const { return entries_; }
  // Below entries(), as the caller has made sure.
  Row& operator[](std::uint32_t index) const { return rows_.get()[index]; }

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(Row* rows) const { munmap(rows, bytes); }
  };
  MappedArray(Row* rows, std::uint32_t entries, std::size_t bytes) : rows_(rows, Unmap{bytes}), entries_(entries) {}

  std::unique_ptr<Row, Unmap> rows_;
  std::uint32_t entries_ = 0;
};

}  // namespace xlb
