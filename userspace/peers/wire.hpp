// SPDX-License-Identifier: Apache-2.0
// A statement on its way between daemons: cut into pieces that each fit into one frame behind `lb_wire` (maps/abi.h),
// each sealed by itself, so that one forged piece spoils no statement. Numbers are in network order.
//
//   a piece                                        a piece that was passed on
//   version   1  kWireVersion                      version   1
//   form      1  1                                 form      1  2
//   index     2  counted from 0                    length    2  of the piece inside
//   pieces    2                                    key       4
//   length    2  of the body                       relayer   8
//   key       4  fingerprint; 0: without a key     piece        as it came, seal included
//   sender    8  sender_id() of its name           seal     32
//   incarnation, sequence  8 + 8
//   body         of statement_body.hpp
//   seal     32  HMAC-SHA256 over all before it; absent without a key
//
// A piece inside a piece inside a piece is refused: what a node states is passed on once.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "userspace/core/statement.hpp"
#include "userspace/peers/octets.hpp"
#include "userspace/peers/refusal.hpp"
#include "userspace/peers/seal.hpp"

namespace xlb {

inline constexpr std::uint8_t kWireVersion = 1;
inline constexpr std::size_t kPieceBytes = 1400;  // at most, seal included
inline constexpr std::size_t kPieceHead = 36;
inline constexpr std::size_t kPassedOnHead = 16;
inline constexpr std::size_t kPieceBody = kPieceBytes - kPieceHead - Seal::kTagBytes;
inline constexpr std::size_t kDatagramBytes =
    kPassedOnHead + kPieceBytes + Seal::kTagBytes;  // fits 1,500 with `lb_wire`
inline constexpr std::size_t kPieces = 800;         // of one statement: room for 1 MiB

// The first bytes of the name's SHA-256: short, and nobody's by chance.
std::uint64_t sender_id(std::string_view node);

// What the daemon sends, in order. `seal`: nullptr without a key.
Result<std::vector<Octets>> pieces_of(const Statement& statement, const Seal* seal);
// A piece of another node's statement as it came, wrapped by this node.
Result<Octets> pass_on(std::span<const std::uint8_t> piece, std::uint64_t relayer, const Seal* seal);

// Views into the datagram.
struct Piece {
  std::uint16_t index = 0;
  std::uint16_t pieces = 0;
  std::uint32_t key = 0;
  std::uint64_t sender = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t sequence = 0;
  std::span<const std::uint8_t> body;
  std::span<const std::uint8_t> sealed;  // what the seal is over
  std::span<const std::uint8_t> seal;    // empty without a key
};
struct PassedOn {
  std::uint32_t key = 0;
  std::uint64_t relayer = 0;
  std::span<const std::uint8_t> piece;
  std::span<const std::uint8_t> sealed;
  std::span<const std::uint8_t> seal;
};
// Form and bounds only; whether the seal holds is not asked here.
std::variant<Piece, PassedOn, Refusal> read_datagram(std::span<const std::uint8_t> datagram);

}  // namespace xlb
