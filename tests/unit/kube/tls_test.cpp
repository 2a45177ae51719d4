// SPDX-License-Identifier: Apache-2.0
// The same client behind TLS: nginx with certificates of an authority made here stands in front of the fake. By turns
// with HTTP/2 and without; it asks for a client certificate and says what it was.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "tests/unit/kube/cluster_objects.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

bool run(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

std::string text_of(const std::string& file) {
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// An authority, a server's certificate for 127.0.0.1 and kubernetes.default, and a client's.
bool make_certificates(const std::string& folder) {
  std::ofstream(folder + "/server.ext") << "subjectAltName=IP:127.0.0.1,DNS:kubernetes.default\n";
  const std::string ec = " -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes ";
  const std::string in = "cd " + folder + " && ";
  const auto authority = [&](const std::string& name) {
    return run(in + "openssl req -x509" + ec + "-keyout " + name + ".key -out " + name +
               ".crt -days 2 -subj /CN=" + name);
  };
  const auto certificate = [&](const std::string& name, const std::string& more) {
    return run(in + "openssl req" + ec + "-keyout " + name + ".key -out " + name + ".csr -subj /CN=" + name) &&
           run(in + "openssl x509 -req -in " + name + ".csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out " +
               name + ".crt" + more);
  };
  return authority("ca") && authority("stranger") && certificate("server", " -extfile server.ext") &&
         certificate("client", "");
}

class Tls : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!run("command -v nginx") || !run("command -v openssl"))
      GTEST_SKIP() << "needs nginx and openssl: apt install nginx-light openssl";
    std::string name = (std::filesystem::temp_directory_path() / "xlb-tls-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    ASSERT_TRUE(make_certificates(folder_));
    put_small_cluster(api_);
    ASSERT_TRUE(start_front());
  }
  void TearDown() override {
    if (front_ > 0) {
      kill(front_, SIGTERM);
      waitpid(front_, nullptr, 0);
    }
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  bool start_front() {
    // A port that is free now will be free in a moment.
    {
      FakeApi other;
      port_ = other.port();
    }
    std::ofstream(folder_ + "/nginx.conf")
        << "daemon off; master_process off; pid " << folder_ << "/pid; error_log " << folder_ << "/error.log;\n"
        << "events { worker_connections 256; }\n"
        << "http { access_log off; client_body_temp_path " << folder_ << "/b; proxy_temp_path " << folder_
        << "/p; fastcgi_temp_path " << folder_ << "/f; uwsgi_temp_path " << folder_ << "/u; scgi_temp_path "
        << folder_ << "/s;\n"
        << "server { listen 127.0.0.1:" << port_ << " ssl" << (GetParam() ? " http2" : "") << ";\n"
        << "ssl_certificate " << folder_ << "/server.crt; ssl_certificate_key " << folder_ << "/server.key;\n"
        << "ssl_client_certificate " << folder_ << "/ca.crt; ssl_verify_client optional;\n"
        << "location / { proxy_pass " << api_.url()
        << "; proxy_buffering off; proxy_http_version 1.1; proxy_read_timeout 3600;\n"
        << "proxy_set_header X-Client $ssl_client_s_dn; proxy_set_header X-Protocol $server_protocol; } } }\n";
    front_ = fork();
    if (front_ == 0) {
      execlp("nginx", "nginx", "-c", (folder_ + "/nginx.conf").c_str(), "-e", (folder_ + "/error.log").c_str(),
             nullptr);
      _exit(127);
    }
    for (int i = 0; i < 500; ++i) {
      if (run("curl -sk https://127.0.0.1:" + std::to_string(port_) + "/ -o /dev/null")) return true;
      std::this_thread::sleep_for(20ms);
    }
    ADD_FAILURE() << text_of(folder_ + "/error.log");
    return false;
  }

  [[nodiscard]] ApiCredentials credentials() const {
    ApiCredentials credentials;
    credentials.origin = "test";
    credentials.server = "https://127.0.0.1:" + std::to_string(port_);
    credentials.ca.text = text_of(folder_ + "/ca.crt");
    return credentials;
  }
  static std::unique_ptr<ApiServer> connect(const ApiCredentials& credentials) {
    ApiSettings settings = hasty();
    settings.pace.silence = 10s;
    auto server = ApiServer::connect(credentials, settings);
    EXPECT_TRUE(server) << server.error().text;
    return server ? std::move(*server) : nullptr;
  }
  static std::string trouble_of(const ApiCredentials& credentials) {
    const auto server = connect(credentials);
    std::vector<std::string> troubles;
    EXPECT_TRUE(wait_until(*server, [&] {
      troubles = server->take_troubles();
      return !troubles.empty();
    }));
    EXPECT_EQ(server->state(), nullptr);
    return troubles.empty() ? "" : troubles[0];
  }

  std::string folder_;
  std::uint16_t port_ = 0;
  pid_t front_ = -1;
  FakeApi api_;
};

TEST_P(Tls, ListsAndFollows) {
  std::mutex mutex;
  std::set<std::string> protocols;
  const auto hooked = api_.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    const std::scoped_lock lock(mutex);
    protocols.insert(request.header("x-protocol"));
    return std::nullopt;
  });
  const auto server = connect(credentials());
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  for (int i = 0; i < 20; ++i) {
    api_.put("services", service_json("s" + std::to_string(i)));
    ASSERT_TRUE(wait_until(*server, [&] {
      return server->state()->services->size() == static_cast<std::size_t>(i + 2);
    })) << i;
  }
  EXPECT_TRUE(server->take_troubles().empty());
  const std::scoped_lock lock(mutex);
  EXPECT_TRUE(protocols.contains(GetParam() ? "HTTP/2.0" : "HTTP/1.1")) << testing::PrintToString(protocols);
}

TEST_P(Tls, ShowsItsCertificateAndToken) {
  std::mutex mutex;
  std::string client, token;
  const auto hooked = api_.hook([&](const FakeRequest& request) -> std::optional<FakeReply> {
    const std::scoped_lock lock(mutex);
    if (request.of("services")) {
      client = request.header("x-client");
      token = request.header("authorization");
    }
    return std::nullopt;
  });
  ApiCredentials with = credentials();
  with.certificate.text = text_of(folder_ + "/client.crt");
  with.key.file = folder_ + "/client.key";
  with.token.text = "secret";
  const auto server = connect(with);
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(client, "CN=client");
  EXPECT_EQ(token, "Bearer secret");
}

TEST_P(Tls, BelievesOnlyTheAuthorityThatItWasGiven) {
  ApiCredentials stranger = credentials();
  stranger.ca.text = text_of(folder_ + "/stranger.crt");
  EXPECT_TRUE(trouble_of(stranger).starts_with("the API server cannot be reached: SSL certificate problem"))
      << trouble_of(stranger);
  ApiCredentials none = credentials();
  none.ca = {};
  EXPECT_TRUE(trouble_of(none).starts_with("the API server cannot be reached: SSL certificate problem"));
  stranger.skip_tls_verify = true;
  const auto server = connect(stranger);
  EXPECT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
}

TEST_P(Tls, ChecksTheName) {
  ApiCredentials named = credentials();
  named.tls_server_name = "kubernetes.default";
  const auto server = connect(named);
  EXPECT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  named.tls_server_name = "other.default";
  const std::string trouble = trouble_of(named);
  EXPECT_TRUE(std::regex_search(trouble, std::regex("matches target host ?name 'other\\.default'"))) << trouble;  // as libcurl's version spells it
}

TEST_P(Tls, GoesOnAfterItsFrontWasRestarted) {
  const auto server = connect(credentials());
  ASSERT_TRUE(wait_until(*server, [&] { return server->state() != nullptr; }));
  kill(front_, SIGKILL);
  waitpid(front_, nullptr, 0);
  ASSERT_TRUE(wait_until(*server, [&] { return !server->contact().reached; }));
  api_.put("services", service_json("new"));
  front_ = fork();
  if (front_ == 0) {
    execlp("nginx", "nginx", "-c", (folder_ + "/nginx.conf").c_str(), "-e", (folder_ + "/error.log").c_str(),
           nullptr);
    _exit(127);
  }
  EXPECT_TRUE(wait_until(*server, [&] { return server->state()->services->contains({"shop", "new"}); }));
}

INSTANTIATE_TEST_SUITE_P(Versions, Tls, testing::Bool(),
                         [](const auto& info) { return std::string(info.param ? "Http2" : "Http1"); });

}  // namespace
}  // namespace xlb
