// SPDX-License-Identifier: Apache-2.0
// Objects with the place where they are declared; what manifests.hpp's functions have in common.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/config/documents.hpp"
#include "userspace/config/kinds.hpp"

namespace xlb {

inline constexpr std::size_t kMaxObjects = 50'000;  // of a folder

struct Declared {
  ObjectId id;
  std::string source;
  int line = 0;
  std::size_t document = 0;  // of the text, counted from 0
  std::shared_ptr<const Object> object;
};

// Every object of the text, each valid by itself. Documents that `memory` knows are not parsed again.
Result<std::vector<Declared>> declared_in(std::string_view text, const std::string& source,
                                          std::vector<std::string>& warnings, DocumentMemory* memory = nullptr);
// Just their names.
Result<std::vector<ObjectId>> names_in(std::string_view text, const std::string& source);
// Each object of one document as a text of its own: the document's own bytes where it holds only one.
Result<std::vector<std::pair<ObjectId, std::string>>> bodies_in(std::string_view document, const std::string& source,
                                                                int line);

// All of them together: two of one name are refused, naming both places; what else cannot stand together (validate()
// of the core) is put down to the object that came last.
Result<Objects> together(const std::vector<Declared>& declared);

}  // namespace xlb
