// SPDX-License-Identifier: Apache-2.0
// Two texts with a line of === between them: one stands in the folder, the other is applied to it and deleted again.
// What was prepared is what is read after the commit, and what stood there for itself is still the same in the end.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/fuzz/target.hpp"
#include "userspace/config/manifests.hpp"

namespace {

using namespace xlb;

const std::filesystem::path& folder() {
  struct Made {
    Made() {
      std::string pattern = (std::filesystem::temp_directory_path() / "xlb-fuzz-XXXXXX").string();
      fuzz::demand(mkdtemp(pattern.data()) != nullptr, "there is a place for files");
      path = pattern;
    }
    ~Made() { std::filesystem::remove_all(path); }
    std::filesystem::path path;
  };
  static const Made made;
  return made.path;
}

void clear() {
  for (const auto& entry : std::filesystem::directory_iterator(folder())) std::filesystem::remove_all(entry.path());
}

Objects sorted(Objects objects) {
  std::sort(objects.pools.begin(), objects.pools.end());
  std::sort(objects.advertisements.begin(), objects.advertisements.end());
  objects.services.sort(std::less<>());
  objects.slices.sort(std::less<>());
  std::sort(objects.nodes.begin(), objects.nodes.end());
  return objects;
}

Objects read_back(const char* property) {
  auto read = read_manifests(folder());
  fuzz::demand(static_cast<bool>(read), property, read ? "" : read.error().text);
  return sorted(read->objects);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  const std::size_t mark = text.find("===\n");
  const std::string standing = text.substr(0, mark);
  const std::string incoming = mark == std::string::npos ? std::string() : text.substr(mark + 4);
  clear();
  std::ofstream(folder() / "standing.yaml", std::ios::binary) << standing;
  const auto before = read_manifests(folder());
  auto applied = prepare_apply(folder(), {{"-", incoming}});
  if (!before) {
    fuzz::demand(!applied, "nothing is applied to a folder that cannot be read");
    return 0;
  }
  if (!applied) return 0;
  auto committed = commit(*applied);
  fuzz::demand(static_cast<bool>(committed), "what was prepared is committed",
               committed ? "" : committed.error().text);
  fuzz::demand(read_back("what was applied is read") == sorted(applied->after), "what was prepared is read", text);

  std::vector<ObjectId> created;
  std::vector<ObjectId> all;
  bool configured = false;
  for (const ChangeReport& report : applied->report) {
    if (report.change == Change::created) created.push_back(report.object);
    configured = configured || report.change == Change::configured;
    all.push_back(report.object);
  }
  if (!configured) {
    auto removed = prepare_delete(folder(), created);
    fuzz::demand(static_cast<bool>(removed), "what was created can be deleted", removed ? "" : removed.error().text);
    fuzz::demand(static_cast<bool>(commit(*removed)), "the deletion is committed");
    fuzz::demand(read_back("the rest is read") == sorted(before->objects), "the rest is what it was", text);
    fuzz::demand(static_cast<bool>(applied = prepare_apply(folder(), {{"-", incoming}})), "it can be applied again");
    fuzz::demand(static_cast<bool>(commit(*applied)), "and committed again");
  }
  // Deleting may be refused, when something else needs the object; what is done is done whole.
  if (auto removed = prepare_delete(folder(), all)) {
    fuzz::demand(static_cast<bool>(commit(*removed)), "the deletion is committed");
    fuzz::demand(read_back("the rest is read") == sorted(removed->after), "what was prepared is read", text);
  }
  return 0;
}
