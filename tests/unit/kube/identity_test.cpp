// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/identity.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "userspace/kube/api_server.hpp"
#include "userspace/kube/curl_table.hpp"

namespace xlb {
namespace {

const std::string kPem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const std::string kKey = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";

class IdentityTest : public testing::Test {
 protected:
  IdentityTest() {
    std::string name = (std::filesystem::temp_directory_path() / "xlb-identity-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    credentials_.origin = "x.yaml, context home";
    credentials_.server = "https://192.168.0.10:6443";
  }
  ~IdentityTest() override {
    std::filesystem::remove_all(folder_);
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
  }
  [[nodiscard]] std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }
  [[nodiscard]] std::string refusal() const {
    const auto identity = load_identity(credentials_);
    return identity ? "accepted" : identity.error().text;
  }
  std::string folder_;
  ApiCredentials credentials_;
};

TEST_F(IdentityTest, ReadsFiles) {
  credentials_.ca.file = write("ca.crt", kPem);
  credentials_.token.file = write("token", "  abc.def\n");
  const auto identity = load_identity(credentials_);
  ASSERT_TRUE(identity) << identity.error().text;
  EXPECT_EQ(identity->url, "https://192.168.0.10:6443");
  EXPECT_EQ(identity->ca, kPem);
  EXPECT_EQ(identity->token, "abc.def");
  EXPECT_TRUE(identity->verify);
  EXPECT_EQ(identity->connect_to, "");
}

TEST_F(IdentityTest, Urls) {
  const auto url = [&](const std::string& server) {
    credentials_.server = server;
    const auto identity = load_identity(credentials_);
    return identity ? identity->url : "refused";
  };
  EXPECT_EQ(url("https://pi1"), "https://pi1:443");
  EXPECT_EQ(url("https://[fd00::1]:6443/"), "https://[fd00::1]:6443");
  EXPECT_EQ(url("https://host:6443/k8s/clusters/c1/"), "https://host:6443/k8s/clusters/c1");
  EXPECT_EQ(url("http://127.0.0.1:8001"), "http://127.0.0.1:8001");
  for (const char* bad :
       {"", "pi1", "ftp://pi1", "https://", "https://:6443", "https://a:b", "https://a:", "https://u:p@host",
        "https://a b", "https://a?x", "https://a:123456", "http://192.168.0.10:8080"}) {
    EXPECT_EQ(url(bad), "refused") << bad;
  }
  credentials_.tls_server_name = "kubernetes";
  EXPECT_EQ(url("https://10.0.0.1:6443/x"), "https://kubernetes:6443/x");
  EXPECT_EQ(load_identity(credentials_)->connect_to, "::10.0.0.1:6443");
}

TEST_F(IdentityTest, SaysWhatIsWrong) {
  credentials_.server = "http://192.168.0.10:8080";
  EXPECT_EQ(refusal(),
            "x.yaml, context home: server: http://192.168.0.10:8080 is not encrypted: anybody on the way could read "
            "and change what is said; write https://");
  credentials_.server = "https://192.168.0.10:6443";
  credentials_.token.file = folder_ + "/none";
  EXPECT_EQ(
      refusal(),
      folder_ +
          "/none: the token cannot be read: No such file or directory; is it mounted, and readable for this user?");
  credentials_.token.file = folder_;
  EXPECT_EQ(refusal(), folder_ + ": the token cannot be read: it is no file");
  credentials_.token.file = write("token", " \n");
  EXPECT_EQ(refusal(), folder_ + "/token: the token cannot be read: it is empty");
  credentials_.token.file = write("token", "a b");
  EXPECT_EQ(refusal(), folder_ + "/token: the token holds blanks or control characters: it is damaged, or no token");
  credentials_.token.file = write("token", "good\r\nX-Header: smuggled");
  EXPECT_NE(refusal(), "accepted");
  credentials_.token = {};
  credentials_.ca.text = "garbage";
  EXPECT_EQ(
      refusal(),
      "x.yaml, context home: the certificate authority is no PEM: it has no line with -----BEGIN CERTIFICATE-----");
  credentials_.ca = {};
  credentials_.certificate.text = kPem;
  EXPECT_EQ(refusal(), "x.yaml, context home: a client certificate without its key: both are needed");
  credentials_.key.text = kKey;
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(IdentityTest, InACluster) {
  EXPECT_TRUE(in_cluster_credentials(folder_).error().text.starts_with("not in a cluster: KUBERNETES_SERVICE_HOST"));
  setenv("KUBERNETES_SERVICE_HOST", "10.43.0.1", 1);
  setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  EXPECT_TRUE(
      in_cluster_credentials(folder_).error().text.starts_with(folder_ + "/namespace: the namespace cannot be read"));
  (void)write("namespace", "xdp-lb");
  (void)write("ca.crt", kPem);
  EXPECT_TRUE(in_cluster_credentials(folder_).error().text.starts_with(folder_ + "/token: the token cannot be read"));
  (void)write("token", "abc");
  auto credentials = in_cluster_credentials(folder_);
  ASSERT_TRUE(credentials) << credentials.error().text;
  EXPECT_EQ(credentials->server, "https://10.43.0.1:443");
  EXPECT_EQ(credentials->ns, "xdp-lb");
  EXPECT_EQ(credentials->token.file, folder_ + "/token");
  setenv("KUBERNETES_SERVICE_HOST", "fd00:43::1", 1);
  EXPECT_EQ(in_cluster_credentials(folder_)->server, "https://[fd00:43::1]:443");
}

TEST(Curl, AMissingLibraryIsNamedWithItsPackage) {
  const auto missing = load_curl("libcurl-that-is-not-there.so.4");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().text.find("install the package libcurl4 (Debian 12) or libcurl4t64 (Debian 13)"),
            std::string::npos)
      << missing.error().text;
  const auto other = load_curl("libc.so.6");
  ASSERT_FALSE(other);
  EXPECT_TRUE(other.error().text.starts_with("libc.so.6 has no curl_global_init: it is no libcurl"))
      << other.error().text;
}

}  // namespace
}  // namespace xlb
