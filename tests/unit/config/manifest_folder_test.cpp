// SPDX-License-Identifier: Apache-2.0
// The folder of manifests: read, apply, delete, and what stays untouched.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/config/temporary_folder.hpp"
#include "userspace/config/document_memory.hpp"
#include "userspace/config/folder.hpp"
#include "userspace/config/manifests.hpp"

namespace xlb {
namespace {

std::string pool(const std::string& name, const std::string& range) {
  return "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: " + name +
         "\nspec:\n  addresses: [" + range + "]\n";
}
std::string node(const std::string& name, const std::string& zone = "a") {
  return "apiVersion: v1\nkind: Node\nmetadata: {name: " + name + ", labels: {zone: " + zone + "}}\n";
}
ObjectId pool_id(const std::string& name) {
  return {"IPAddressPool", {"metallb-system", name}};
}

class Manifests : public ::testing::Test {
 protected:
  std::vector<ChangeReport> apply(const std::string& yaml) {
    auto change = prepare_apply(folder.path(), {{"new.yaml", yaml}});
    EXPECT_TRUE(change) << change.error().text;
    if (!change) return {};
    auto written = commit(*change);
    EXPECT_TRUE(written) << written.error().text;
    auto read = read_manifests(folder.path());
    EXPECT_TRUE(read) << read.error().text;
    return change->report;
  }
  std::string refused(const std::string& yaml) {
    const auto before = folder.names();
    auto change = prepare_apply(folder.path(), {{"new.yaml", yaml}});
    EXPECT_EQ(folder.names(), before);
    return change ? "accepted" : change.error().text;
  }
  void remove(const std::vector<ObjectId>& ids) {
    auto change = prepare_delete(folder.path(), ids);
    ASSERT_TRUE(change) << change.error().text;
    ASSERT_TRUE(commit(*change));
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder.path() / name).string(); }

  TemporaryFolder folder;
};

TEST_F(Manifests, MissingFolderIsEmptyAndMadeByTheFirstApply) {
  const auto deep = folder.path() / "a" / "b";
  const auto read = read_manifests(deep);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_TRUE(read->objects.pools.empty());
  auto change = prepare_apply(deep, {{"-", pool("home", "10.0.0.0/24")}});
  ASSERT_TRUE(change) << change.error().text;
  EXPECT_EQ(change->after.pools.size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(deep));
  ASSERT_TRUE(commit(*change));
  EXPECT_EQ(read_manifests(deep)->objects.pools.size(), 1U);
}

TEST_F(Manifests, ApplyWritesTheUsersOwnTextAndSaysWhatChanged) {
  const std::string text = "# my pool\n" + pool("home", "10.0.0.0/24");
  auto report = apply(text + "---\n" + node("pi"));
  ASSERT_EQ(report.size(), 2U);
  EXPECT_EQ(report[0].object, pool_id("home"));
  EXPECT_EQ(report[0].change, Change::created);
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"ipaddresspool_metallb-system_home.yaml", "node_pi.yaml"}));
  EXPECT_EQ(folder.get("ipaddresspool_metallb-system_home.yaml"), text);
  struct stat status {};
  ASSERT_EQ(::stat(path("node_pi.yaml").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0644U);

  EXPECT_EQ(apply(text)[0].change, Change::unchanged);
  EXPECT_EQ(apply(pool("home", "10.0.1.0/24"))[0].change, Change::configured);
  EXPECT_EQ(folder.get("ipaddresspool_metallb-system_home.yaml"), pool("home", "10.0.1.0/24"));
}

TEST_F(Manifests, OneDocumentOfSeveralIsReplacedAndTheOthersStay) {
  const std::string first = "# kept:   exactly \n" + pool("one", "10.0.1.0/24") + "\n\n";
  const std::string last = "---\n" + pool("three", "10.0.3.0/24") + "# end";
  folder.put("mine.yml", first + "---\n" + pool("two", "10.0.2.0/24") + last);
  EXPECT_EQ(apply("---\n" + pool("two", "10.9.0.0/24"))[0].change, Change::configured);
  EXPECT_EQ(folder.get("mine.yml"), first + "---\n" + pool("two", "10.9.0.0/24") + last);
  remove({pool_id("two")});
  EXPECT_EQ(folder.get("mine.yml"), first + last);
  remove({pool_id("one"), pool_id("three")});
  EXPECT_TRUE(folder.names().empty());
}

TEST_F(Manifests, ItemsOfAListAreTakenApartWhenOneChanges) {
  folder.put("list.yaml",
             "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: a}\n  spec: "
             "{podCIDR: 10.42.0.0/24}\n"
             "- apiVersion: v1\n  kind: Node\n  metadata: {name: b}\n");
  apply(node("b", "x"));
  EXPECT_EQ(
      folder.get("list.yaml"),
      "apiVersion: v1\nkind: Node\nmetadata:\n  name: a\nspec:\n  podCIDR: 10.42.0.0/24\n---\n" + node("b", "x"));
  remove({{"Node", {"", "a"}}});
  EXPECT_EQ(folder.get("list.yaml").find("name: a"), std::string::npos);
  EXPECT_EQ(read_manifests(folder.path())->objects.nodes.size(), 1U);
}

TEST_F(Manifests, AListIsAppliedItemByItem) {
  apply(
      "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: a}\n- apiVersion: v1\n "
      " kind: Node\n  metadata: {name: b}\n");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"node_a.yaml", "node_b.yaml"}));
}

TEST_F(Manifests, ManyObjectsGoIntoFewFiles) {
  std::string many;
  for (int i = 0; i < 6000; ++i) many += "---\n" + node("n" + std::to_string(i), std::string(200, 'z'));
  EXPECT_EQ(apply(many).size(), 6000U);
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"node_n0_and_others.yaml", "node_n3859_and_others.yaml"}));
  EXPECT_EQ(read_manifests(folder.path())->objects.nodes.size(), 6000U);
  EXPECT_EQ(apply(node("n7", "y"))[0].change, Change::configured);
  EXPECT_EQ(read_manifests(folder.path())->objects.nodes.size(), 6000U);
  EXPECT_EQ(folder.names().size(), 2U);
}

// A List of aliases is small as it comes and large as it is written.
TEST_F(Manifests, WhatCouldNotBeReadAgainIsNotWritten) {
  const std::string big(300'000, 'x');
  std::string list =
      "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata:\n    name: a\n    "
      "annotations:\n      n0: &big " +
      big + "\n";
  for (int i = 1; i <= 15; ++i) list += "      n" + std::to_string(i) + ": *big\n";
  EXPECT_EQ(refused(list), "with this change it could not be read any more: " + path("node_a.yaml") +
                               ": more than 4 MiB of YAML: split it into several files");
}

TEST_F(Manifests, AFileOfSomebodyElseKeepsItsName) {
  folder.put("node_b.yaml", node("a"));
  apply(node("b"));
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"node_b.yaml", "node_b_2.yaml"}));
  EXPECT_EQ(folder.get("node_b.yaml"), node("a"));
}

TEST_F(Manifests, TheLongestNamesFitIntoFileNames) {
  const std::string a = std::string(252, 'a');
  apply(pool(a + "b", "10.0.0.0/24") + "---\n" + pool(a + "c", "10.0.1.0/24"));
  EXPECT_EQ(folder.names().size(), 2U);
  EXPECT_EQ(read_manifests(folder.path())->objects.pools.size(), 2U);
}

TEST_F(Manifests, RefusalsChangeNothing) {
  apply(pool("home", "10.0.0.0/24"));
  EXPECT_EQ(refused(pool("b", "10.0.1.0/24") + "---\n" + pool("b", "10.0.2.0/24")),
            "new.yaml:8: duplicate definition of pool \"b\": it is at new.yaml:1 already: remove one");
  EXPECT_EQ(refused(node("x") + "---\n" + pool("b", "10.0.0.128/25") + "---\n" + node("y")),
            "new.yaml:5: IPAddressPool metallb-system/b: CIDR \"10.0.0.128/25\" in pool \"b\" overlaps with already "
            "defined "
            "CIDR \"10.0.0.0/24\"");
  EXPECT_EQ(
      refused(pool("b", "10.1.0.0/24") + "---\n" + pool("c", "10.1.0.7/32")),
      "new.yaml:8: IPAddressPool metallb-system/c: CIDR \"10.1.0.7/32\" in pool \"c\" overlaps with already defined "
      "CIDR \"10.1.0.0/24\"");
  EXPECT_EQ(folder.get("ipaddresspool_metallb-system_home.yaml"), pool("home", "10.0.0.0/24"));
  const auto missing = prepare_delete(folder.path(), {pool_id("home"), pool_id("none")});
  ASSERT_FALSE(missing);
  EXPECT_TRUE(missing.error().text.starts_with("IPAddressPool metallb-system/none: not declared in " +
                                               folder.path().string()))
      << missing.error().text;
}

TEST_F(Manifests, DuplicatesAcrossFilesNameBoth) {
  folder.put("a.yaml", pool("home", "10.0.0.0/24"));
  folder.put("b.yaml", "# x\n" + pool("home", "10.0.1.0/24"));
  const auto read = read_manifests(folder.path());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, path("b.yaml") + ":2: duplicate definition of pool \"home\": it is at " +
                                   path("a.yaml") + ":1 already: remove one");
}

TEST_F(Manifests, OnlyVisibleYamlIsRead) {
  folder.put("a.yaml", node("a"));
  folder.put("b.yml", node("b"));
  for (const char* name : {"c.json", "d.yaml~", ".e.yaml", "f.yaml.swp", "README"}) folder.put(name, "garbage: [");
  EXPECT_EQ(read_manifests(folder.path())->objects.nodes.size(), 2U);
}

TEST_F(Manifests, UnreadableFilesNamePathAndCause) {
  std::filesystem::create_directory(folder.path() / "x.yaml");
  auto read = read_manifests(folder.path());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, path("x.yaml") + ": not a regular file: move it elsewhere");
  std::filesystem::remove(folder.path() / "x.yaml");
  ASSERT_EQ(::mkfifo(path("p.yaml").c_str(), 0600), 0);
  read = read_manifests(folder.path());  // must not wait for a writer
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, path("p.yaml") + ": not a regular file: move it elsewhere");
  std::filesystem::remove(path("p.yaml"));
  ASSERT_EQ(::symlink("s.yaml", path("s.yaml").c_str()), 0);
  read = read_manifests(folder.path());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, "cannot read " + path("s.yaml") + ": Too many levels of symbolic links");
}

TEST_F(Manifests, AFileWithoutPermissionSaysSo) {
  folder.put("a.yaml", node("a"));
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path("a.yaml").c_str(), 0), 0);
  const uid_t self = ::geteuid();
  constexpr uid_t nobody = 65534;
  if (self == 0) {  // root reads every file
    ASSERT_EQ(::seteuid(nobody), 0);
  }
  const auto read = read_manifests(folder.path());
  if (self == 0) {
    ASSERT_EQ(::seteuid(self), 0);
  }
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text,
            "cannot read " + path("a.yaml") + ": Permission denied: run as root, or change its owner or mode");
}

TEST_F(Manifests, HugeFilesAreRefused) {
  folder.put("big.yaml", std::string(10 << 20, '#'));
  const auto read = read_manifests(folder.path());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, path("big.yaml") + ": more than 4 MiB: split it into several files");
}

TEST_F(Manifests, CommitRefusesWhenSomebodyElseWroteMeanwhile) {
  apply(node("a", "x") + "---\n" + node("b", "x"));
  const auto mine = prepare_apply(folder.path(), {{"-", node("a", "mine") + "---\n" + node("b", "mine")}});
  ASSERT_TRUE(mine);
  apply(node("b", "theirs"));
  const auto written = commit(*mine);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().text,
            path("node_b.yaml") + ": changed by somebody else meanwhile: nothing was written; run the command again");
  EXPECT_EQ(folder.get("node_a.yaml"), node("a", "x"));
}

TEST_F(Manifests, AWriterIsWaitedForAndThenNamed) {
  apply(node("a"));
  const auto change = prepare_apply(folder.path(), {{"-", node("b")}});
  ASSERT_TRUE(change);
  const auto held = FolderLock::alone(folder.path());
  ASSERT_TRUE(held);
  const auto read = read_manifests(folder.path());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text, folder.path().string() +
                                   ": another xdp-lb has been writing here for two seconds: wait for it, or end it");
  EXPECT_FALSE(commit(*change));
}

TEST_F(Manifests, UnchangedNeedsNoWrite) {
  apply(pool("home", "10.0.0.0/24"));
  const auto change = prepare_apply(folder.path(), {{"-", pool("home", "10.0.0.0/24")}});
  ASSERT_TRUE(change);
  EXPECT_TRUE(change->edits.empty());
  EXPECT_TRUE(commit(*change));
}

TEST_F(Manifests, WhatIsRememberedIsWhatIsRead) {
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder.path() / name) << text;
  };
  DocumentMemory memory;
  const auto agree = [&] {
    const auto fresh = read_manifests(folder.path());
    const auto remembered = read_manifests(folder.path(), &memory);
    ASSERT_EQ(static_cast<bool>(fresh), static_cast<bool>(remembered));
    if (!fresh) {
      EXPECT_EQ(fresh.error().text, remembered.error().text);
      return;
    }
    EXPECT_EQ(fresh->objects, remembered->objects);
    EXPECT_EQ(fresh->warnings, remembered->warnings);
  };
  write("a.yaml", pool("one", "192.168.0.1-192.168.0.9") + "---\n" + node("pi1"));
  write("b.yaml", node("pi2"));
  agree();
  agree();
  write("b.yaml", "# moved down\n---\n" + node("pi2", "b"));
  agree();
  write("c.yaml", pool("two", "192.168.1.0/24") + "---\n" + pool("three", "192.168.0.5-192.168.0.6"));  // overlaps
  agree();
  write("c.yaml", "\n\n" + pool("two", "192.168.1.7/24"));  // warned about, every time
  agree();
  agree();
  write("d.yaml", "# one line more\n" + node("pi1"));  // a duplicate, by its line
  agree();
  write("d.yaml", "kind: Nonsense\n");
  agree();
  std::filesystem::remove(folder.path() / "d.yaml");
  std::filesystem::remove(folder.path() / "a.yaml");
  agree();
  agree();  // what a refused folder held is kept until it could be read again
  EXPECT_EQ(memory.known().documents.size(), 2U) << "those of b.yaml; what warns is not kept";
}

}  // namespace
}  // namespace xlb
