// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/state.hpp"

#include <utility>

#include "userspace/config/folder.hpp"
#include "userspace/config/sealed_json.hpp"

namespace xlb {

namespace {

using Json = nlohmann::json;

constexpr int kStateVersion = 1;
constexpr unsigned kStateMode = 0600;
constexpr std::size_t kStateMaxBytes = std::size_t{64} << 20;

const char* const kStateAdvice =
    "move it aside (as state.json.damaged) and start again; services then take their addresses from what the kernel "
    "holds, or anew";

Error unexpected(const std::string& where) {
  return Error{"unexpected content at " + where + ": " + kStateAdvice};
}

Result<Address> state_address(const Json& value, const std::string& where) {
  if (!value.is_string()) return unexpected(where);
  auto address = parse_address(value.get<std::string>());
  if (!address) return unexpected(where);
  return address;
}

Result<std::pair<ObjectName, Assignment>> assignment_of(const Json& entry, const std::string& where) {
  if (!entry.is_object()) return unexpected(where);
  const auto ns = entry.find("namespace");
  const auto name = entry.find("name");
  const auto pool = entry.find("pool");
  const auto addresses = entry.find("addresses");
  for (const auto& text : {ns, name, pool}) {
    if (text == entry.end() || !text->is_string()) return unexpected(where);
  }
  if (addresses == entry.end() || !addresses->is_array()) return unexpected(where);
  std::pair<ObjectName, Assignment> out{{ns->get<std::string>(), name->get<std::string>()},
                                        {{}, pool->get<std::string>()}};
  for (const Json& item : *addresses) {
    auto address = state_address(item, where);
    if (!address) return address.error();
    out.second.addresses.push_back(*address);
  }
  return out;
}

std::pair<std::filesystem::path, std::string> folder_and_name(const std::filesystem::path& file) {
  const std::filesystem::path parent = file.parent_path();
  return {parent.empty() ? std::filesystem::path(".") : parent, file.filename().string()};
}

}  // namespace

std::string encode_state(const State& state) {
  Json held = Json::array();
  for (const auto& [name, assignment] : state.held) {
    Json addresses = Json::array();
    for (const Address& address : assignment.addresses) addresses.push_back(address.text());
    held.push_back(
        {{"namespace", name.ns}, {"name", name.name}, {"pool", assignment.pool}, {"addresses", addresses}});
  }
  Json conflicts = Json::object();
  for (const auto& [address, who] : state.conflicts) conflicts[address.text()] = who;
  Json probed = Json::array();
  for (const Address& address : state.probed) probed.push_back(address.text());
  return seal(kStateVersion, {{"held", held}, {"conflicts", conflicts}, {"probed", probed}});
}

Result<State> decode_state(std::string_view text) {
  auto content = unseal(kStateVersion, text, kStateAdvice);
  if (!content) return content.error();
  const auto held = content->find("held");
  const auto conflicts = content->find("conflicts");
  const auto probed = content->find("probed");
  if (!content->is_object() || held == content->end() || !held->is_array()) return unexpected("held");
  if (conflicts == content->end() || !conflicts->is_object()) return unexpected("conflicts");
  if (probed == content->end() || !probed->is_array()) return unexpected("probed");
  State state;
  for (std::size_t i = 0; i < held->size(); ++i) {
    auto entry = assignment_of((*held)[i], "held[" + std::to_string(i) + "]");
    if (!entry) return entry.error();
    state.held.insert(std::move(*entry));
  }
  for (const auto& [key, who] : conflicts->items()) {
    auto address = parse_address(key);
    if (!address || !who.is_string()) return unexpected("conflicts");
    state.conflicts[*address] = who.get<std::string>();
  }
  for (const Json& item : *probed) {
    auto address = state_address(item, "probed");
    if (!address) return address.error();
    state.probed.insert(*address);
  }
  return state;
}

Result<State> read_state(const std::filesystem::path& file, StateMemory* memory) {
  const auto [parent, name] = folder_and_name(file);
  DiskFolder folder(parent, kStateMode);
  auto text = folder.read(name, kStateMaxBytes);
  if (!text) return text.error();
  if (!*text) return State{};
  if (memory != nullptr && !memory->text.empty() && memory->text == **text) return memory->state;
  auto state = decode_state(**text);
  if (!state) return state.error().in(file.string());
  if (memory != nullptr) *memory = {std::move(**text), *state};
  return state;
}

Result<void> write_state(const std::filesystem::path& file, const State& state) {
  const auto [parent, name] = folder_and_name(file);
  DiskFolder folder(parent, kStateMode);
  return replace_file(folder, name, encode_state(state));
}

Result<void> set_aside(const std::filesystem::path& file) {
  const auto [parent, name] = folder_and_name(file);
  DiskFolder folder(parent, kStateMode);
  if (auto renamed = folder.rename(name, name + ".damaged"); !renamed) return renamed;
  return folder.sync();
}

}  // namespace xlb
