// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/key.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "userspace/peers/descriptor.hpp"
#include "userspace/peers/digest.hpp"

namespace xlb {

namespace {

constexpr std::string_view kHead = "xlb1";
constexpr std::size_t kKeyBytes = 32, kCheckBytes = 4;
constexpr std::size_t kLongestText = 512;  // as people paste it, with blanks and line ends
constexpr const char* kAdvice = ": copy it again from a node that has it (xdp-lb peer key says how)";

std::string_view view_of(const ClusterKey& key) {
  return {reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()};
}

// The first bytes of a hash that is said of nothing else. Four of a 256-bit key's hash give nothing away that helps
// to find it.
std::array<std::uint8_t, 4> short_hash(const char* purpose, const ClusterKey& key) {
  std::string text = std::string("xdp-lb key ") + purpose + ":";
  text += view_of(key);
  const Digest digest = sha256(text);
  explicit_bzero(text.data(), text.size());
  std::array<std::uint8_t, 4> first{};
  std::copy_n(digest.begin(), first.size(), first.begin());
  return first;
}

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

Error file_error(const std::string& doing, const std::filesystem::path& file) {
  return Error{doing + " " + file.string() + ": " + std::strerror(errno)};
}

Result<void> write_whole(const std::filesystem::path& file, const std::string& text) {
  // A fresh one: what a run that died has left may have other rights.
  unlink(file.c_str());
  const Descriptor fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return file_error("writing", file);
  if (fchmod(fd.get(), 0600) != 0) return file_error("writing", file);  // whatever the umask
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(fd.get(), text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return file_error("writing", file);
    done += static_cast<std::size_t>(wrote);
  }
  if (fsync(fd.get()) != 0) return file_error("writing", file);
  return {};
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const Descriptor fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || fsync(fd.get()) != 0) return file_error("writing to", folder);
  return {};
}

}  // namespace

Result<ClusterKey> make_key() {
  ClusterKey key;
  // So few bytes come whole or, where the kernel has no random numbers yet, after a wait.
  if (getrandom(key.bytes.data(), key.bytes.size(), 0) != static_cast<ssize_t>(key.bytes.size()))
    return Error{std::string("drawing a key: ") + std::strerror(errno)};
  return key;
}

std::string key_text(const ClusterKey& key) {
  static constexpr char digits[] = "0123456789abcdef";
  const auto check = short_hash("check", key);
  std::string text(kHead);
  const auto add = [&text](std::uint8_t byte, std::size_t at) {
    if (at % 4 == 0) text += '-';
    text += digits[byte >> 4];
    text += digits[byte & 15];
  };
  for (std::size_t i = 0; i < key.bytes.size(); ++i) add(key.bytes[i], i);
  for (std::size_t i = 0; i < check.size(); ++i) add(check[i], i);
  return text;
}

Result<ClusterKey> parse_key(std::string_view text) {
  if (text.size() > kLongestText) return Error{std::string("this is no key: it is too long") + kAdvice};
  std::string plain;
  for (const char c : text)
    if (c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != '-') plain += c;
  if (plain.empty()) return Error{std::string("there is no key in it") + kAdvice};
  const bool named = plain.size() >= kHead.size() &&
                     std::equal(kHead.begin(), kHead.end(), plain.begin(),
                                [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
  if (!named) return Error{"this is no key: one begins with " + std::string(kHead) + "-" + kAdvice};
  const std::string_view hex = std::string_view(plain).substr(kHead.size());
  const std::size_t wanted = 2 * (kKeyBytes + kCheckBytes);
  if (hex.size() != wanted)
    return Error{"the key has " + std::to_string(hex.size()) + " digits instead of " + std::to_string(wanted) +
                 kAdvice};
  std::array<std::uint8_t, kKeyBytes + kCheckBytes> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return Error{std::string("the key has a letter that is no hexadecimal digit") + kAdvice};
    bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  ClusterKey key;
  std::copy_n(bytes.begin(), kKeyBytes, key.bytes.begin());
  const auto check = short_hash("check", key);
  if (!std::equal(check.begin(), check.end(), bytes.begin() + kKeyBytes))
    return Error{std::string("a digit of the key is wrong, or two are swapped") + kAdvice};
  return key;
}

std::uint32_t key_fingerprint(const ClusterKey& key) {
  std::uint32_t fingerprint = 0;
  for (const std::uint8_t byte : short_hash("fingerprint", key)) fingerprint = fingerprint << 8 | byte;
  return fingerprint == 0 ? 1 : fingerprint;
}

std::string fingerprint_text(std::uint32_t fingerprint) {
  std::array<char, 9> text{};
  std::snprintf(text.data(), text.size(), "%08x", fingerprint);
  return text.data();
}

Result<std::optional<ClusterKey>> read_key(const std::filesystem::path& file) {
  const Descriptor fd(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // never waits for the writer of a FIFO
  if (fd.get() < 0) {
    if (errno == ENOENT) return std::optional<ClusterKey>();
    return file_error("reading the key", file);
  }
  struct stat facts {};
  if (fstat(fd.get(), &facts) != 0) return file_error("reading the key", file);
  if (!S_ISREG(facts.st_mode)) return Error{"the key " + file.string() + ": is not a plain file"};
  if (facts.st_uid != 0 && facts.st_uid != geteuid())
    return Error{"the key " + file.string() + ": belongs to another user, who can change it: chown root " +
                 file.string()};
  if ((facts.st_mode & 077) != 0)
    return Error{"the key " + file.string() + ": others than its owner may read or change it: chmod 600 " +
                 file.string() + "; if somebody may have read it, make another one: xdp-lb peer key --replace"};
  std::string text(kLongestText + 1, '\0');
  std::size_t length = 0;
  while (length < text.size()) {
    const ssize_t got = read(fd.get(), text.data() + length, text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file_error("reading the key", file);
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  auto key = parse_key(std::string_view(text).substr(0, length));
  explicit_bzero(text.data(), text.size());
  if (!key) return key.error().in("the key " + file.string());
  return std::optional<ClusterKey>(*key);
}

Result<void> write_key(const std::filesystem::path& file, const ClusterKey& key, bool replace) {
  std::string text = key_text(key);
  std::filesystem::path fresh = file;
  fresh += ".new";
  auto written = write_whole(fresh, text + "\n");
  explicit_bzero(text.data(), text.size());
  if (!written) return written;
  // A link refuses where a rename would replace: between looking and writing somebody else may have made one.
  const bool placed = replace ? rename(fresh.c_str(), file.c_str()) == 0 : link(fresh.c_str(), file.c_str()) == 0;
  if (!placed) {
    const Error error =
        !replace && errno == EEXIST
            ? Error{"there is a key already in " + file.string() + ": to put another in its place, say --replace"}
            : file_error("writing", file);
    unlink(fresh.c_str());
    return error;
  }
  if (!replace) unlink(fresh.c_str());
  return sync_folder(file.parent_path().empty() ? "." : file.parent_path());
}

}  // namespace xlb
