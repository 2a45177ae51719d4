// SPDX-License-Identifier: Apache-2.0
// Several files of a folder changed as one.
//
//   1. each new content goes to a hidden file beside its target, synced;
//   2. the journal, a list of the renames and removals to come, is put in place by one rename and synced;  <- the
//   change is made
//   3. renames and removals;
//   4. the journal is removed.
//
// Whoever dies before 2 has changed nothing; after it, the next writer goes through 3 and 4 again (each step may have
// happened already), and a reader sees the folder as if that had been done: reading never writes.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "userspace/config/folder.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

inline constexpr const char* kJournalName = ".xdp-lb-journal";

struct FileChange {
  std::string name;
  std::optional<std::string> content;  // absent: remove
};

// All of the changes, or none. The caller holds the folder alone and has called finish_journal().
Result<void> write_journaled(Folder& folder, const std::vector<FileChange>& changes);
// Completes what a writer that died had begun, and clears away what it left.
Result<void> finish_journal(Folder& folder);
// The files of the folder that `wanted` names, as they are when the journal has been completed.
Result<std::map<std::string, std::string>> read_through_journal(Folder& folder,
                                                                bool (*wanted)(const std::string& name),
                                                                std::size_t limit);

// The journal's text: target name -> hidden file, or nothing for a removal.
using JournalSteps = std::map<std::string, std::optional<std::string>>;
std::string encode_journal(const JournalSteps& steps);
Result<JournalSteps> decode_journal(const std::string& text);

}  // namespace xlb
