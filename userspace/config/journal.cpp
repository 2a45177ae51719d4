// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/journal.hpp"

#include <algorithm>
#include <utility>

#include "userspace/config/sealed_json.hpp"

namespace xlb {

namespace {

constexpr const char* kNewPrefix = ".xdp-lb-new-";
constexpr std::size_t kMaxJournalBytes = std::size_t{4} << 20;

bool plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

Result<std::optional<JournalSteps>> read_journal(Folder& folder) {
  auto text = folder.read(kJournalName, kMaxJournalBytes);
  if (!text) return text.error();
  if (!*text) return std::optional<JournalSteps>{};
  auto steps = decode_journal(**text);
  if (!steps) return steps.error().in(folder.path_of(kJournalName));
  return std::optional<JournalSteps>(std::move(*steps));
}

}  // namespace

std::string encode_journal(const JournalSteps& steps) {
  nlohmann::json content = nlohmann::json::object();
  for (const auto& [name, fresh] : steps) content[name] = fresh ? nlohmann::json(*fresh) : nlohmann::json();
  return seal(1, content);
}

Result<JournalSteps> decode_journal(const std::string& text) {
  const std::string advice = "it records a change that was not finished: compare the files beside it, and remove it";
  auto content = unseal(1, text, advice);
  if (!content) return content.error();
  JournalSteps steps;
  if (!content->is_object()) return Error{"damaged: " + advice};
  for (const auto& [name, fresh] : content->items()) {
    const bool sane =
        plain_name(name) && (fresh.is_null() || (fresh.is_string() && plain_name(fresh.get<std::string>())));
    if (!sane) return Error{"damaged: " + advice};
    steps[name] = fresh.is_null() ? std::nullopt : std::optional<std::string>(fresh.get<std::string>());
  }
  return steps;
}

Result<void> finish_journal(Folder& folder) {
  auto journal = read_journal(folder);
  if (!journal) return journal.error();
  auto names = folder.names();
  if (!names) return names.error();
  if (*journal) {
    for (const auto& [name, fresh] : **journal) {
      const bool waiting = fresh && std::binary_search(names->begin(), names->end(), *fresh);
      auto done = !fresh ? folder.remove(name) : waiting ? folder.rename(*fresh, name) : Result<void>{};
      if (!done) return done;
    }
    if (auto synced = folder.sync(); !synced) return synced;
    if (auto removed = folder.remove(kJournalName); !removed) return removed;
  }
  bool cleared = false;
  for (const std::string& name : *names) {
    const bool used = *journal && std::any_of((*journal)->begin(), (*journal)->end(),
                                              [&](const auto& step) { return step.second == name; });
    if (!name.starts_with(kNewPrefix) || used) continue;
    if (auto removed = folder.remove(name); !removed) return removed;
    cleared = true;
  }
  return *journal || cleared ? folder.sync() : Result<void>{};
}

Result<void> write_journaled(Folder& folder, const std::vector<FileChange>& changes) {
  if (changes.size() == 1 && changes.front().content) {  // one rename is whole by itself
    return replace_file(folder, changes.front().name, *changes.front().content);
  }
  if (changes.size() == 1) {  // and so is one removal
    if (auto removed = folder.remove(changes.front().name); !removed) return removed;
    return folder.sync();
  }
  JournalSteps steps;
  const auto take_back = [&](const Error& error) {
    for (const auto& [name, fresh] : steps) {
      if (fresh) (void)folder.remove(*fresh);
    }
    return error;
  };
  for (const FileChange& change : changes) {
    std::optional<std::string>& fresh = steps[change.name];
    if (!change.content) continue;
    fresh = kNewPrefix + change.name;
    if (auto written = folder.write(*fresh, *change.content); !written) return take_back(written.error());
  }
  if (steps.empty()) return {};
  if (auto synced = folder.sync(); !synced) return take_back(synced.error());
  if (auto written = replace_file(folder, kJournalName, encode_journal(steps)); !written) {
    // Whether the journal stands after a failed sync is not known; without it the old state does.
    if (!folder.remove(kJournalName) || !folder.sync()) return written.error();
    return take_back(written.error());
  }
  if (auto finished = finish_journal(folder); !finished) {
    return finished.error().in("the change is recorded, and the next command completes it");
  }
  return {};
}

Result<std::map<std::string, std::string>> read_through_journal(Folder& folder,
                                                                bool (*wanted)(const std::string& name),
                                                                std::size_t limit) {
  auto journal = read_journal(folder);
  if (!journal) return journal.error();
  auto names = folder.names();
  if (!names) return names.error();
  std::map<std::string, std::string> from;  // name -> the file that holds its content
  for (const std::string& name : *names) {
    if (wanted(name)) from[name] = name;
  }
  for (const auto& [name, fresh] : journal->value_or(JournalSteps{})) {
    if (!fresh) {
      from.erase(name);
    } else if (wanted(name) && std::binary_search(names->begin(), names->end(), *fresh)) {
      from[name] = *fresh;
    }
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, source] : from) {
    auto content = folder.read(source, limit);
    if (!content) return content.error();
    if (*content) files[name] = std::move(**content);
  }
  return files;
}

}  // namespace xlb
