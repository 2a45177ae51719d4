// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/api_memory.hpp"

#include <algorithm>
#include <fstream>
#include <set>
#include <utility>

#include "userspace/config/folder.hpp"
#include "userspace/config/manifests.hpp"
#include "userspace/config/sealed_json.hpp"

namespace xlb {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr unsigned kMode = 0600;
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
const char* const kAdvice = "remove it; what the API server declares is read anew when it can be reached";

Json addresses_of(const auto& addresses) {
  Json list = Json::array();
  for (const Address& address : addresses) list.push_back(address.text());
  return list;
}

Result<Address> address_of(const Json& value) {
  auto address = parse_address(value.get<std::string>());
  if (!address) return address.error();
  return address;
}

void append(Objects& to, Objects&& more) {
  const auto move_all = [](auto& into, auto& from) { std::move(from.begin(), from.end(), std::back_inserter(into)); };
  move_all(to.pools, more.pools);
  move_all(to.advertisements, more.advertisements);
  move_all(to.nodes, more.nodes);
  for (const auto& service : more.services.pointers()) to.services.share(service);
  for (const auto& slice : more.slices.pointers()) to.slices.share(slice);
  to.namespaces.own().insert(more.namespaces->begin(), more.namespaces->end());
}

// Only endpoints that are nodes themselves are where they were.
void leave_out_pods(Objects& objects) {
  std::set<Address> nodes;
  for (const Node& node : objects.nodes) nodes.insert(node.addresses.begin(), node.addresses.end());
  for (std::size_t i = 0; i < objects.slices.size(); ++i)
    std::erase_if(objects.slices.own(i).endpoints, [&](const Endpoint& endpoint) {
      return std::none_of(endpoint.addresses.begin(), endpoint.addresses.end(),
                          [&](const Address& address) { return nodes.contains(address); });
    });
}

Result<ApiFacts> facts_of(const Json& content, const std::string& boot) {
  ApiFacts facts;
  for (const Json& document : content.at("objects")) {
    auto parsed = parse_manifests(document.get<std::string>(), "api.json");
    if (!parsed) return parsed.error();
    append(facts.objects, std::move(parsed->objects));
  }
  for (const auto& [name, labels] : content.at("namespaces").items()) facts.objects.namespaces.own()[name] = labels.get<Labels>();
  for (const Json& entry : content.at("given")) {
    Assignment& assignment = facts.given.own()[{entry.at("namespace").get<std::string>(), entry.at("name").get<std::string>()}];
    assignment.pool = entry.at("pool").get<std::string>();
    for (const Json& text : entry.at("addresses")) {
      auto address = address_of(text);
      if (!address) return address.error();
      assignment.addresses.push_back(*address);
    }
  }
  for (const Json& text : content.at("policed")) {
    auto address = address_of(text);
    if (!address) return address.error();
    facts.policed.own().insert(*address);
  }
  if (const auto taken_over = content.find("taken_over"); taken_over != content.end()) {
    for (const auto& [text, said] : taken_over->items()) {
      auto address = parse_address(text);
      if (!address) return address.error();
      // Which node comes first is a matter of the moment at which the server is heard.
      facts.taken_over[*address].continues = said.at("continues").get<bool>();
    }
  }
  if (boot.empty() || content.at("boot").get<std::string>() != boot) leave_out_pods(facts.objects);
  for (const auto& [name, assignment] : *facts.given)
    if (assignment.addresses.empty()) facts.waiting[name] = "had no address when the API server was last heard";
  return facts;
}

}  // namespace

std::string encode_api_memory(const ApiFacts& facts, const std::string& boot) {
  Json objects = Json::array();
  for (const Pool& pool : facts.objects.pools) objects.push_back(to_yaml(pool));
  for (const L2Advertisement& advertisement : facts.objects.advertisements) objects.push_back(to_yaml(advertisement));
  for (const Service& service : facts.objects.services) objects.push_back(to_yaml(service));
  for (const EndpointSlice& slice : facts.objects.slices) objects.push_back(to_yaml(slice));
  for (const Node& node : facts.objects.nodes) objects.push_back(to_yaml(node));
  Json given = Json::array();
  for (const auto& [name, assignment] : *facts.given)
    given.push_back({{"namespace", name.ns}, {"name", name.name}, {"pool", assignment.pool}, {"addresses", addresses_of(assignment.addresses)}});
  Json taken_over = Json::object();
  for (const auto& [address, over] : facts.taken_over) taken_over[address.text()] = {{"continues", over.continues}};
  return seal(kVersion, {{"boot", boot},
                         {"objects", objects},
                         {"namespaces", *facts.objects.namespaces},
                         {"given", given},
                         {"policed", addresses_of(*facts.policed)},
                         {"taken_over", taken_over}});
}

Result<ApiFacts> decode_api_memory(std::string_view text, const std::string& boot) {
  auto content = unseal(kVersion, text, kAdvice);
  if (!content) return content.error();
  try {
    return facts_of(*content, boot);
  } catch (const Json::exception&) {
    return Error{std::string("unexpected content: ") + kAdvice};
  }
}

Result<std::optional<ApiFacts>> read_api_memory(const std::filesystem::path& file, const std::string& boot) {
  DiskFolder folder(file.parent_path(), kMode);
  auto text = folder.read(file.filename().string(), kMaxBytes);
  if (!text) return text.error();
  if (!*text) return std::optional<ApiFacts>();
  auto facts = decode_api_memory(**text, boot);
  if (!facts) return facts.error().in(file.string());
  return std::optional<ApiFacts>(std::move(*facts));
}

Result<void> write_api_memory(const std::filesystem::path& file, const ApiFacts& facts, const std::string& boot) {
  DiskFolder folder(file.parent_path(), kMode);
  return replace_file(folder, file.filename().string(), encode_api_memory(facts, boot));
}

Result<void> forget_api_memory(const std::filesystem::path& file) {
  DiskFolder folder(file.parent_path(), kMode);
  if (auto removed = folder.remove(file.filename().string()); !removed) return removed;
  return folder.sync();
}

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

}  // namespace xlb
