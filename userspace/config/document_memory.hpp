// SPDX-License-Identifier: Apache-2.0
// Inside of DocumentMemory: documents by their text. Used by manifests.cpp and manifest_folder.cpp only.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "userspace/config/declared.hpp"
#include "userspace/config/manifests.hpp"

namespace xlb {

struct DocumentMemory::Known {
  // The objects of a document, their lines counted from its first; null: it is not known.
  const std::vector<Declared>* find(std::string_view text);
  void keep(std::string_view text, std::vector<Declared> objects);
  // Forgets what was neither found nor kept since the last call of this.
  void forget_unused();

  struct Entry {
    std::vector<Declared> objects;
    bool used = true;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> documents;
};

}  // namespace xlb
