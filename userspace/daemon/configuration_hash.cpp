// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/configuration_hash.hpp"

#include <set>
#include <string>

#include "userspace/config/manifests.hpp"
#include "userspace/peers/digest.hpp"

namespace xlb {

std::uint64_t ConfigurationHash::of(const Objects& objects) {
  if (hash_ != 0 && last_.pools == objects.pools && last_.advertisements == objects.advertisements &&
      last_.services == objects.services)
    return hash_;
  last_.pools = objects.pools;
  last_.advertisements = objects.advertisements;
  last_.services = objects.services;
  std::set<std::string> documents;
  for (const Pool& pool : objects.pools) documents.insert(to_yaml(pool));
  for (const L2Advertisement& advertisement : objects.advertisements) documents.insert(to_yaml(advertisement));
  for (const Service& service : objects.services) documents.insert(to_yaml(service));
  std::string all;
  for (const std::string& document : documents) all += document;
  const Digest digest = sha256(all);
  for (std::size_t i = 0; i < sizeof(hash_); ++i) hash_ = hash_ << 8 | digest[i];
  return hash_;
}

}  // namespace xlb
