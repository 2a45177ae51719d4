// SPDX-License-Identifier: Apache-2.0
// JSON that notices damage: {"version":1,"checksum":"1c291ca3","content":…}. It ends with its closing brace, so a
// file cut short anywhere is no JSON any more; a changed byte is found by the checksum (CRC-32 of IEEE 802.3 over the
// content as this library writes it).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "userspace/core/result.hpp"

namespace xlb {

std::string seal(int version, const nlohmann::json& content);
// `advice`: what the user does about a damaged one.
Result<nlohmann::json> unseal(int version, std::string_view text, const std::string& advice);

std::uint32_t crc32(std::string_view bytes);

}  // namespace xlb
