// SPDX-License-Identifier: Apache-2.0
// Manifests in and out: Kubernetes-shaped YAML files under <config-dir>/manifests. Nothing is ever half-applied: what
// is written goes to a temporary file in the same folder, is synced, and is renamed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct ParsedManifests {
  Objects objects;
  std::vector<std::string>
      warnings;  // accepted, but otherwise than the user may think: "192.168.0.200/24 is 192.168.0.0/24"
};

// One or more YAML documents. `source` names the file in errors: `pools.yaml: IPAddressPool home: …`. Bounded: 4 MiB,
// nesting of 64, aliases refused beyond a small number, 50,000 objects. Errors name the line where there is one.
// validate() of the core has been applied to all of them together.
Result<ParsedManifests> parse_manifests(std::string_view yaml, const std::string& source);

// What documents said when the folder was read last, by their text: parsing YAML takes ten times as long as all that
// follows from it. What is no longer in the folder is forgotten. With it and without it the result is the same.
class DocumentMemory {
 public:
  DocumentMemory();
  DocumentMemory(DocumentMemory&&) noexcept;
  DocumentMemory& operator=(DocumentMemory&&) noexcept;
  ~DocumentMemory();

  struct Known;
  Known& known() { return *known_; }

 private:
  std::unique_ptr<Known> known_;
};

// Every *.yaml and *.yml in the folder, by name; a missing folder is an empty one. Duplicates across files are
// refused, naming both files. validate() of the core has been applied to the whole.
Result<ParsedManifests> read_manifests(const std::filesystem::path& folder, DocumentMemory* memory = nullptr);

// Identity of an object in the store.
struct ObjectId {
  std::string kind;  // "IPAddressPool"
  ObjectName name;
  auto operator<=>(const ObjectId&) const = default;
  [[nodiscard]] std::string text() const;  // "IPAddressPool metallb-system/home"
};

enum class Change : std::uint8_t { created, configured, unchanged, deleted };
struct ChangeReport {
  ObjectId object;
  Change change = Change::unchanged;
};

// What applying these documents to the folder would give, all checks done, and the writes that do it. Split in two so
// that the caller can try the outcome (allocation, tables) before anything is written.
struct PreparedChange {
  Objects after;
  std::vector<ChangeReport> report;
  std::vector<std::string> warnings;
  struct FileEdit {
    std::filesystem::path path;
    std::optional<std::string> content;  // absent: remove
    std::optional<std::string> before;   // as read; absent: there was none. Another now: commit() refuses
  };
  std::vector<FileEdit> edits;
};
struct NamedText {
  std::string source;  // file name for messages, "-" for standard input
  std::string yaml;
};
// Applying a few objects writes a file for each; many go into few files. An object that already stands in some file
// of the folder is replaced there only if the file holds it alone; in a file with several documents just that
// document is replaced, the others stay as they are, byte for byte.
Result<PreparedChange> prepare_apply(const std::filesystem::path& folder, const std::vector<NamedText>& documents);
// Objects named by the documents (kind, namespace, name) are removed. Not there: an error that names it.
Result<PreparedChange> prepare_delete(const std::filesystem::path& folder, const std::vector<ObjectId>& objects);
Result<std::vector<ObjectId>> object_ids(const std::vector<NamedText>& documents);
// Writes all of it or nothing: what a crash leaves is completed by the next commit(), and read as completed (or as
// never begun) by read_manifests(). Refuses when somebody else has changed one of the files since.
Result<void> commit(const PreparedChange& change);
// The same for a caller that holds the folder alone.
class Folder;
Result<void> commit_to(Folder& folder, const PreparedChange& change);

// One document, ready for a file.
std::string to_yaml(const Pool& pool);
std::string to_yaml(const L2Advertisement& advertisement);
std::string to_yaml(const Service& service);
std::string to_yaml(const EndpointSlice& slice);  // all addresses of one family: Kubernetes wants a slice for each
std::string to_yaml(const Node& node);

}  // namespace xlb
