// SPDX-License-Identifier: Apache-2.0
#include "loader/pins.hpp"

#include <bpf/bpf.h>
#include <dirent.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "maps/abi.h"

namespace xlb {
namespace {

constexpr const char* kUsualMount = "/sys/fs/bpf";

bool is_bpffs(const std::string& path) {
  struct statfs info {};
  return statfs(path.c_str(), &info) == 0 && info.f_type == static_cast<decltype(info.f_type)>(BPF_FS_MAGIC);
}

std::string nearest_existing(std::string path) {
  while (!exists(path) && path.size() > 1) {
    const auto slash = path.find_last_of('/');
    path = slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
  }
  return path;
}

}  // namespace

Pins::Pins(std::string folder) : folder_(std::move(folder)) {
  while (folder_.size() > 1 && folder_.back() == '/') folder_.pop_back();
}

std::string Pins::tables() const {
  return folder_ + "/v" + std::to_string(XLB_ABI_VERSION);
}
std::string Pins::xdp_link(std::uint32_t ifindex) const {
  return links() + "/xdp-" + std::to_string(ifindex);
}

Result<std::string> Pins::prepare() const {
  std::string said;
  const std::string usual = kUsualMount;
  if (!is_bpffs(nearest_existing(folder_))) {
    if (!folder_.starts_with(usual + "/")) {
      return Error{"the pin directory " + folder_ + " is on no bpf filesystem: choose one below " + usual +
                   ", or mount one there (mount -t bpf bpf DIRECTORY)"};
    }
    if (mount("bpf", usual.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
      return system_error("mount a bpf filesystem on " + usual + ", which pins need").in("pin directory " + folder_);
    }
    said = "mounted a bpf filesystem on " + usual;
  }
  for (auto slash = folder_.find('/', 1);; slash = folder_.find('/', slash + 1)) {
    if (auto made = make_folder(folder_.substr(0, slash)); !made) return made.error();
    if (slash == std::string::npos) break;
  }
  if (auto made = make_folder(links()); !made) return made.error();
  return said;
}

Result<std::vector<std::string>> Pins::other_abis() const {
  auto names = list_folder(folder_);
  if (!names) return names.error();
  const std::string ours = "v" + std::to_string(XLB_ABI_VERSION);
  std::erase_if(*names, [&](const std::string& name) {
    return name == ours || name.size() < 2 || name[0] != 'v' ||
           !std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
  });
  return names;
}

Result<void> Pins::remove_all() const {
  return remove_pin(folder_);
}

Result<std::vector<std::string>> list_folder(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), closedir);
  if (!open) {
    if (errno == ENOENT) return names;
    return system_error("look into " + folder + (errno == EACCES ? " (needs root)" : ""));
  }
  while (const dirent* entry = readdir(open.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

Result<void> remove_pin(const std::string& path) {
  std::error_code problem;
  std::filesystem::remove_all(path, problem);
  if (problem) return Error{"remove " + path + ": " + problem.message()};
  return {};
}

Result<void> make_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    const int number = errno;
    const bool dotted = path.substr(path.find_last_of('/')).find('.') != std::string::npos;
    return system_error("make the folder " + path + (dotted ? " (names on a bpf filesystem cannot have a dot)" : ""),
                        number);
  }
  return {};
}

Result<void> rename_pin(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return system_error("rename " + from + " to " + to);
  return {};
}

Result<File> open_pin(const std::string& path) {
  File file(bpf_obj_get(path.c_str()));
  if (!file) return system_error("open the pin " + path);
  return file;
}

Result<void> pin_object(int object, const std::string& path) {
  const std::string beside = path + "-new";
  if (auto gone = remove_pin(beside); !gone) return gone;
  if (bpf_obj_pin(object, beside.c_str()) != 0) return system_error("pin " + path);
  return rename_pin(beside, path);
}

}  // namespace xlb
