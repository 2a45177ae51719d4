// SPDX-License-Identifier: Apache-2.0
// Any text as a manifest: an answer, and what was accepted is written and read again as the same.
#include "userspace/config/manifests.hpp"

#include "tests/fuzz/target.hpp"

namespace {

using namespace xlb;

template <typename List>
void round_trip(const List& values, List Objects::*member) {
  for (const auto& value : values) {
    const std::string yaml = to_yaml(value);
    const auto again = parse_manifests(yaml, "again.yaml");
    fuzz::demand(static_cast<bool>(again), "what we write is accepted", yaml + (again ? "" : again.error().text));
    const List& read = (*again).objects.*member;
    fuzz::demand(read.size() == 1 && read[0] == value, "what we write reads as it was", yaml);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = parse_manifests(fuzz::text_of(data, size), "in.yaml");
  if (!parsed) {
    const std::string& text = parsed.error().text;
    fuzz::demand(text.starts_with("in.yaml"), "an error names the file", text);
    fuzz::demand(text.find('\n') == std::string::npos && text.find('\0') == std::string::npos, "an error is one line",
                 text);
    return 0;
  }
  const Objects& objects = parsed->objects;
  round_trip(objects.pools, &Objects::pools);
  round_trip(objects.advertisements, &Objects::advertisements);
  round_trip(objects.services, &Objects::services);
  round_trip(objects.slices, &Objects::slices);
  round_trip(objects.nodes, &Objects::nodes);
  return 0;
}
