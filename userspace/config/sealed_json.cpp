// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/sealed_json.hpp"

#include <array>
#include <utility>

namespace xlb {

namespace {

using Json = nlohmann::json;

std::string dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string checksum(const Json& content) {
  constexpr char digits[] = "0123456789abcdef";
  const std::uint32_t crc = crc32(dumped(content));
  std::string text;
  for (int shift = 28; shift >= 0; shift -= 4) text += digits[(crc >> shift) & 15];
  return text;
}

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? 0xedb88320U ^ (value >> 1) : value >> 1;
    table[i] = value;
  }
  return table;
}

}  // namespace

std::uint32_t crc32(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> table = crc_table();
  std::uint32_t value = 0xffffffffU;
  for (const char c : bytes) value = table[(value ^ static_cast<unsigned char>(c)) & 0xffU] ^ (value >> 8);
  return value ^ 0xffffffffU;
}

std::string seal(int version, const Json& content) {
  return "{\"version\":" + std::to_string(version) + ",\"checksum\":\"" + checksum(content) +
         "\",\"content\":" + dumped(content) + "}";
}

Result<Json> unseal(int version, std::string_view text, const std::string& advice) {
  if (text.empty()) return Error{"empty, so it is damaged: " + advice};
  Json root = Json::parse(text, nullptr, false);
  if (root.is_discarded() || !root.is_object()) return Error{"cut short or damaged: " + advice};
  const auto written = root.find("version");
  const auto sum = root.find("checksum");
  const auto content = root.find("content");
  if (written == root.end() || !written->is_number_integer() || sum == root.end() || !sum->is_string() ||
      content == root.end()) {
    return Error{"damaged: " + advice};
  }
  if (*written != version) {
    return Error{"written by another xdp-lb (version " + dumped(*written) + ", this one reads " +
                 std::to_string(version) + "): use that program, or: " + advice};
  }
  if (sum->get<std::string>() != checksum(*content)) return Error{"damaged, its checksum does not match: " + advice};
  return std::move(*content);
}

}  // namespace xlb
