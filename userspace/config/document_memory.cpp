// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/document_memory.hpp"

#include <utility>

namespace xlb {

DocumentMemory::DocumentMemory() : known_(std::make_unique<Known>()) {}
DocumentMemory::DocumentMemory(DocumentMemory&&) noexcept = default;
DocumentMemory& DocumentMemory::operator=(DocumentMemory&&) noexcept = default;
DocumentMemory::~DocumentMemory() = default;

const std::vector<Declared>* DocumentMemory::Known::find(std::string_view text) {
  const auto entry = documents.find(text);
  if (entry == documents.end()) return nullptr;
  entry->second.used = true;
  return &entry->second.objects;
}

void DocumentMemory::Known::keep(std::string_view text, std::vector<Declared> objects) {
  documents.insert_or_assign(std::string(text), Entry{std::move(objects)});
}

void DocumentMemory::Known::forget_unused() {
  std::erase_if(documents, [](const auto& item) { return !item.second.used; });
  for (auto& item : documents) item.second.used = false;
}

}  // namespace xlb
