// SPDX-License-Identifier: Apache-2.0
// Any bytes as what comes from peers: as the body of a statement, and as a sequence of datagrams (each behind its
// length, two bytes) that reach a node without a key and one with it. For the latter the seals are mended first, so
// that they do not keep the search out.
#include <algorithm>
#include <map>
#include <vector>

#include "tests/fuzz/target.hpp"
#include "userspace/peers/assembly.hpp"
#include "userspace/peers/statement_body.hpp"

namespace {

using namespace xlb;
using Bytes = std::span<const std::uint8_t>;

constexpr Mac kPi1{{2, 0, 0, 0, 0, 1}}, kPi2{{2, 0, 0, 0, 0, 2}};

Seal seal() {
  ClusterKey key;
  key.bytes.fill(7);
  return Seal(key);
}

Assembly receiver(bool with_key) {
  Assembly made("pi3", with_key ? std::optional(seal()) : std::nullopt);
  made.set_incarnation(1);
  made.set_listed({{kPi1, "pi1"}, {kPi2, "pi2"}});
  return made;
}

void body(Bytes octets) {
  const auto decoded = decode_body(octets);
  const auto* statement = std::get_if<Statement>(&decoded);
  if (!statement) return;
  const auto again = encode_body(*statement);
  fuzz::demand(static_cast<bool>(again), "what is read can be written", again ? "" : again.error().text);
  fuzz::demand(std::equal(again->begin(), again->end(), octets.begin(), octets.end()), "there is one spelling");
}

bool inside(Bytes part, Bytes whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void form(Bytes datagram) {
  const auto read = read_datagram(datagram);
  if (const auto* piece = std::get_if<Piece>(&read)) {
    fuzz::demand(inside(piece->body, datagram) && inside(piece->sealed, datagram) && inside(piece->seal, datagram),
                 "nothing but the datagram is read");
    fuzz::demand(piece->index < piece->pieces && piece->pieces <= kPieces, "a piece is one of its statement");
    fuzz::demand(piece->sealed.size() + piece->seal.size() == datagram.size(), "all of it is sealed");
  }
  if (const auto* passed = std::get_if<PassedOn>(&read)) {
    fuzz::demand(inside(passed->piece, datagram) && passed->sealed.size() + passed->seal.size() == datagram.size(),
                 "all of it is sealed");
  }
}

void put_tag(Octets& octets, const Seal& key) {
  const auto tag = key.tag(Bytes(octets).first(octets.size() - Seal::kTagBytes));
  std::copy(tag.begin(), tag.end(), octets.end() - Seal::kTagBytes);
}

// With the receiver's key, where there is room for a seal; a piece inside too.
Octets mended(Bytes datagram, const Seal& key) {
  Octets octets(datagram.begin(), datagram.end());
  const auto name_key = [&](Octets& sealed, std::size_t at) {
    for (std::size_t i = 0; i < 4; ++i) sealed[at + i] = static_cast<std::uint8_t>(key.fingerprint() >> (24 - 8 * i));
    put_tag(sealed, key);
  };
  if (octets.size() > kPassedOnHead + Seal::kTagBytes && octets[1] == 2) {
    Octets inner(octets.begin() + kPassedOnHead, octets.end() - Seal::kTagBytes);
    if (inner.size() > kPieceHead + Seal::kTagBytes) name_key(inner, 8);
    std::copy(inner.begin(), inner.end(), octets.begin() + kPassedOnHead);
    name_key(octets, 4);
  } else if (octets.size() > kPieceHead + Seal::kTagBytes) {
    name_key(octets, 8);
  }
  return octets;
}

void receive(Assembly& receiver, Bytes datagram, std::uint64_t at_ns,
             std::map<std::string, std::pair<std::uint64_t, std::uint64_t>>& newest) {
  const auto taken = receiver.take(datagram, at_ns % 2 == 0 ? kPi1 : kPi2, at_ns);
  fuzz::demand(!(taken.heard && taken.refusal), "heard or refused");
  fuzz::demand(!taken.refusal || receiver.refused(*taken.refusal) > 0, "each refusal is counted");
  fuzz::demand(receiver.unfinished_bytes() <= Assembly::kUnfinishedBytes, "memory is bounded");
  if (!taken.heard) return;
  const Statement& statement = taken.heard->statement;
  fuzz::demand(statement.node != "pi3", "nobody speaks in this node's name");
  const std::pair order{statement.incarnation, statement.sequence};
  const auto [known, fresh] = newest.try_emplace(statement.node, order);
  fuzz::demand(fresh || order > known->second, "what is heard is newer than what was", statement.node);
  known->second = order;
  const auto again = pieces_of(statement, receiver.seal() ? &*receiver.seal() : nullptr);
  fuzz::demand(again && *again == taken.heard->pieces, "the pieces are those of the statement");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Seal key = seal();
  const Bytes input(data, size);
  body(input);
  Assembly keyless = receiver(false), keyed = receiver(true);
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> by_keyless, by_keyed;
  OctetReader in(input);
  for (std::uint64_t at_ns = 1; !in.rest().empty() && at_ns < 64; ++at_ns) {
    const std::size_t length = std::min<std::size_t>(in.number<std::uint16_t>(), in.rest().size());
    const Bytes datagram = in.raw(length);
    form(datagram);
    receive(keyless, datagram, at_ns, by_keyless);
    const Octets sealed = mended(datagram, key);
    receive(keyed, sealed, at_ns, by_keyed);
  }
  return 0;
}
