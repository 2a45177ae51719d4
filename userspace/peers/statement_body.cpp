// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/statement_body.hpp"

#include <map>
#include <optional>
#include <set>

namespace xlb {

namespace {

constexpr std::uint8_t kDraining = 1, kListening = 2, kDeaf = 4, kStatementFlags = 7;
constexpr std::uint8_t kEligible = 1;
constexpr std::uint8_t kIpv4 = 4, kIpv6 = 6;

bool prints(char c) {
  return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
}

// ASCII without blanks: what a host name or a version is made of, and what a terminal shows as it is.
bool is_word(const std::string& text, std::size_t longest) {
  return text.size() <= longest && std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// Never in the middle of a UTF-8 character.
std::string shown(const std::string& obstacle) {
  std::string text = obstacle;
  for (char& c : text)
    if (!prints(c)) c = ' ';
  if (text.size() <= kStatedObstacle) return text;
  std::size_t length = kStatedObstacle;
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  text.resize(length);
  return text;
}

void write_address(OctetWriter& out, const Address& address) {
  const bool ipv4 = address.family() == Family::ipv4;
  out.number(ipv4 ? kIpv4 : kIpv6);
  const std::span<const std::uint8_t> bytes(address.bytes);
  out.raw(ipv4 ? bytes.last(4) : bytes);
}

std::optional<Address> read_address(OctetReader& in) {
  const auto family = in.number<std::uint8_t>();
  if (family == kIpv4) {
    std::array<std::uint8_t, 4> bytes{};
    in.raw(bytes);
    return Address::from_ipv4(bytes);
  }
  Address address;
  in.raw(address.bytes);
  if (family != kIpv6 || address.family() != Family::ipv6) return std::nullopt;
  return address;
}

// Texts that many VIPs share travel once.
class TextsOut {
 public:
  std::uint16_t index(const std::string& text) {
    if (text.empty()) return 0;
    const auto [entry, fresh] = known_.try_emplace(text, static_cast<std::uint16_t>(texts_.size() + 1));
    if (fresh) texts_.push_back(text);
    return entry->second;
  }
  void write(OctetWriter& out) const {
    out.number(static_cast<std::uint16_t>(texts_.size()));
    for (const std::string& text : texts_) out.text(text);
  }

 private:
  std::map<std::string, std::uint16_t> known_;
  std::vector<std::string> texts_;
};

class TextsIn {
 public:
  // False: there are more than VIPs could use, one is empty, or two are equal.
  bool read(OctetReader& in) {
    const auto count = in.number<std::uint16_t>();
    if (count > 2 * kStatedVips) return false;
    std::set<std::string> seen;
    for (std::uint16_t i = 0; i < count && !in.cut_short(); ++i) {
      texts_.push_back(in.text());
      if (texts_.back().empty() || !seen.insert(texts_.back()).second) return false;
    }
    return true;
  }
  // Absent: there is no such text, or an earlier one has not been used yet.
  std::optional<std::string> text(std::uint16_t index) {
    if (index == 0) return std::string();
    if (index > texts_.size() || index > used_ + 1u) return std::nullopt;
    if (index == used_ + 1u) ++used_;
    return texts_[index - 1u];
  }
  [[nodiscard]] bool all_used() const { return used_ == texts_.size(); }

 private:
  std::vector<std::string> texts_;
  std::size_t used_ = 0;
};

Result<void> within_bounds(const Statement& statement) {
  const auto too_many = [](const char* what, std::size_t count, std::size_t most) {
    return Error{std::to_string(count) + " " + what + ": a statement has room for " + std::to_string(most)};
  };
  const auto bad_name = [](const char* what, const std::string& name) {
    return Error{std::string(what) + " \"" + name + "\": expected at most " + std::to_string(kStatedName) +
                 " printable characters"};
  };
  if (statement.node.empty() || !is_word(statement.node, kStatedName)) return bad_name("node name", statement.node);
  if (!is_word(statement.version, kStatedVersion))
    return Error{"version \"" + statement.version + "\" is too long or does not print"};
  if (statement.addresses.size() > kStatedAddresses)
    return too_many("addresses", statement.addresses.size(), kStatedAddresses);
  if (statement.hears.size() > kStatedPeers) return too_many("peers", statement.hears.size(), kStatedPeers);
  if (statement.vips.size() > kStatedVips) return too_many("VIPs", statement.vips.size(), kStatedVips);
  for (const std::string& name : statement.hears)
    if (name.empty() || !is_word(name, kStatedName)) return bad_name("peer name", name);
  for (std::size_t i = 0; i < statement.vips.size(); ++i) {
    if (!is_word(statement.vips[i].handing_to, kStatedName))
      return bad_name("peer name", statement.vips[i].handing_to);
    if (i > 0 && statement.vips[i - 1].vip >= statement.vips[i].vip)
      return Error{"VIPs are not in the order of their addresses"};
  }
  return {};
}

std::optional<VipStatement> read_vip(OctetReader& in, TextsIn& texts) {
  VipStatement vip;
  const auto address = read_address(in);
  const auto flags = in.number<std::uint8_t>();
  const auto obstacle = texts.text(in.number<std::uint16_t>());
  vip.rank.preference = in.number<std::int32_t>();
  in.raw(vip.rank.digest);
  vip.epoch = in.number<std::uint64_t>();
  const auto handing_to = texts.text(in.number<std::uint16_t>());
  if (!address || (flags & ~kEligible) || !obstacle || !handing_to) return std::nullopt;
  if (obstacle->size() > kStatedObstacle || !std::all_of(obstacle->begin(), obstacle->end(), prints))
    return std::nullopt;
  if (!is_word(*handing_to, kStatedName)) return std::nullopt;
  vip.vip = *address;
  vip.eligible = (flags & kEligible) != 0;
  vip.obstacle = *obstacle;
  vip.handing_to = *handing_to;
  return vip;
}

}  // namespace

Result<Octets> encode_body(const Statement& statement) {
  if (auto fits = within_bounds(statement); !fits) return fits.error().in("stating to the peers");
  OctetWriter out, vips;
  TextsOut texts;
  vips.number(static_cast<std::uint16_t>(statement.vips.size()));
  for (const VipStatement& vip : statement.vips) {
    write_address(vips, vip.vip);
    vips.number(vip.eligible ? kEligible : std::uint8_t{0});
    vips.number(texts.index(shown(vip.obstacle)));
    vips.number(vip.rank.preference);
    vips.raw(vip.rank.digest);
    vips.number(vip.epoch);
    vips.number(texts.index(vip.handing_to));
  }
  out.text(statement.node);
  out.text(statement.version);
  out.number(static_cast<std::uint8_t>((statement.draining ? kDraining : 0) | (statement.listening ? kListening : 0) |
                                       (statement.deaf ? kDeaf : 0)));
  out.raw(statement.mac.bytes);
  out.number(static_cast<std::uint8_t>(statement.addresses.size()));
  for (const Address& address : statement.addresses) write_address(out, address);
  out.number(static_cast<std::uint8_t>(statement.hears.size()));
  for (const std::string& name : statement.hears) out.text(name);
  out.number(statement.configuration);
  texts.write(out);
  out.raw(vips.octets());
  return out.take();
}

std::variant<Statement, Refusal> decode_body(std::span<const std::uint8_t> octets) {
  if (octets.size() > kBodyBytes) return Refusal::oversized;
  OctetReader in(octets);
  Statement statement;
  statement.node = in.text();
  statement.version = in.text();
  const auto flags = in.number<std::uint8_t>();
  statement.draining = (flags & kDraining) != 0;
  statement.listening = (flags & kListening) != 0;
  statement.deaf = (flags & kDeaf) != 0;
  if (statement.node.empty() || !is_word(statement.node, kStatedName)) return Refusal::malformed;
  if (!is_word(statement.version, kStatedVersion) || (flags & ~kStatementFlags)) return Refusal::malformed;
  in.raw(statement.mac.bytes);

  const auto addresses = in.number<std::uint8_t>();
  if (addresses > kStatedAddresses) return Refusal::oversized;
  for (std::uint8_t i = 0; i < addresses; ++i) {
    const auto address = read_address(in);
    if (!address) return Refusal::malformed;
    statement.addresses.push_back(*address);
  }
  const auto hears = in.number<std::uint8_t>();
  if (hears > kStatedPeers) return Refusal::oversized;
  for (std::uint8_t i = 0; i < hears; ++i) {
    statement.hears.push_back(in.text());
    if (statement.hears.back().empty() || !is_word(statement.hears.back(), kStatedName)) return Refusal::malformed;
  }
  statement.configuration = in.number<std::uint64_t>();
  TextsIn texts;
  if (!texts.read(in)) return Refusal::malformed;
  const auto vips = in.number<std::uint16_t>();
  if (vips > kStatedVips) return Refusal::oversized;
  // Not reserved: what is claimed to come is believed when it has come.
  for (std::uint16_t i = 0; i < vips && !in.cut_short(); ++i) {
    auto vip = read_vip(in, texts);
    if (!vip || (i > 0 && statement.vips.back().vip >= vip->vip)) return Refusal::malformed;
    statement.vips.push_back(std::move(*vip));
  }
  if (in.cut_short() || !in.rest().empty() || !texts.all_used()) return Refusal::malformed;
  return statement;
}

}  // namespace xlb
