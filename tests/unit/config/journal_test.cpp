// SPDX-License-Identifier: Apache-2.0
// Several files as one change, with the power cut between any two calls to the disk, and inside a write.
//
// The disk of MemoryFolder promises as little as POSIX does: what write() wrote is there after a cut, but names (new,
// changed, gone) are only there after sync(); of those since the last sync any subset may be.
#include "userspace/config/journal.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "tests/unit/config/temporary_folder.hpp"
#include "userspace/config/manifests.hpp"

namespace xlb {
namespace {

using Files = std::map<std::string, std::string>;

class MemoryFolder : public Folder {
 public:
  explicit MemoryFolder(Files files) : synced_(files), now_(std::move(files)) {}

  // The call of this number (from 0) does not happen any more, nor any after it; a write gets half done.
  int power_lasts = 1'000'000;
  // The call of this number fails, and those after it work again.
  int fails_at = -1;
  int calls = 0;

  [[nodiscard]] std::string path_of(const std::string& name) const override { return "memory/" + name; }
  Result<std::vector<std::string>> names() override {
    std::vector<std::string> out;
    for (const auto& [name, content] : now_) out.push_back(name);
    return out;
  }
  Result<std::optional<std::string>> read(const std::string& name, std::size_t /*limit*/) override {
    const auto found = now_.find(name);
    return found == now_.end() ? std::optional<std::string>{} : std::optional<std::string>(found->second);
  }
  Result<void> write(const std::string& name, const std::string& content) override {
    const bool last = calls == power_lasts;
    if (auto alive = call(); !alive) {
      if (last) change({{name, content.substr(0, content.size() / 2)}});
      return alive;
    }
    change({{name, content}});
    return {};
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (auto alive = call(); !alive) return alive;
    if (!now_.contains(from)) return Error{"no " + from};
    change({{to, now_.at(from)}, {from, std::nullopt}});
    return {};
  }
  Result<void> remove(const std::string& name) override {
    if (auto alive = call(); !alive) return alive;
    if (now_.contains(name)) change({{name, std::nullopt}});
    return {};
  }
  Result<void> sync() override {
    if (auto alive = call(); !alive) return alive;
    pending_.clear();
    synced_ = now_;
    return {};
  }

  [[nodiscard]] std::size_t unsynced() const { return pending_.size(); }
  // What the disk holds after the cut, when of the unsynced changes those of the mask came through.
  [[nodiscard]] Files after_cut(std::size_t mask) const {
    Files files = synced_;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      if ((mask >> i & 1U) != 0) apply(files, pending_[i]);
    }
    return files;
  }

 private:
  using Step = std::vector<std::pair<std::string, std::optional<std::string>>>;
  static void apply(Files& files, const Step& step) {
    for (const auto& [name, content] : step) {
      if (content) {
        files[name] = *content;
      } else {
        files.erase(name);
      }
    }
  }
  void change(const Step& step) {
    apply(now_, step);
    pending_.push_back(step);
  }
  Result<void> call() {
    const int number = calls++;
    if (number >= power_lasts) return Error{"no power"};
    if (number == fails_at) return Error{"cannot write memory: No space left on device"};
    return {};
  }

  Files synced_;
  Files now_;
  std::vector<Step> pending_;
};

bool visible(const std::string& name) {
  return !name.starts_with('.');
}

Files seen(Folder& folder) {
  auto files = read_through_journal(folder, visible, 1 << 20);
  EXPECT_TRUE(files) << files.error().text;
  return files ? *files : Files{};
}

const Files kOld = {{"a.yaml", "old a"}, {"b.yaml", "old b"}, {"gone.yaml", "old g"}, {"other.yaml", "other"}};
const Files kNew = {{"a.yaml", "new a"}, {"b.yaml", "new b"}, {"c.yaml", "new c"}, {"other.yaml", "other"}};
const std::vector<FileChange> kChanges = {
    {"a.yaml", "new a"}, {"b.yaml", "new b"}, {"c.yaml", "new c"}, {"gone.yaml", std::nullopt}};

int calls_of_a_whole_change() {
  MemoryFolder folder(kOld);
  EXPECT_TRUE(write_journaled(folder, kChanges));
  EXPECT_EQ(seen(folder), kNew);
  return folder.calls;
}

// Whoever reads after the cut sees old or new; so it stays when the next writer completes or clears, with its own
// power cut at any call as well.
void expect_old_or_new(const Files& disk, bool must_be_new) {
  MemoryFolder reader(disk);
  const Files first = seen(reader);
  EXPECT_EQ(reader.calls, 0) << "reading wrote";
  ASSERT_TRUE(first == kNew || (first == kOld && !must_be_new));
  for (int lasts = 0;; ++lasts) {
    MemoryFolder folder(disk);
    folder.power_lasts = lasts;
    const auto finished = finish_journal(folder);
    for (std::size_t mask = 0; mask < (std::size_t{1} << folder.unsynced()); ++mask) {
      MemoryFolder again(folder.after_cut(mask));
      ASSERT_EQ(seen(again), first);
      ASSERT_TRUE(finish_journal(again));
      ASSERT_EQ(seen(again), first);
      const auto names = again.names();
      ASSERT_TRUE(std::all_of(names->begin(), names->end(), visible)) << "something is left over";
    }
    if (finished) break;
  }
}

TEST(Journal, PowerCutAnywhereLeavesOldOrNew) {
  const int calls = calls_of_a_whole_change();
  bool saw_old = false;
  bool saw_new = false;
  for (int lasts = 0; lasts <= calls; ++lasts) {
    MemoryFolder folder(kOld);
    folder.power_lasts = lasts;
    const auto written = write_journaled(folder, kChanges);
    EXPECT_EQ(static_cast<bool>(written), lasts == calls);
    ASSERT_LT(folder.unsynced(), 10U);
    for (std::size_t mask = 0; mask < (std::size_t{1} << folder.unsynced()); ++mask) {
      const Files disk = folder.after_cut(mask);
      ASSERT_NO_FATAL_FAILURE(expect_old_or_new(disk, static_cast<bool>(written)))
          << "power for " << lasts << ", mask " << mask;
      MemoryFolder reader(disk);
      (seen(reader) == kOld ? saw_old : saw_new) = true;
    }
  }
  EXPECT_TRUE(saw_old);
  EXPECT_TRUE(saw_new);
}

TEST(Journal, AFailingCallLeavesOldOrSaysThatTheRestFollows) {
  const int calls = calls_of_a_whole_change();
  for (int at = 0; at < calls; ++at) {
    MemoryFolder folder(kOld);
    folder.fails_at = at;
    const auto written = write_journaled(folder, kChanges);
    ASSERT_FALSE(written) << at;
    const bool recorded =
        written.error().text.starts_with("the change is recorded, and the next command completes it: ");
    EXPECT_EQ(seen(folder), recorded ? kNew : kOld) << at << " " << written.error().text;
    const auto names = folder.names();
    EXPECT_TRUE(recorded || std::all_of(names->begin(), names->end(), visible)) << "a full disk stays full: " << at;
    EXPECT_TRUE(finish_journal(folder));
    EXPECT_EQ(seen(folder), recorded ? kNew : kOld) << at;
  }
}

TEST(Journal, OneFileIsOneRename) {
  for (int lasts = 0; lasts <= 3; ++lasts) {
    MemoryFolder folder(kOld);
    folder.power_lasts = lasts;
    const auto written = write_journaled(folder, {{"a.yaml", "new a"}});
    EXPECT_EQ(static_cast<bool>(written), lasts == 3);
    for (std::size_t mask = 0; mask < (std::size_t{1} << folder.unsynced()); ++mask) {
      MemoryFolder reader(folder.after_cut(mask));
      const std::string a = seen(reader).at("a.yaml");
      EXPECT_TRUE(a == "new a" || (a == "old a" && !written));
    }
  }
}

TEST(Journal, DamageSaysWhatToDo) {
  const std::string whole = encode_journal({{"a.yaml", ".xdp-lb-new-a.yaml"}, {"b.yaml", std::nullopt}});
  EXPECT_TRUE(decode_journal(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) EXPECT_FALSE(decode_journal(whole.substr(0, length)));
  MemoryFolder folder({{kJournalName, whole.substr(0, 20)}});
  const auto files = read_through_journal(folder, visible, 1 << 20);
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().text,
            "memory/.xdp-lb-journal: cut short or damaged: it records a change that was not finished: compare the "
            "files beside it, and remove it");
  EXPECT_FALSE(finish_journal(folder));
}

TEST(Journal, NeverLeavesItsFolder) {
  for (const char* name : {"../x", "/etc/passwd", "..", ".", "", "a/b"}) {
    EXPECT_FALSE(decode_journal(encode_journal({{name, std::nullopt}}))) << name;
    EXPECT_FALSE(decode_journal(encode_journal({{"a.yaml", name}}))) << name;
  }
}

std::string node(const std::string& name, const std::string& zone) {
  return "apiVersion: v1\nkind: Node\nmetadata:\n  name: " + name + "\n  labels: {zone: " + zone + "}\n";
}

// The same on a real file system, with a real SIGKILL at a random instant of a loop of commits. Both files always
// tell of the same zone.
TEST(Journal, KilledWriterLeavesOneOfTheStates) {
  const TemporaryFolder folder;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int i = 0;; ++i) {
        const std::string zone = "z" + std::to_string(round) + "-" + std::to_string(i);
        const auto change = prepare_apply(folder.path(), {{"-", node("a", zone) + "---\n" + node("b", zone)}});
        if (!change || !commit(*change)) ::_exit(1);
      }
    }
    ::usleep(static_cast<useconds_t>(1000 + round * 700));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer gave up by itself";
    const auto read = read_manifests(folder.path());
    ASSERT_TRUE(read) << read.error().text;
    if (read->objects.nodes.empty()) continue;  // killed before its first commit
    ASSERT_EQ(read->objects.nodes.size(), 2U);
    ASSERT_EQ(read->objects.nodes[0].labels, read->objects.nodes[1].labels);
  }
}

}  // namespace
}  // namespace xlb
