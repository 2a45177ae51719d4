// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/peer_table.hpp"

#include <ostream>

namespace xlb {

namespace {

Tone tone_of(const std::string& state) {
  if (state == "reached") return Tone::good;
  return state == "unknown" ? Tone::plain : Tone::bad;
}

}  // namespace

void print_peers(std::ostream& out, const Json& peers, bool wide) {
  Table table({{"PEER"}, {"ADDRESS"}, {"STATE"}, {"LAST CHANGE"}, {"DETECTION MS", true, true}, {"REASON", true}});
  for (const Json& peer : peers) {
    const auto state = peer.at("state").get<std::string>();
    const Json& changed = peer.at("last_change");
    table.row({peer.at("name").get<std::string>(), peer.at("address").get<std::string>(), Cell(state, tone_of(state)),
               changed.is_null() ? std::string() : changed.get<std::string>(), peer.at("detection_ms").dump(),
               peer.at("reason").get<std::string>()});
  }
  if (!table.empty()) table.print(out, wide, colour_wanted());
}

}  // namespace xlb
