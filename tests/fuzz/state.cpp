// SPDX-License-Identifier: Apache-2.0
// Any text as a state file, as it is and (so that the checksum does not keep the search out) sealed.
#include "userspace/config/state.hpp"

#include "tests/fuzz/target.hpp"
#include "userspace/config/sealed_json.hpp"

namespace {

void round_trip(std::string_view text) {
  using namespace xlb;
  const auto state = decode_state(text);
  if (!state) return;
  const auto again = decode_state(encode_state(*state));
  fuzz::demand(static_cast<bool>(again), "what we write is accepted", again ? "" : again.error().text);
  fuzz::demand(again->held == state->held && again->conflicts == state->conflicts && again->probed == state->probed,
               "what we write reads as it was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = xlb::fuzz::text_of(data, size);
  round_trip(text);
  const nlohmann::json content = nlohmann::json::parse(text, nullptr, false);
  if (!content.is_discarded()) round_trip(xlb::seal(1, content));
  return 0;
}
