// SPDX-License-Identifier: Apache-2.0
#include "loader/bpf_object.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include <xdp_lb.skel.h>
#include "loader/file.hpp"
#include "loader/kernel_features.hpp"

namespace xlb {
namespace {

// What libbpf has to say goes into the error, never to the terminal: the words of this thread's load.
thread_local std::string load_words;

int collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[2048];
  const int length = std::vsnprintf(line, sizeof line, format, arguments);
  if (length > 0 && load_words.size() < 65536) load_words += line;
  return 0;
}

std::string last_words() {
  // The verifier's verdict stands before its statistics ("processed 123 insns"), at the end of a long log.
  std::string verdict, line;
  std::vector<std::string> lines;
  for (const char c : load_words + "\n") {
    if (c != '\n') {
      line += c;
      continue;
    }
    if (!line.empty()) lines.push_back(line);
    line.clear();
  }
  for (std::size_t at = 0; at < lines.size(); ++at) {
    if (lines[at].starts_with("processed ") && at > 0) return lines[at - 1];
    if (verdict.empty() && lines[at].find("failed") != std::string::npos) verdict = lines[at];
  }
  return verdict;
}

Error explain_load(int number) {
  const std::string missing = missing_for_links();
  if (!missing.empty()) return Error{missing};
  if (number == EPERM) {
    return Error{
        "the kernel refused to load programs (not permitted): is kernel.unprivileged_bpf_disabled, lockdown or "
        "RLIMIT_MEMLOCK in the way? See ulimit -l"};
  }
  if (number == ENOMEM) return Error{"not enough memory for the tables"};
  const std::string words = last_words();
  return Error{std::string(std::strerror(number)) + (words.empty() ? "" : ": " + words)};
}

}  // namespace

void BpfObject::Destroy::operator()(xdp_lb_bpf* skeleton) const {
  xdp_lb_bpf__destroy(skeleton);
}

Result<BpfObject> BpfObject::open() {
  libbpf_set_print(collect);
  BpfObject object(xdp_lb_bpf__open());
  if (!object.skeleton_) return system_error("open the BPF object in this binary");
  return object;
}

bpf_object* BpfObject::get() const {
  return skeleton_->obj;
}

Result<void> BpfObject::load() {
  load_words.clear();
  const int failed = xdp_lb_bpf__load(skeleton_.get());
  return failed == 0 ? Result<void>() : explain_load(-failed);
}

// FNV-1a of the object: which build is it?
std::string BpfObject::stamp() {
  std::size_t size = 0;
  const auto* bytes = static_cast<const unsigned char*>(xdp_lb_bpf__elf_bytes(&size));
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t at = 0; at < size; ++at) hash = (hash ^ bytes[at]) * 0x100000001b3u;
  char text[32];
  std::snprintf(text, sizeof text, "build-%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace xlb
