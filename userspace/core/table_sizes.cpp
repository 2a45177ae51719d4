// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/table_sizes.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>

#include "userspace/core/text.hpp"

namespace xlb {
namespace {

struct Bounds {
  std::string_view table;
  std::uint32_t least, most;
};

// Least: small LRU tables evict early, and a service with two backends takes 512 slots. Most: a gigabyte and a half of flows, half a
// gigabyte of slots; an index beyond them would still fit. The chart's values.schema.json says the same.
constexpr Bounds sizable[] = {{"flows", 16384, 1u << 23},
                              {"services", 16, 1u << 16},
                              {"backends", 64, 1u << 20},
                              {"slots", 1024, 1u << 26},
                              {"sources", 16, 1u << 20}};

std::string sizable_tables() {
  std::string all;
  for (const Bounds& bounds : sizable) all += (all.empty() ? "" : ", ") + std::string(bounds.table);
  return all;
}

Result<void> take_size(TableSizes& sizes, std::string_view part) {
  const auto equals = part.find('=');
  const std::string name(part.substr(0, equals));
  const auto bounds = std::find_if(std::begin(sizable), std::end(sizable), [&](const Bounds& one) { return one.table == name; });
  if (equals == std::string_view::npos || bounds == std::end(sizable))
    return Error{in_quotes(part) + " is no size of a table: backends=131072, say; there are " + sizable_tables()};
  const std::string_view figure = part.substr(equals + 1);
  std::uint32_t entries = 0;
  const auto [end, failed] = std::from_chars(figure.data(), figure.data() + figure.size(), entries);
  if (failed != std::errc() || end != figure.data() + figure.size() || entries < bounds->least || entries > bounds->most)
    return Error{in_quotes(part) + ": " + name + " may have from " + std::to_string(bounds->least) + " to " +
                 std::to_string(bounds->most) + " entries"};
  if (!sizes.emplace(name, entries).second) return Error{name + " is there twice"};
  return {};
}

}  // namespace

Result<TableSizes> parse_table_sizes(std::string_view text) {
  TableSizes sizes;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    if (auto added = take_size(sizes, text.substr(begin, end - begin)); !added) return added.error();
    begin = end + 1;
  }
  return sizes;
}

std::string table_sizes_text(const TableSizes& sizes) {
  std::string text;
  for (const auto& [name, entries] : sizes) text += (text.empty() ? "" : ",") + name + "=" + std::to_string(entries);
  return text;
}

}  // namespace xlb
