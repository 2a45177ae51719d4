// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/kubeconfig.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace xlb {
namespace {

// As k3s writes /etc/rancher/k3s/k3s.yaml.
const std::string kK3s = R"(apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {}
users:
- name: default
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
)";

std::string with_user(const std::string& user) {
  return "clusters: [{name: c, cluster: {server: 'https://h:6443'}}]\ncontexts: [{name: x, context: {cluster: c, "
         "user: u, "
         "namespace: ours}}]\ncurrent-context: x\nusers:\n- name: u\n  user: " +
         user + "\n";
}

std::string refusal(const std::string& yaml, const std::string& context = {}) {
  const auto credentials = parse_kubeconfig(yaml, "/etc/k/config", context);
  return credentials ? "accepted" : credentials.error().text;
}

TEST(Kubeconfig, OfK3sAsItIs) {
  const auto credentials = parse_kubeconfig(kK3s, "/etc/rancher/k3s/k3s.yaml");
  ASSERT_TRUE(credentials) << credentials.error().text;
  EXPECT_EQ(credentials->origin, "/etc/rancher/k3s/k3s.yaml, context default");
  EXPECT_EQ(credentials->server, "https://127.0.0.1:6443");
  EXPECT_EQ(credentials->ca.text, "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n");
  EXPECT_EQ(credentials->certificate.text, "cert");
  EXPECT_EQ(credentials->key.text, "key");
  EXPECT_FALSE(credentials->token.given());
  EXPECT_FALSE(credentials->skip_tls_verify);
}

TEST(Kubeconfig, NamesFilesBesideItself) {
  const auto credentials = parse_kubeconfig(
      with_user("{client-certificate: pki/c.crt, client-key: /abs/c.key, tokenFile: token, token: other}"),
      "/etc/k/config");
  ASSERT_TRUE(credentials) << credentials.error().text;
  EXPECT_EQ(credentials->certificate.file, "/etc/k/pki/c.crt");
  EXPECT_EQ(credentials->key.file, "/abs/c.key");
  EXPECT_EQ(credentials->token.file, "/etc/k/token");
  EXPECT_EQ(credentials->token.text, "");
  EXPECT_EQ(credentials->ns, "ours");
}

TEST(Kubeconfig, ReadsTheRest) {
  const auto credentials = parse_kubeconfig(
      "clusters: [{name: c, cluster: {server: 'https://h', insecure-skip-tls-verify: true, tls-server-name: "
      "kubernetes, proxy-url: 'http://p:3128'}}]\n"
      "contexts: [{name: a, context: {cluster: c, user: u}}, {name: b, context: {cluster: c, user: v}}]\nusers: "
      "[{name: u, user: {token: one}}, {name: v, user: {token: two}}]\n",
      "config", "b");
  ASSERT_TRUE(credentials) << credentials.error().text;
  EXPECT_TRUE(credentials->skip_tls_verify);
  EXPECT_EQ(credentials->tls_server_name, "kubernetes");
  EXPECT_EQ(credentials->proxy, "http://p:3128");
  EXPECT_EQ(credentials->token.text, "two");
}

TEST(Kubeconfig, RefusesProgramsByName) {
  EXPECT_EQ(refusal(with_user("{exec: {command: aws, args: [x]}}")),
            "/etc/k/config:6: users[0].user.exec: credentials from the program \"aws\" are not supported: a load "
            "balancer must come up without it; give the user a token, a tokenFile or a client certificate");
  EXPECT_EQ(refusal(with_user("{auth-provider: {name: gcp}}")),
            "/etc/k/config:6: users[0].user.auth-provider: credentials from the auth-provider \"gcp\" are not "
            "supported: give the user a token, a tokenFile or a client certificate");
  EXPECT_NE(refusal(with_user("{username: a, password: b}"))
                .find("users[0].user.username: no Kubernetes since 1.19 takes a password"),
            std::string::npos);
  EXPECT_NE(refusal(with_user("{as: root, token: x}")).find("users[0].user.as: impersonation is not supported"),
            std::string::npos);
}

TEST(Kubeconfig, SaysWhatIsMissing) {
  EXPECT_EQ(refusal(""), "/etc/k/config: empty: a kubeconfig has clusters, users and contexts");
  EXPECT_EQ(refusal("clusters: []"), "/etc/k/config:1: current-context: missing: say which of the contexts is meant");
  EXPECT_EQ(refusal(kK3s, "other"), "/etc/k/config:8: contexts: there is no context \"other\" among them");
  EXPECT_EQ(refusal("contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x"),
            "/etc/k/config:1: clusters: there is no cluster \"c\", which context \"x\" names");
  EXPECT_EQ(refusal("clusters: [{name: c, cluster: {server: s}}]\ncontexts: [{name: x, context: {cluster: c, user: "
                    "u}}]\ncurrent-context: x"),
            "/etc/k/config:1: users: there is no user \"u\", which context \"x\" names");
  EXPECT_EQ(refusal("clusters: [{name: c, cluster: {}}]\ncontexts: [{name: x, context: {cluster: c, user: "
                    "u}}]\ncurrent-context: x\nusers: [{name: u, user: {}}]"),
            "/etc/k/config:1: clusters[0].cluster.server: missing: the URL of the API server, as in "
            "https://192.168.0.10:6443");
  EXPECT_EQ(
      refusal(with_user("{client-certificate-data: Y2VydA==}")),
      "/etc/k/config:6: users[0].user.client-key: missing: a client certificate and its key are needed together");
  EXPECT_EQ(refusal(with_user("{client-certificate-data: 'a', client-key-data: a2V5}")),
            "/etc/k/config:6: users[0].user.client-certificate-data: not valid base64: copy the value whole, or name "
            "a file by client-certificate");
  for (const char* bad : {"'====' ", "'YQ=a'", "'Y Q = = ='", "'Y*=='", "'YQ='"}) {
    EXPECT_NE(refusal(with_user(std::string("{client-key-data: a2V5, client-certificate-data: ") + bad + "}"))
                  .find("not valid base64"),
              std::string::npos)
        << bad;
  }
  EXPECT_NE(refusal(with_user("[1]")), "accepted");
  EXPECT_NE(refusal("[]"), "accepted");
  EXPECT_NE(refusal("a: b: c"), "accepted");
}

TEST(Kubeconfig, AnAuthorityThatIsNotUsedIsAContradiction) {
  EXPECT_EQ(refusal("clusters: [{name: c, cluster: {server: 'https://h', insecure-skip-tls-verify: true, "
                    "certificate-authority: ca.crt}}]\ncontexts: [{name: x, context: {cluster: c, user: "
                    "u}}]\ncurrent-context: x\nusers: [{name: u, user: {}}]"),
            "/etc/k/config:1: clusters[0].cluster.insecure-skip-tls-verify: a certificate authority is given, and "
            "its verification is switched off: remove one of the two");
}

TEST(Kubeconfig, IsReadFromAFile) {
  const auto missing = read_kubeconfig("/nowhere/config");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().text, "/nowhere/config: cannot be read: No such file or directory");
  EXPECT_EQ(read_kubeconfig("/tmp").error().text, "/tmp: is no file");
  const auto file = std::filesystem::temp_directory_path() / "xlb-kubeconfig-test";
  std::ofstream(file) << kK3s;
  EXPECT_TRUE(read_kubeconfig(file));
  std::ofstream(file) << std::string((1 << 20) + 1, '#');
  EXPECT_EQ(read_kubeconfig(file).error().text, file.string() + ": larger than 1 MiB: this is no kubeconfig");
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace xlb
