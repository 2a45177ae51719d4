// SPDX-License-Identifier: Apache-2.0
// Any text as the journal of a change: what is accepted never names a file outside its folder.
#include "userspace/config/journal.hpp"

#include "tests/fuzz/target.hpp"
#include "userspace/config/sealed_json.hpp"

namespace {

void check(const std::string& text) {
  using namespace xlb;
  const auto steps = decode_journal(text);
  if (!steps) return;
  for (const auto& [name, fresh] : *steps) {
    fuzz::demand(!name.empty() && name != ".." && name.find('/') == std::string::npos, "it stays in its folder",
                 name);
    if (fresh)
      fuzz::demand(!fresh->empty() && *fresh != ".." && fresh->find('/') == std::string::npos,
                   "it stays in its folder", *fresh);
  }
  const auto again = decode_journal(encode_journal(*steps));
  fuzz::demand(again && *again == *steps, "what we write reads as it was", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(xlb::fuzz::text_of(data, size));
  check(text);
  const nlohmann::json content = nlohmann::json::parse(text, nullptr, false);
  if (!content.is_discarded()) check(xlb::seal(1, content));
  return 0;
}
