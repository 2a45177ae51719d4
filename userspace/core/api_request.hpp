// SPDX-License-Identifier: Apache-2.0
// A question to the Kubernetes API server and its answer, as values: the core decides what is to be written,
// userspace/kube carries it there.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace xlb {

struct ApiRequest {
  enum class Verb : std::uint8_t {
    get,
    create,           // POST
    replace,          // PUT
    merge_patch,      // PATCH: fields of the body are set, null removes one, lists are exchanged (RFC 7386)
    strategic_patch,  // PATCH: the same, but lists are merged by their keys; not for custom resources
    apply_patch,      // PATCH: server-side apply, owned by `field_manager`
    remove,           // DELETE
  };
  Verb verb = Verb::get;
  std::string path;  // "/api/v1/namespaces/shop/services/web/status", with a query where one is needed
  std::string body;  // JSON; empty: none. Preconditions of a removal are put into it: leave it empty then
  // Of a removal: it fails (409) unless the object is still this one. Writes say the same by metadata.resourceVersion
  // in their body.
  std::string only_uid;
  std::string only_version;
  std::string field_manager = "xdp-lb";       // of patches and creations
  std::chrono::milliseconds timeout{10'000};  // from the request to the whole answer
  auto operator<=>(const ApiRequest&) const = default;
};

struct ApiAnswer {
  unsigned status = 0;  // of HTTP; 0: there was no answer
  std::string body;     // JSON, at most kBodyBytes
  std::string error;    // empty with a status of 2xx; else a sentence: what was asked, and what the server said
  std::string reason;   // of the server's Status object: "Conflict", "AlreadyExists", "NotFound", …
  [[nodiscard]] bool good() const { return status >= 200 && status < 300; }
  [[nodiscard]] bool conflict() const { return status == 409; }  // somebody was faster, or it is there already
  [[nodiscard]] bool gone() const { return status == 404; }
  // Not answered, or not by what stands behind the server: whether the write took place is not known. Look first.
  [[nodiscard]] bool unknown() const { return status == 0 || status == 504; }
  static constexpr std::size_t kBodyBytes = std::size_t{4} << 20;
  auto operator<=>(const ApiAnswer&) const = default;
};

}  // namespace xlb
