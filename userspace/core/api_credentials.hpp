// SPDX-License-Identifier: Apache-2.0
// Where the Kubernetes API server is and who this node is to it, as a value. userspace/config reads it from a
// kubeconfig, userspace/kube from what a pod finds mounted.
#pragma once

#include <string>

namespace xlb {

// A certificate, key or token: what it says, or the file that says it. Files are read again, since they are exchanged
// under a running process.
struct ApiSecret {
  std::string text;
  std::string file;
  [[nodiscard]] bool given() const { return !text.empty() || !file.empty(); }
  auto operator<=>(const ApiSecret&) const = default;
};

struct ApiCredentials {
  std::string origin;           // what sentences call it: "/etc/rancher/k3s/k3s.yaml, context default"
  std::string server;           // "https://10.43.0.1:443", without a slash at the end
  std::string tls_server_name;  // name that the server's certificate is checked for; empty: that of the URL
  bool skip_tls_verify = false;
  std::string proxy;           // empty: none, whatever the environment says
  std::string ns;              // namespace that it names; empty: none
  ApiSecret ca;                // not given: the system's
  ApiSecret certificate, key;  // of the client
  ApiSecret token;
  auto operator<=>(const ApiCredentials&) const = default;
};

}  // namespace xlb
