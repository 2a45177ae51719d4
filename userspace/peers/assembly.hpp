// SPDX-License-Identifier: Apache-2.0
// From datagrams to statements: whose they are, whether they are new, and the pieces put together again. Time is a
// parameter; what strangers send costs a check and a count, never memory.
//
// Whose: with a key, whoever's seal holds. Without one, declared peers only, by the MAC of the frame: that stops
// mistakes, and nobody who means harm.
//
// New: the order of statements of a node is (incarnation, sequence), and only newer ones than the last whole one are
// wanted, for each holds everything that its node has to say. Copies and stragglers out of the last few are expected:
// a statement is sent three times, 10 ms apart, by broadcast too, and passed on.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "userspace/core/address.hpp"
#include "userspace/core/statement.hpp"
#include "userspace/peers/octets.hpp"
#include "userspace/peers/refusal.hpp"
#include "userspace/peers/seal.hpp"
#include "userspace/peers/wire.hpp"

namespace xlb {

// A whole statement.
struct Heard {
  Statement statement;
  Mac mac;                               // source of the frame that completed it: the node's, or the relayer's
  std::uint64_t at_ns = 0;               // when its first piece arrived
  std::optional<std::string> passed_on;  // by this node; some of the pieces at least did not come by themselves
  std::vector<Octets> pieces;            // as the node sent them, for pass_on()
};

class Assembly {
 public:
  static constexpr std::size_t kSenders = 256;                 // remembered; the one silent for longest makes room
  static constexpr std::size_t kUnfinished = 2;                // statements of one sender
  static constexpr std::size_t kUnfinishedBytes = 4u << 20;    // of all
  static constexpr std::uint64_t kPatienceNs = 1'000'000'000;  // a statement's pieces leave within milliseconds
  static constexpr std::uint64_t kTwinKeptOutNs = 2'000'000'000;  // many statements: one that speaks this often lives
  static constexpr std::uint64_t kWindow = 64;  // sequence numbers back: a straggler; further: replayed

  // `seal`: absent without a key.
  Assembly(const std::string& own_name, std::optional<Seal> seal);

  // Of this node now: what came back is told from another node of the same name by it.
  void set_incarnation(std::uint64_t incarnation) { own_incarnation_ = incarnation; }
  // Declared peers by the MACs that they were found at; only asked without a key.
  void set_listed(const std::map<Mac, std::string>& names);

  // A whole statement; why not; or neither: pieces are missing still. `at_ns`: when the frame arrived,
  // CLOCK_MONOTONIC.
  struct Taken {
    std::optional<Heard> heard;
    std::optional<Refusal> refusal;
  };
  Taken take(std::span<const std::uint8_t> datagram, const Mac& from, std::uint64_t at_ns);
  // Gives up what has waited too long; take() does it too.
  void expire(std::uint64_t now_ns);

  [[nodiscard]] std::uint64_t refused(Refusal refusal) const { return refused_[static_cast<std::size_t>(refusal)]; }
  [[nodiscard]] std::size_t unfinished_bytes() const { return unfinished_bytes_; }
  [[nodiscard]] const std::optional<Seal>& seal() const { return seal_; }

 private:
  using Order = std::pair<std::uint64_t, std::uint64_t>;  // incarnation, sequence
  struct Unfinished {
    std::uint16_t pieces = 0;
    std::uint64_t first_ns = 0;
    std::optional<std::uint64_t> relayer;
    std::map<std::uint16_t, Octets> octets;  // whole pieces, by index
    std::size_t bytes = 0;
  };
  struct Sender {
    std::string name;             // once a statement was whole
    std::optional<Order> newest;  // that was whole
    std::optional<Mac> mac;       // that newest came from by itself
    std::uint64_t heard_ns = 0;
    std::map<Order, Unfinished> unfinished;
  };

  [[nodiscard]] std::optional<Refusal> vouched(std::uint32_t key, std::span<const std::uint8_t> sealed,
                                               std::span<const std::uint8_t> seal) const;
  [[nodiscard]] std::optional<Refusal> outdated(const Sender& sender, const Order& order, const Mac& from,
                                                std::uint64_t at_ns) const;
  std::optional<Refusal> keep(Sender& sender, const Piece& piece, std::span<const std::uint8_t> octets,
                              std::optional<std::uint64_t> relayer, std::uint64_t at_ns);
  Taken complete(Sender& sender, const Order& order, const Mac& from);
  Sender& sender_of(std::uint64_t id, std::uint64_t at_ns);
  void give_up(Sender& sender, std::map<Order, Unfinished>::iterator unfinished, Refusal why);
  void make_room();
  [[nodiscard]] std::string name_of(std::uint64_t id) const;
  Taken refuse(Refusal refusal);

  std::uint64_t own_;
  std::uint64_t own_incarnation_ = 0;
  std::optional<Seal> seal_;
  std::map<Mac, std::uint64_t> listed_;
  std::map<std::uint64_t, std::string> listed_names_;
  std::map<std::uint64_t, Sender> senders_;
  std::size_t unfinished_bytes_ = 0;
  std::array<std::uint64_t, kRefusals> refused_{};
};

}  // namespace xlb
