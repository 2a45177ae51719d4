// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/identity.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "userspace/core/address.hpp"
#include "userspace/core/text.hpp"
#include "userspace/kube/api_server.hpp"

namespace xlb {

namespace {

constexpr std::size_t kMaxSecretBytes = std::size_t{1} << 20;  // a bundle of CAs is the largest

Result<std::string> read_secret_file(const std::string& file, const char* what) {
  const auto refused = [&](const std::string& why) {
    return Error{file + ": the " + what + " cannot be read: " + why};
  };
  std::error_code error;
  // A token that is a pipe would be waited for.
  if (!std::filesystem::is_regular_file(file, error)) {
    return refused(error ? error.message() + "; is it mounted, and readable for this user?" : "it is no file");
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) return refused(std::strerror(errno));
  std::string text(kMaxSecretBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad()) return refused("an error of the disk");
  if (text.size() > kMaxSecretBytes) return refused("it is larger than 1 MiB");
  if (trimmed(text).empty()) return refused("it is empty");
  return text;
}

Result<std::string> load(const ApiSecret& secret, const char* what) {
  if (secret.file.empty()) return secret.text;
  return read_secret_file(secret.file, what);
}

Result<std::string> load_pem(const ApiSecret& secret, const char* what, const char* marker,
                             const std::string& origin) {
  auto text = load(secret, what);
  if (!text || text->empty()) return text;
  if (text->find(marker) == std::string::npos) {
    return Error{(secret.file.empty() ? origin : secret.file) + ": the " + what + " is no PEM: it has no line with " +
                 marker};
  }
  return text;
}

struct Url {
  std::string scheme, host, port, path;  // host in brackets where it is IPv6
};

std::optional<Url> parse_url(const std::string& text) {
  Url url;
  const std::size_t colon = text.find("://");
  if (colon == std::string::npos) return std::nullopt;
  url.scheme = text.substr(0, colon);
  if (url.scheme != "https" && url.scheme != "http") return std::nullopt;
  const std::size_t begin = colon + 3;
  const std::size_t slash = std::min(text.find('/', begin), text.size());
  const std::string place = text.substr(begin, slash - begin);
  url.path = text.substr(slash);
  while (url.path.ends_with('/')) url.path.pop_back();
  const auto bad = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '@' || c == '?' || c == '#' || c == '"';
  };
  if (std::any_of(text.begin(), text.end(), bad)) return std::nullopt;
  const std::size_t bracket = place.find(']');
  const std::size_t port = place.find(':', bracket == std::string::npos ? 0 : bracket);
  url.host = place.substr(0, port);
  if (port != std::string::npos) url.port = place.substr(port + 1);
  const bool digits = url.port.find_first_not_of("0123456789") == std::string::npos && url.port.size() <= 5;
  if (url.host.empty() || !digits || (url.port.empty() && port != std::string::npos)) return std::nullopt;
  if (url.port.empty()) url.port = url.scheme == "https" ? "443" : "80";
  return url;
}

bool loopback(const std::string& host) {
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

}  // namespace

Result<Identity> load_identity(const ApiCredentials& credentials) {
  const auto url = parse_url(credentials.server);
  if (!url) {
    return Error{credentials.origin + ": server: " + in_quotes(std::string_view(credentials.server)) +
                 " is no URL of an API server: write it as https://192.168.0.10:6443"};
  }
  Identity identity;
  identity.verify = !credentials.skip_tls_verify;
  identity.proxy = credentials.proxy;
  auto ca = load_pem(credentials.ca, "certificate authority", "-----BEGIN CERTIFICATE-----", credentials.origin);
  if (!ca) return ca.error();
  auto certificate =
      load_pem(credentials.certificate, "client certificate", "-----BEGIN CERTIFICATE-----", credentials.origin);
  if (!certificate) return certificate.error();
  auto key = load_pem(credentials.key, "client key", "PRIVATE KEY-----", credentials.origin);
  if (!key) return key.error();
  auto token = load(credentials.token, "token");
  if (!token) return token.error();
  identity.ca = std::move(*ca);
  identity.certificate = std::move(*certificate);
  identity.key = std::move(*key);
  identity.token = trimmed(*token);
  if (identity.certificate.empty() != identity.key.empty()) {
    return Error{credentials.origin + ": a client " +
                 (identity.key.empty() ? "certificate without its key" : "key without its certificate") +
                 ": both are needed"};
  }
  if (std::any_of(identity.token.begin(), identity.token.end(), [](char c) { return c <= ' ' || c > '~'; })) {
    return Error{(credentials.token.file.empty() ? credentials.origin : credentials.token.file) +
                 ": the token holds blanks or control characters: it is damaged, or no token"};
  }
  if (url->scheme == "http" && !loopback(url->host)) {
    return Error{credentials.origin + ": server: " + credentials.server +
                 " is not encrypted: anybody on the way could read and change what is said; write https://"};
  }
  if (url->scheme == "https" && !credentials.tls_server_name.empty()) {
    identity.url = "https://" + credentials.tls_server_name + ":" + url->port + url->path;
    identity.connect_to = "::" + url->host + ":" + url->port;
  } else {
    identity.url = url->scheme + "://" + url->host + ":" + url->port + url->path;
  }
  return identity;
}

Result<ApiCredentials> in_cluster_credentials(const std::string& folder) {
  const char* const host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* const port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || *host == '\0' || port == nullptr || *port == '\0') {
    return Error{
        "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, as they are in every "
        "pod; outside of one name a kubeconfig"};
  }
  ApiCredentials credentials;
  credentials.origin = folder;
  const std::string name = host;
  const auto address = parse_address(name);
  const bool brackets = address && address->family() == Family::ipv6;
  credentials.server = std::string("https://") + (brackets ? "[" + name + "]" : name) + ":" + port;
  credentials.ca.file = folder + "/ca.crt";
  credentials.token.file = folder + "/token";
  auto ns = read_secret_file(folder + "/namespace", "namespace");
  if (!ns) return ns.error();
  credentials.ns = trimmed(*ns);
  // What is mounted wrong is said now, not when the first connection fails.
  if (auto identity = load_identity(credentials); !identity) return identity.error();
  return credentials;
}

}  // namespace xlb
