// SPDX-License-Identifier: Apache-2.0
// The folder of manifests: what it declares, and how a change to it becomes new texts of its files.
#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "userspace/config/declared.hpp"
#include "userspace/config/document_memory.hpp"
#include "userspace/config/journal.hpp"
#include "userspace/config/manifests.hpp"
#include "userspace/config/sealed_json.hpp"

namespace xlb {

namespace {

constexpr unsigned kManifestMode = 0644;
constexpr std::size_t kFilesAtOnce = 32;        // that one apply makes; each costs a sync of the disk
constexpr std::size_t kPackedBytes = 1U << 20;  // of a file that holds many objects
constexpr std::size_t kLongestName = 200;       // of a file; with our prefix it stays below the 255 of file systems

// Hidden files are somebody's machinery (ours, an editor's, a mounted ConfigMap's).
bool is_manifest(const std::string& name) {
  return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"));
}

struct File {
  std::string text;
  std::vector<Document> documents;
};

struct Loaded {
  std::map<std::string, File> files;
  std::vector<Declared> declared;  // `source` is the path
  std::vector<std::string> warnings;
};

Error too_many_objects(const std::filesystem::path& folder) {
  return Error{"more than " + std::to_string(kMaxObjects) + " objects: that is beyond what one node serves"}.in(
      folder.string());
}

Result<Loaded> load(const std::filesystem::path& path, DocumentMemory* memory = nullptr) {
  auto lock = FolderLock::shared(path);
  if (!lock) return lock.error();
  DiskFolder folder(path, kManifestMode);
  auto texts = read_through_journal(folder, is_manifest, kMaxYamlBytes);
  if (!texts) return texts.error();
  Loaded loaded;
  for (auto& [name, text] : *texts) {
    auto declared = declared_in(text, folder.path_of(name), loaded.warnings, memory);
    if (!declared) return declared.error();
    std::move(declared->begin(), declared->end(), std::back_inserter(loaded.declared));
    if (loaded.declared.size() > kMaxObjects) return too_many_objects(path);
    std::vector<Document> documents = split_documents(text);
    loaded.files[name] = File{std::move(text), std::move(documents)};
  }
  return loaded;
}

// service_default_web.yaml: '_' occurs in no name, so no two objects meet in one.
std::string file_name(const ObjectId& id, const std::string& ending, const std::map<std::string, File>& files) {
  std::string stem;
  for (const char c : id.kind) stem += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  if (!id.name.ns.empty()) stem += "_" + id.name.ns;
  stem += "_" + id.name.name;
  if (stem.size() > kLongestName) stem = stem.substr(0, kLongestName) + "_" + std::to_string(crc32(stem));
  stem += ending;
  std::string name = stem + ".yaml";
  // Taken by a file that holds something else: whoever wrote it there keeps it.
  for (int i = 2; files.contains(name); ++i) name = stem + "_" + std::to_string(i) + ".yaml";
  return name;
}

// What becomes of the objects of the folder: exchanged for a text, or (absent) taken out.
using Changed = std::map<ObjectId, std::optional<std::string>>;

// New texts of the files that hold one of the changed objects; absent: nothing is left in it.
Result<std::map<std::string, std::optional<std::string>>> edited_files(const Loaded& loaded, const DiskFolder& folder,
                                                                       const Changed& changed) {
  std::set<std::pair<std::string, std::size_t>> touched;  // path and document
  for (const Declared& one : loaded.declared) {
    if (changed.contains(one.id)) touched.emplace(one.source, one.document);
  }
  std::map<std::string, std::optional<std::string>> out;
  for (const auto& [name, file] : loaded.files) {
    const std::string path = folder.path_of(name);
    std::string text = file.text;
    bool edited = false;
    for (std::size_t i = file.documents.size();
         i-- > 0;) {  // from the end, so that the bytes in front stay where they are
      if (!touched.contains({path, i})) continue;
      auto bodies = bodies_in(file.documents[i].in(file.text), path, file.documents[i].line);
      if (!bodies) return bodies.error();
      std::vector<std::string> kept;
      for (auto& [id, body] : *bodies) {
        const auto change = changed.find(id);
        if (change == changed.end()) {
          kept.push_back(std::move(body));
        } else if (change->second) {
          kept.push_back(*change->second);
        }
      }
      text = exchange(text, file.documents[i], kept);
      edited = true;
    }
    if (!edited) continue;
    const bool used = std::any_of(loaded.declared.begin(), loaded.declared.end(), [&](const Declared& one) {
      const auto change = changed.find(one.id);
      return one.source == path && (change == changed.end() || change->second);
    });
    out[name] = used ? std::optional<std::string>(std::move(text)) : std::nullopt;
  }
  return out;
}

// Refuses what the next reader would refuse: an edit must never leave a folder that cannot be read.
Result<void> add_edits(PreparedChange& prepared, const Loaded& loaded, const DiskFolder& folder,
                       std::map<std::string, std::optional<std::string>> edited) {
  for (auto& [name, content] : edited) {
    PreparedChange::FileEdit edit;
    edit.path = folder.path_of(name);
    if (content) {
      std::vector<std::string> said_before;
      const auto again = declared_in(*content, edit.path.string(), said_before);
      if (!again) return again.error().in("with this change it could not be read any more");
    }
    const auto before = loaded.files.find(name);
    edit.content = std::move(content);
    if (before != loaded.files.end()) edit.before = before->second.text;
    prepared.edits.push_back(std::move(edit));
  }
  return {};
}

// New files for objects that stand nowhere yet: one each, or, when they are many, packed.
std::map<std::string, std::optional<std::string>> new_files(
    const std::vector<std::pair<ObjectId, std::string>>& created, std::map<std::string, File> taken) {
  std::map<std::string, std::optional<std::string>> out;
  const bool packed = created.size() > kFilesAtOnce;
  std::string name;
  for (const auto& [id, body] : created) {
    if (!packed || name.empty() || out[name]->size() + body.size() > kPackedBytes) {
      name = file_name(id, packed ? "_and_others" : "", taken);
      taken[name] = {};
      out[name] = body;
    } else {
      out[name] = *out[name] + "---\n" + body;
    }
  }
  return out;
}

struct Incoming {
  std::vector<Declared> declared;
  std::map<ObjectId, std::string> bodies;
  std::vector<std::string> warnings;
};

Result<Incoming> read_incoming(const std::vector<NamedText>& documents) {
  Incoming incoming;
  for (const NamedText& document : documents) {
    auto declared = declared_in(document.yaml, document.source, incoming.warnings);
    if (!declared) return declared.error();
    const std::vector<Document> parts = split_documents(document.yaml);
    std::set<std::size_t> wanted;
    for (Declared& one : *declared) {
      wanted.insert(one.document);
      incoming.declared.push_back(std::move(one));
    }
    for (const std::size_t i : wanted) {
      auto bodies = bodies_in(parts[i].in(document.yaml), document.source, parts[i].line);
      if (!bodies) return bodies.error();
      for (auto& [id, body] : *bodies) incoming.bodies[id] = std::move(body);
    }
  }
  if (auto sound = together(incoming.declared); !sound) return sound.error();
  return incoming;
}

}  // namespace

Result<ParsedManifests> read_manifests(const std::filesystem::path& folder, DocumentMemory* memory) {
  auto loaded = load(folder, memory);
  if (!loaded) return loaded.error();
  if (memory != nullptr) memory->known().forget_unused();
  auto objects = together(loaded->declared);
  if (!objects) return objects.error();
  return ParsedManifests{std::move(*objects), std::move(loaded->warnings)};
}

Result<PreparedChange> prepare_apply(const std::filesystem::path& path, const std::vector<NamedText>& documents) {
  auto incoming = read_incoming(documents);
  if (!incoming) return incoming.error();
  auto loaded = load(path);
  if (!loaded) return loaded.error();
  const DiskFolder folder(path, kManifestMode);
  std::map<ObjectId, std::size_t> standing;
  for (std::size_t i = 0; i < loaded->declared.size(); ++i) standing[loaded->declared[i].id] = i;

  PreparedChange prepared;
  prepared.warnings = std::move(incoming->warnings);
  std::vector<Declared> after = loaded->declared;
  Changed changed;
  std::vector<std::pair<ObjectId, std::string>> created;
  for (const Declared& one : incoming->declared) {
    const auto stands = standing.find(one.id);
    const std::string& body = incoming->bodies.at(one.id);
    Change change = Change::unchanged;
    if (stands == standing.end()) {
      change = Change::created;
      created.emplace_back(one.id, body);
      after.push_back(one);
    } else if (!(*after[stands->second].object == *one.object)) {
      change = Change::configured;
      changed[one.id] = body;
      after[stands->second].object = one.object;
    }
    prepared.report.push_back({one.id, change});
  }
  if (after.size() > kMaxObjects) return too_many_objects(path);
  auto objects = together(after);
  if (!objects) return objects.error();
  prepared.after = std::move(*objects);
  auto edited = edited_files(*loaded, folder, changed);
  if (!edited) return edited.error();
  edited->merge(new_files(created, loaded->files));
  if (auto added = add_edits(prepared, *loaded, folder, std::move(*edited)); !added) return added.error();
  return prepared;
}

Result<PreparedChange> prepare_delete(const std::filesystem::path& path, const std::vector<ObjectId>& objects) {
  auto loaded = load(path);
  if (!loaded) return loaded.error();
  const DiskFolder folder(path, kManifestMode);
  PreparedChange prepared;
  Changed changed;
  std::vector<Declared> after = loaded->declared;
  for (const ObjectId& id : objects) {
    if (changed.contains(id)) continue;
    const std::size_t count = std::erase_if(after, [&](const Declared& one) { return one.id == id; });
    if (count == 0) {
      return Error{id.text() + ": not declared in " + path.string() +
                   ": nothing was removed; `xdp-lb pool ls` and `xdp-lb service ls` show what is there"};
    }
    changed[id] = std::nullopt;
    prepared.report.push_back({id, Change::deleted});
  }
  auto left = together(after);
  if (!left) return left.error();
  prepared.after = std::move(*left);
  auto edited = edited_files(*loaded, folder, changed);
  if (!edited) return edited.error();
  if (auto added = add_edits(prepared, *loaded, folder, std::move(*edited)); !added) return added.error();
  return prepared;
}

Result<void> commit(const PreparedChange& change) {
  if (change.edits.empty()) return {};
  const std::filesystem::path path = change.edits.front().path.parent_path();
  DiskFolder folder(path, kManifestMode);
  if (auto made = folder.make(); !made) return made;
  auto lock = FolderLock::alone(path);
  if (!lock) return lock.error();
  return commit_to(folder, change);
}

Result<void> commit_to(Folder& folder, const PreparedChange& change) {
  if (auto finished = finish_journal(folder); !finished) return finished;
  std::vector<FileChange> files;
  for (const PreparedChange::FileEdit& edit : change.edits) {
    const std::string name = edit.path.filename().string();
    auto now = folder.read(name, kMaxYamlBytes);
    if (!now) return now.error();
    if (*now != edit.before) {
      return Error{edit.path.string() +
                   ": changed by somebody else meanwhile: nothing was written; run the command again"};
    }
    files.push_back({name, edit.content});
  }
  return write_journaled(folder, files);
}

}  // namespace xlb
