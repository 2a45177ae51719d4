// SPDX-License-Identifier: Apache-2.0
// How sentences about text show text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace xlb {

// "value", with control and broken bytes escaped, cut after 120 bytes.
std::string in_quotes(std::string_view value);
// ["a" "b"], as MetalLB's sentences list them.
std::string in_quotes(const std::vector<std::string>& values);
// pools.yaml:7, or pools.yaml where the line is not known (0).
std::string place(const std::string& source, int line);
// Bytes of the UTF-8 sequence (RFC 3629) that the text begins with; 0: it is none. The text is not empty.
std::size_t utf8_length(std::string_view text);
std::string_view trimmed(std::string_view text);
// The candidate that was probably meant, or empty.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace xlb
