// SPDX-License-Identifier: Apache-2.0
// Errors are values. They gain context on the way up and read as a path:
//   pools.yaml: IPAddressPool home: "192.168.0.250-192.168.0.200": start is after end
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace xlb {

struct Error {
  std::string text;

  // Puts where it happened in front: Error{"start is after end"}.in("pools.yaml").
  [[nodiscard]] Error in(const std::string& context) const { return Error{context + ": " + text}; }
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by intent
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by intent

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return std::get<0>(state_); }
  const T& operator*() const { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  [[nodiscard]] const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

// Success without a value.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by intent

  explicit operator bool() const { return !error_; }
  [[nodiscard]] const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace xlb
