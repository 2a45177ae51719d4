// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/assembly.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "userspace/peers/statement_body.hpp"

namespace xlb {

Assembly::Assembly(const std::string& own_name, std::optional<Seal> seal)
    : own_(sender_id(own_name)), seal_(std::move(seal)) {}

void Assembly::set_listed(const std::map<Mac, std::string>& names) {
  std::map<Mac, std::uint64_t> listed;
  std::map<std::uint64_t, std::string> by_id;
  for (const auto& [mac, name] : names) {
    const std::uint64_t id = sender_id(name);
    listed[mac] = id;
    by_id[id] = name;
  }
  listed_ = std::move(listed);
  listed_names_ = std::move(by_id);
}

Assembly::Taken Assembly::refuse(Refusal refusal) {
  ++refused_[static_cast<std::size_t>(refusal)];
  return {std::nullopt, refusal};
}

std::optional<Refusal> Assembly::vouched(std::uint32_t key, std::span<const std::uint8_t> sealed,
                                         std::span<const std::uint8_t> seal) const {
  if (!seal_) return key == 0 ? std::nullopt : std::optional(Refusal::no_key_here);
  if (key == 0) return Refusal::no_key_there;
  if (key != seal_->fingerprint()) return Refusal::other_key;
  return seal_->holds(sealed, seal) ? std::nullopt : std::optional(Refusal::wrong_seal);
}

std::optional<Refusal> Assembly::outdated(const Sender& sender, const Order& order, const Mac& from,
                                          std::uint64_t at_ns) const {
  if (!sender.newest) return std::nullopt;
  // A copied disk: the twin has joined more often than the one whose name it bears, whom nobody would hear any more. A node with
  // several links speaks from several MACs, but lives one life at a time.
  const bool twin = sender.mac && *sender.mac != from && order.first != sender.newest->first;
  if (twin && order > *sender.newest && at_ns - sender.heard_ns < kTwinKeptOutNs) return Refusal::second_sender;
  if (order > *sender.newest) return std::nullopt;
  if (order == *sender.newest) return Refusal::duplicate;
  if (order.first == sender.newest->first && sender.newest->second - order.second < kWindow) return Refusal::late;
  return sender.mac && *sender.mac != from ? Refusal::second_sender : Refusal::replayed;
}

Assembly::Taken Assembly::take(std::span<const std::uint8_t> datagram, const Mac& from, std::uint64_t at_ns) {
  expire(at_ns);
  auto form = read_datagram(datagram);
  std::optional<std::uint64_t> relayer;
  std::span<const std::uint8_t> octets = datagram;
  if (const auto* passed = std::get_if<PassedOn>(&form)) {
    if (const auto wrong = vouched(passed->key, passed->sealed, passed->seal)) return refuse(*wrong);
    relayer = passed->relayer;
    octets = passed->piece;
    form = read_datagram(octets);
    if (std::holds_alternative<PassedOn>(form)) return refuse(Refusal::passed_on_twice);
  }
  if (const auto* refusal = std::get_if<Refusal>(&form)) return refuse(*refusal);
  const Piece& piece = std::get<Piece>(form);
  if (const auto wrong = vouched(piece.key, piece.sealed, piece.seal)) return refuse(*wrong);
  if (!seal_) {
    const auto listed = listed_.find(from);
    if (listed == listed_.end()) return refuse(Refusal::stranger);
    if (listed->second != relayer.value_or(piece.sender)) return refuse(Refusal::not_its_name);
    if (piece.sender != own_ && !listed_names_.contains(piece.sender)) return refuse(Refusal::stranger);
  }
  if (piece.sender == own_ || relayer == own_) {
    const bool mine = relayer == own_ || piece.incarnation == own_incarnation_;
    return refuse(mine ? Refusal::came_back : Refusal::own_name);
  }

  Sender& sender = sender_of(piece.sender, at_ns);
  // The MAC of what was passed on is the relayer's and tells nothing about the sender.
  const Order order{piece.incarnation, piece.sequence};
  if (const auto old = outdated(sender, order, relayer ? sender.mac.value_or(from) : from, at_ns)) return refuse(*old);
  if (const auto wrong = keep(sender, piece, octets, relayer, at_ns)) return refuse(*wrong);
  const auto found = sender.unfinished.find(order);
  if (found == sender.unfinished.end() || found->second.octets.size() < found->second.pieces) return {};
  return complete(sender, order, from);
}

// Stores a piece, and makes room for it by what is older.
std::optional<Refusal> Assembly::keep(Sender& sender, const Piece& piece, std::span<const std::uint8_t> octets,
                                      std::optional<std::uint64_t> relayer, std::uint64_t at_ns) {
  const Order order{piece.incarnation, piece.sequence};
  if (!sender.unfinished.contains(order) && sender.unfinished.size() >= kUnfinished) {
    if (order < sender.unfinished.begin()->first) return Refusal::late;
    give_up(sender, sender.unfinished.begin(), Refusal::abandoned);
  }
  Unfinished& whole = sender.unfinished[order];
  if (whole.octets.empty()) {
    whole.pieces = piece.pieces;
    whole.first_ns = at_ns;
  }
  if (whole.pieces != piece.pieces) return Refusal::impossible_piece;
  if (const auto known = whole.octets.find(piece.index); known != whole.octets.end())
    return std::equal(known->second.begin(), known->second.end(), octets.begin(), octets.end())
               ? Refusal::duplicate
               : Refusal::piece_differs;
  if (relayer) whole.relayer = relayer;
  whole.first_ns = std::min(whole.first_ns, at_ns);
  whole.octets.emplace(piece.index, Octets(octets.begin(), octets.end()));
  whole.bytes += octets.size();
  unfinished_bytes_ += octets.size();
  if (unfinished_bytes_ > kUnfinishedBytes) make_room();
  return std::nullopt;
}

Assembly::Taken Assembly::complete(Sender& sender, const Order& order, const Mac& from) {
  auto node = sender.unfinished.extract(order);
  Unfinished& whole = node.mapped();
  unfinished_bytes_ -= whole.bytes;
  while (!sender.unfinished.empty() && sender.unfinished.begin()->first < order)
    give_up(sender, sender.unfinished.begin(), Refusal::abandoned);
  sender.newest = order;  // also if it makes no sense: its copies need no second look

  Heard heard;
  Octets body;
  std::uint64_t id = 0;
  for (auto& [index, octets] : whole.octets) {
    const auto form = read_datagram(octets);
    const Piece& piece = std::get<Piece>(form);  // it was one when it came
    id = piece.sender;
    body.insert(body.end(), piece.body.begin(), piece.body.end());
    heard.pieces.push_back(std::move(octets));
  }
  auto decoded = decode_body(body);
  if (const auto* refusal = std::get_if<Refusal>(&decoded)) return refuse(*refusal);
  heard.statement = std::move(std::get<Statement>(decoded));
  if (sender_id(heard.statement.node) != id) return refuse(Refusal::malformed);
  heard.statement.incarnation = order.first;
  heard.statement.sequence = order.second;
  heard.mac = from;
  heard.at_ns = whole.first_ns;
  if (whole.relayer) heard.passed_on = name_of(*whole.relayer);
  if (!whole.relayer) sender.mac = from;
  sender.name = heard.statement.node;
  sender.heard_ns = whole.first_ns;
  return {std::move(heard), std::nullopt};
}

Assembly::Sender& Assembly::sender_of(std::uint64_t id, std::uint64_t at_ns) {
  if (const auto known = senders_.find(id); known != senders_.end()) return known->second;
  if (senders_.size() >= kSenders) {
    const auto silent = std::min_element(senders_.begin(), senders_.end(), [](const auto& a, const auto& b) {
      return a.second.heard_ns < b.second.heard_ns;
    });
    while (!silent->second.unfinished.empty())
      give_up(silent->second, silent->second.unfinished.begin(), Refusal::crowded_out);
    senders_.erase(silent);
  }
  Sender& fresh = senders_[id];
  fresh.heard_ns = at_ns;
  return fresh;
}

void Assembly::give_up(Sender& sender, std::map<Order, Unfinished>::iterator unfinished, Refusal why) {
  unfinished_bytes_ -= unfinished->second.bytes;
  ++refused_[static_cast<std::size_t>(why)];
  sender.unfinished.erase(unfinished);
}

// Whatever has waited longest goes, until what is kept fits.
void Assembly::make_room() {
  while (unfinished_bytes_ > kUnfinishedBytes) {
    Sender* of = nullptr;
    std::map<Order, Unfinished>::iterator oldest;
    for (auto& [id, sender] : senders_)
      for (auto it = sender.unfinished.begin(); it != sender.unfinished.end(); ++it)
        if (!of || it->second.first_ns < oldest->second.first_ns) {
          of = &sender;
          oldest = it;
        }
    if (!of) return;
    give_up(*of, oldest, Refusal::crowded_out);
  }
}

void Assembly::expire(std::uint64_t now_ns) {
  if (unfinished_bytes_ == 0) return;
  for (auto& [id, sender] : senders_)
    for (auto it = sender.unfinished.begin(); it != sender.unfinished.end();) {
      const auto next = std::next(it);
      if (now_ns > it->second.first_ns + kPatienceNs) give_up(sender, it, Refusal::abandoned);
      it = next;
    }
}

std::string Assembly::name_of(std::uint64_t id) const {
  if (const auto listed = listed_names_.find(id); listed != listed_names_.end()) return listed->second;
  if (const auto sender = senders_.find(id); sender != senders_.end() && !sender->second.name.empty())
    return sender->second.name;
  std::array<char, 17> hex{};  // passed on by a node that has said nothing of its own yet
  std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(id));
  return hex.data();
}

}  // namespace xlb
