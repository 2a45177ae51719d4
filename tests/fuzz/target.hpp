// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace xlb::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return size == 0 ? std::string_view{} : std::string_view(reinterpret_cast<const char*>(data), size);
}

// A property that must hold for every input; broken, the program dies and the input is kept by whoever runs it.
inline void demand(bool holds, const char* property, const std::string& about = {}) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n%s\n", property, about.c_str());
  std::abort();
}

}  // namespace xlb::fuzz
