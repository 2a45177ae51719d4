// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/health_state.hpp"

#include "userspace/config/folder.hpp"
#include "userspace/config/sealed_json.hpp"

namespace xlb {

namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr unsigned kMode = 0600;
constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
const char* const kAdvice = "the daemon writes it anew; without one, remove it";

}  // namespace

Result<IllBackends> read_health(const std::filesystem::path& file) {
  DiskFolder folder(file.parent_path(), kMode);
  auto text = folder.read(file.filename().string(), kMaxBytes);
  if (!text) return text.error();
  if (!*text) return IllBackends{};
  auto content = unseal(kVersion, **text, kAdvice);
  if (!content) return content.error().in(file.string());
  IllBackends ill;
  try {
    for (const Json& entry : content->at("ill")) {
      auto address = parse_address(entry.at("address").get<std::string>());
      auto check = parse_health_check(entry.at("check").get<std::string>());
      if (!address || !check) return Error{file.string() + ": unexpected content: " + kAdvice};
      ill[health_target(*check, *address, entry.at("port").get<std::uint16_t>())] = entry.at("reason").get<std::string>();
    }
  } catch (const Json::exception&) {
    return Error{file.string() + ": unexpected content: " + kAdvice};
  }
  return ill;
}

Result<void> write_health(const std::filesystem::path& file, const IllBackends& ill) {
  Json list = Json::array();
  for (const auto& [target, reason] : ill)
    list.push_back({{"address", target.address.text()}, {"port", target.port}, {"check", target.check.text()}, {"reason", reason}});
  DiskFolder folder(file.parent_path(), kMode);
  return replace_file(folder, file.filename().string(), seal(kVersion, {{"ill", list}}));
}

}  // namespace xlb
