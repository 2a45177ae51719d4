// SPDX-License-Identifier: Apache-2.0
// Any text as an address and as a prefix: what is accepted has one canonical form, which reads as the same.
#include "userspace/core/address.hpp"

#include "tests/fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace xlb;
  const std::string_view text = fuzz::text_of(data, size);
  if (const auto address = parse_address(text)) {
    const auto again = parse_address(address->text());
    fuzz::demand(again && *again == *address, "an address reads as it was written",
                 std::string(text) + " " + address->text());
    fuzz::demand(Address::from_abi(address->to_abi()) == *address, "the tables hold it as it is", address->text());
  }
  bool masked = false;
  if (const auto prefix = parse_prefix(text, &masked)) {
    bool again_masked = false;
    const auto again = parse_prefix(prefix->text(), &again_masked);
    fuzz::demand(again && *again == *prefix && !again_masked, "a prefix reads as it was written",
                 std::string(text) + " " + prefix->text());
    // ::/80 to ::/95 end with 255.255.255.255, which is held as an IPv6 address and is none.
    const bool one_family = prefix->first().family() == prefix->last().family();
    fuzz::demand(prefix->contains(prefix->first()), "a prefix holds its first address", prefix->text());
    fuzz::demand(!one_family || prefix->contains(prefix->last()), "a prefix holds its last address", prefix->text());
    fuzz::demand(!(prefix->last() < prefix->first()), "its ends are in order", prefix->text());
  }
  return 0;
}
