// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/curl_table.hpp"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <string>
#include <type_traits>

namespace xlb {

namespace {

Result<CurlTable> look_up(const char* library) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = dlerror();
    return Error{std::string("talking to a Kubernetes API server needs libcurl, and it cannot be loaded (") +
                 (why == nullptr ? library : why) +
                 "): install the package libcurl4 (Debian 12) or libcurl4t64 (Debian 13)"};
  }
  CurlTable table;
  std::string missing;
  const auto find = [&](auto& function, const char* name) {
    void* const symbol = dlsym(handle, name);
    if (symbol == nullptr && missing.empty()) missing = name;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  find(table.global_init, "curl_global_init");
  find(table.easy_init, "curl_easy_init");
  find(table.easy_setopt, "curl_easy_setopt");
  find(table.easy_getinfo, "curl_easy_getinfo");
  find(table.easy_strerror, "curl_easy_strerror");
  find(table.easy_cleanup, "curl_easy_cleanup");
  find(table.multi_init, "curl_multi_init");
  find(table.multi_setopt, "curl_multi_setopt");
  find(table.multi_strerror, "curl_multi_strerror");
  find(table.multi_add_handle, "curl_multi_add_handle");
  find(table.multi_remove_handle, "curl_multi_remove_handle");
  find(table.multi_perform, "curl_multi_perform");
  find(table.multi_info_read, "curl_multi_info_read");
  find(table.multi_poll, "curl_multi_poll");
  find(table.multi_wakeup, "curl_multi_wakeup");
  find(table.multi_cleanup, "curl_multi_cleanup");
  find(table.slist_append, "curl_slist_append");
  find(table.slist_free_all, "curl_slist_free_all");
  if (!missing.empty()) {
    dlclose(handle);
    return Error{std::string(library) + " has no " + missing +
                 ": it is no libcurl, or one before 7.77; install the package libcurl4 of this Debian"};
  }
  if (const CURLcode code = table.global_init(CURL_GLOBAL_ALL); code != CURLE_OK) {
    return Error{std::string("libcurl does not start: ") + table.easy_strerror(code)};
  }
  return table;
}

}  // namespace

Result<const CurlTable*> load_curl(const char* library) {
  static std::mutex mutex;
  static std::map<std::string, CurlTable> loaded;
  const std::scoped_lock lock(mutex);
  if (const auto found = loaded.find(library); found != loaded.end()) return &found->second;
  auto table = look_up(library);
  if (!table) return table.error();
  return &loaded.emplace(library, *table).first->second;
}

}  // namespace xlb
