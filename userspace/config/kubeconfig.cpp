// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/kubeconfig.hpp"

#include <cstdint>
#include <fstream>
#include <optional>
#include <utility>

#include "userspace/config/yaml_tree.hpp"
#include "userspace/core/fields.hpp"
#include "userspace/core/text.hpp"

namespace xlb {

namespace {

constexpr std::size_t kMaxKubeconfigBytes = std::size_t{1} << 20;

// RFC 4648, 4. Line ends and blanks are passed over: editors fold long lines.
std::optional<std::string> base64_decoded(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  std::size_t digits = 0, padding = 0;
  for (const char c : text) {
    std::uint32_t value = 0;
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    if (padding > 0) return std::nullopt;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<std::uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<std::uint32_t>(c - '0') + 52;
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    ++digits;
    bits = bits << 6 | value;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out += static_cast<char>(bits >> held & 0xff);
  }
  if (digits % 4 == 1 || padding > 2 || (padding > 0 && (digits + padding) % 4 != 0)) return std::nullopt;
  return out;
}

// The entry of that name in one of the three lists.
std::optional<Field> named(const Field& list, const std::string& name, const char* inner) {
  for (const Field& item : list.items()) {
    if (item["name"].text() == name) return item[inner];
  }
  return std::nullopt;
}

// `key-data` embedded, or the file that `key` names, beside the kubeconfig where its path is not absolute.
ApiSecret read_secret(const Field& mapping, const std::string& key, const std::filesystem::path& file) {
  ApiSecret secret;
  const Field data = mapping[key + "-data"];
  if (const std::string text = data.text(); !text.empty()) {
    auto decoded = base64_decoded(text);
    if (!decoded || decoded->empty()) {
      data.fail("not valid base64: copy the value whole, or name a file by " + key);
      return secret;
    }
    secret.text = std::move(*decoded);
    return secret;
  }
  if (const std::string path = mapping[key].text(); !path.empty()) secret.file = (file.parent_path() / path).string();
  return secret;
}

void refuse_programs(const Field& user) {
  const Field exec = user["exec"];
  if (exec.present()) {
    exec.fail("credentials from the program " + in_quotes(std::string_view(exec["command"].text())) +
              " are not supported: a load balancer must come up without it; give the user a token, a tokenFile or a "
              "client certificate");
  }
  const Field provider = user["auth-provider"];
  if (provider.present()) {
    provider.fail("credentials from the auth-provider " + in_quotes(std::string_view(provider["name"].text())) +
                  " are not supported: give the user a token, a tokenFile or a client certificate");
  }
  for (const char* key : {"username", "password"}) {
    if (user[key].present()) {
      user[key].fail("no Kubernetes since 1.19 takes a password: give the user a token or a client certificate");
    }
  }
  for (const char* key : {"as", "as-uid", "as-groups", "as-user-extra"}) {
    if (user[key].present()) user[key].fail("impersonation is not supported: use the credentials of that user");
  }
}

void read_cluster(const Field& cluster, const std::filesystem::path& file, ApiCredentials& credentials) {
  credentials.server = cluster["server"].required_text("the URL of the API server, as in https://192.168.0.10:6443");
  credentials.tls_server_name = cluster["tls-server-name"].text();
  credentials.proxy = cluster["proxy-url"].text();
  credentials.ca = read_secret(cluster, "certificate-authority", file);
  const Field insecure = cluster["insecure-skip-tls-verify"];
  credentials.skip_tls_verify = insecure.boolean(false);
  if (credentials.skip_tls_verify && credentials.ca.given()) {
    insecure.fail("a certificate authority is given, and its verification is switched off: remove one of the two");
  }
}

void read_user(const Field& user, const std::filesystem::path& file, ApiCredentials& credentials) {
  refuse_programs(user);
  credentials.certificate = read_secret(user, "client-certificate", file);
  credentials.key = read_secret(user, "client-key", file);
  if (credentials.certificate.given() != credentials.key.given()) {
    const char* const missing = credentials.key.given() ? "client-certificate" : "client-key";
    user[missing].fail("missing: a client certificate and its key are needed together");
  }
  // As in kubectl, the file wins: it is the one that is renewed.
  if (const std::string path = user["tokenFile"].text(); !path.empty()) {
    credentials.token.file = (file.parent_path() / path).string();
  } else {
    credentials.token.text = user["token"].text();
  }
}

}  // namespace

Result<ApiCredentials> parse_kubeconfig(const std::string& yaml, const std::filesystem::path& file,
                                        const std::string& context) {
  if (auto text = check_text(yaml, file.string()); !text) return text.error();
  const auto tree = parse_yaml(yaml, file.string());
  if (!tree) return tree.error();
  if (!*tree) return Error{"empty: a kubeconfig has clusters, users and contexts"}.in(file.string());
  Reading reading(file.string(), **tree);
  const Field root = reading.root();
  ApiCredentials credentials;
  const Field current = root["current-context"];
  const std::string name = context.empty() ? current.text() : context;
  if (name.empty()) current.fail("missing: say which of the contexts is meant");
  credentials.origin = file.string() + ", context " + name;
  const auto chosen = reading.error() ? std::nullopt : named(root["contexts"], name, "context");
  if (!chosen) {
    root["contexts"].fail("there is no context " + in_quotes(std::string_view(name)) + " among them");
    return *reading.error();
  }
  credentials.ns = (*chosen)["namespace"].text();
  const std::string cluster_name = (*chosen)["cluster"].required_text("a context names its cluster");
  const std::string user_name = (*chosen)["user"].required_text("a context names its user");
  if (reading.error()) return *reading.error();
  if (const auto cluster = named(root["clusters"], cluster_name, "cluster")) {
    read_cluster(*cluster, file, credentials);
  } else {
    root["clusters"].fail("there is no cluster " + in_quotes(std::string_view(cluster_name)) + ", which context " +
                          in_quotes(std::string_view(name)) + " names");
  }
  if (const auto user = named(root["users"], user_name, "user")) {
    read_user(*user, file, credentials);
  } else {
    root["users"].fail("there is no user " + in_quotes(std::string_view(user_name)) + ", which context " +
                       in_quotes(std::string_view(name)) + " names");
  }
  if (reading.error()) return *reading.error();
  return credentials;
}

Result<ApiCredentials> read_kubeconfig(const std::filesystem::path& file, const std::string& context) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) {
    return Error{error ? "cannot be read: " + error.message() : "is no file"}.in(file.string());
  }
  std::ifstream in(file, std::ios::binary);
  std::string text(kMaxKubeconfigBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (!in.is_open() || in.bad()) {
    return Error{"cannot be read: run as a user who may, it holds the keys of the cluster"}.in(file.string());
  }
  if (text.size() > kMaxKubeconfigBytes) return Error{"larger than 1 MiB: this is no kubeconfig"}.in(file.string());
  return parse_kubeconfig(text, file, context);
}

}  // namespace xlb
