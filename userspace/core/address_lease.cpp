// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/address_lease.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace xlb {
namespace {

constexpr std::string_view kPrefix = "vip-";

// "uid ns/name"
std::optional<AddressUser> read_user(std::string_view text) {
  const std::size_t blank = text.find(' ');
  const std::size_t slash = text.find('/');
  if (blank == std::string_view::npos || slash == std::string_view::npos || blank == 0 || slash < blank + 2 ||
      slash + 1 == text.size())
    return std::nullopt;
  return AddressUser{std::string(text.substr(0, blank)),
                     {std::string(text.substr(blank + 1, slash - blank - 1)), std::string(text.substr(slash + 1))}};
}

Error unreadable(const std::string& name, const std::string& why) {
  return Error{"Lease " + name + ": " + why + ": its address is given to nobody until it is deleted"};
}

}  // namespace

bool AddressLease::serves(const std::string& uid) const {
  return std::any_of(users.begin(), users.end(), [&](const AddressUser& user) { return user.uid == uid; });
}

std::string address_lease_name(const Address& address) {
  std::string name(kPrefix);
  if (address.family() == Family::ipv4) return name + address.text();
  // In full: the short form may end in colons, and a name may not end in what stands for them.
  static constexpr char digits[] = "0123456789abcdef";
  const auto& bytes = address.bytes;
  for (std::size_t group = 0; group < 8; ++group) {
    const unsigned value = static_cast<unsigned>(bytes[2 * group] << 8 | bytes[2 * group + 1]);
    if (group != 0) name += '-';
    bool leading = true;
    for (int shift = 12; shift >= 0; shift -= 4) {
      const unsigned digit = value >> shift & 15;
      if (leading && digit == 0 && shift != 0) continue;
      leading = false;
      name += digits[digit];
    }
  }
  return name;
}

std::optional<Address> address_of_lease_name(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::string text = name.substr(kPrefix.size());
  if (text.find('.') == std::string::npos) std::replace(text.begin(), text.end(), '-', ':');
  auto address = parse_address(text);
  if (!address || address_lease_name(*address) != name) return std::nullopt;
  return *address;
}

Result<AddressLease> read_address_lease(const std::string& name, const ApiLease& lease) {
  const auto text = lease.annotations.find(kAddressAnnotation);
  if (text == lease.annotations.end()) return unreadable(name, std::string("it lacks the annotation ") + kAddressAnnotation);
  auto address = parse_address(text->second);
  if (!address) return unreadable(name, std::string(kAddressAnnotation) + ": " + address.error().text);
  if (address_lease_name(*address) != name) return unreadable(name, "it is named for another address than " + text->second);
  AddressLease read;
  read.address = *address;
  read.taken_over = lease.annotations.contains(kTakenOverAnnotation);
  read.identity = lease.identity;
  const auto services = lease.annotations.find(kServicesAnnotation);
  std::string_view left = services == lease.annotations.end() ? std::string_view() : services->second;
  while (!left.empty()) {
    const std::size_t comma = std::min(left.find(','), left.size());
    auto user = read_user(left.substr(0, comma));
    if (!user) return unreadable(name, std::string(kServicesAnnotation) + " is not \"<uid> <namespace>/<name>\", parted by commas");
    read.users.push_back(std::move(*user));
    left.remove_prefix(std::min(comma + 1, left.size()));
  }
  if (read.users.empty()) return unreadable(name, std::string("it lacks the annotation ") + kServicesAnnotation);
  if (lease.holder != read.users.front().uid) return unreadable(name, "its holder is not its first service");
  return read;
}

ApiLease address_lease_object(const AddressLease& lease) {
  ApiLease object;
  object.holder = lease.users.front().uid;
  std::string services;
  for (const AddressUser& user : lease.users) services += (services.empty() ? "" : ",") + user.uid + " " + user.service.text();
  object.annotations = {{kAddressAnnotation, lease.address.text()}, {kServicesAnnotation, std::move(services)}};
  if (lease.taken_over) object.annotations[kTakenOverAnnotation] = "metallb";
  return object;
}

std::map<Address, TakenOver> taken_over(const std::map<std::string, ApiLease>& leases, bool standby) {
  std::map<Address, TakenOver> all;
  for (const auto& [name, lease] : leases) {
    const auto address = address_of_lease_name(name);
    if (!address || !lease.annotations.contains(kTakenOverAnnotation)) continue;
    TakenOver& over = all[*address];
    if (!standby) continue;
    over.continues = true;
    const auto home = lease.annotations.find(kTakenOverByAnnotation);
    if (home == lease.annotations.end()) continue;
    over.home = home->second;
    over.reserved = !lease.annotations.contains(kAnnouncedByAnnotation);
  }
  return all;
}

}  // namespace xlb
