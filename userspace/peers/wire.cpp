// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/wire.hpp"

#include "maps/abi.h"
#include "userspace/peers/digest.hpp"
#include "userspace/peers/statement_body.hpp"

namespace xlb {

namespace {

constexpr std::uint8_t kStated = 1, kPassedOn = 2;
constexpr std::size_t kEthernetPayload = 1500;
static_assert(sizeof(lb_wire) + kDatagramBytes <= kEthernetPayload);
static_assert(kPieces * kPieceBody >= kBodyBytes);

std::size_t seal_bytes(std::uint32_t key) {
  return key == 0 ? 0 : Seal::kTagBytes;
}

Octets sealed(OctetWriter&& out, const Seal* seal) {
  if (seal) out.raw(seal->tag(out.octets()));
  return out.take();
}

}  // namespace

std::uint64_t sender_id(std::string_view node) {
  return OctetReader(sha256(node)).number<std::uint64_t>();
}

Result<std::vector<Octets>> pieces_of(const Statement& statement, const Seal* seal) {
  auto body = encode_body(statement);
  if (!body) return body.error();
  const std::uint64_t sender = sender_id(statement.node);
  const std::span<const std::uint8_t> octets(*body);
  const std::size_t count = (octets.size() + kPieceBody - 1) / kPieceBody;
  std::vector<Octets> pieces;
  for (std::size_t i = 0; i < count; ++i) {
    const auto part = octets.subspan(i * kPieceBody, std::min(kPieceBody, octets.size() - i * kPieceBody));
    OctetWriter out;
    out.number(kWireVersion);
    out.number(kStated);
    out.number(static_cast<std::uint16_t>(i));
    out.number(static_cast<std::uint16_t>(count));
    out.number(static_cast<std::uint16_t>(part.size()));
    out.number(seal ? seal->fingerprint() : 0u);
    out.number(sender);
    out.number(statement.incarnation);
    out.number(statement.sequence);
    out.raw(part);
    pieces.push_back(sealed(std::move(out), seal));
  }
  return pieces;
}

Result<Octets> pass_on(std::span<const std::uint8_t> piece, std::uint64_t relayer, const Seal* seal) {
  if (piece.size() > kPieceBytes) return Error{"passing a statement on: the piece is too long"};
  OctetWriter out;
  out.number(kWireVersion);
  out.number(kPassedOn);
  out.number(static_cast<std::uint16_t>(piece.size()));
  out.number(seal ? seal->fingerprint() : 0u);
  out.number(relayer);
  out.raw(piece);
  return sealed(std::move(out), seal);
}

std::variant<Piece, PassedOn, Refusal> read_datagram(std::span<const std::uint8_t> datagram) {
  OctetReader in(datagram);
  const auto version = in.number<std::uint8_t>();
  const auto form = in.number<std::uint8_t>();
  if (in.cut_short()) return Refusal::wrong_length;
  if (version != kWireVersion) return Refusal::other_version;  // before all else: another version may look any way
  if (form == kPassedOn) {
    PassedOn passed;
    const auto length = in.number<std::uint16_t>();
    passed.key = in.number<std::uint32_t>();
    passed.relayer = in.number<std::uint64_t>();
    passed.piece = in.raw(length);
    passed.sealed = datagram.first(datagram.size() - in.rest().size());
    passed.seal = in.rest();
    if (in.cut_short() || length > kPieceBytes || passed.seal.size() != seal_bytes(passed.key))
      return Refusal::wrong_length;
    return passed;
  }
  if (form != kStated) return Refusal::unknown_form;
  Piece piece;
  piece.index = in.number<std::uint16_t>();
  piece.pieces = in.number<std::uint16_t>();
  const auto length = in.number<std::uint16_t>();
  piece.key = in.number<std::uint32_t>();
  piece.sender = in.number<std::uint64_t>();
  piece.incarnation = in.number<std::uint64_t>();
  piece.sequence = in.number<std::uint64_t>();
  piece.body = in.raw(length);
  piece.sealed = datagram.first(datagram.size() - in.rest().size());
  piece.seal = in.rest();
  if (in.cut_short() || length > kPieceBody || piece.seal.size() != seal_bytes(piece.key))
    return Refusal::wrong_length;
  if (piece.pieces > kPieces) return Refusal::oversized;
  // Every piece but the last is full, so that there is one way to cut a statement.
  const bool last = piece.index + 1 == piece.pieces;
  if (piece.index >= piece.pieces || length == 0 || (!last && length != kPieceBody)) return Refusal::impossible_piece;
  return piece;
}

}  // namespace xlb
