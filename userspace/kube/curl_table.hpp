// SPDX-License-Identifier: Apache-2.0
// libcurl as a table of functions, looked for when a cluster is to be talked to: a machine without one runs this
// program too, and does not load TLS for nothing.
#pragma once

// The checks of option types are macros around the functions' names; they know nothing of pointers.
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "userspace/core/result.hpp"

namespace xlb {

struct CurlTable {
  decltype(&curl_global_init) global_init = nullptr;
  decltype(&curl_easy_init) easy_init = nullptr;
  decltype(&curl_easy_setopt) easy_setopt = nullptr;
  decltype(&curl_easy_getinfo) easy_getinfo = nullptr;
  decltype(&curl_easy_strerror) easy_strerror = nullptr;
  decltype(&curl_easy_cleanup) easy_cleanup = nullptr;
  decltype(&curl_multi_init) multi_init = nullptr;
  decltype(&curl_multi_setopt) multi_setopt = nullptr;
  decltype(&curl_multi_strerror) multi_strerror = nullptr;
  decltype(&curl_multi_add_handle) multi_add_handle = nullptr;
  decltype(&curl_multi_remove_handle) multi_remove_handle = nullptr;
  decltype(&curl_multi_perform) multi_perform = nullptr;
  decltype(&curl_multi_info_read) multi_info_read = nullptr;
  decltype(&curl_multi_poll) multi_poll = nullptr;
  decltype(&curl_multi_wakeup) multi_wakeup = nullptr;
  decltype(&curl_multi_cleanup) multi_cleanup = nullptr;
  decltype(&curl_slist_append) slist_append = nullptr;
  decltype(&curl_slist_free_all) slist_free_all = nullptr;
};

// Loaded once and kept: what it brings along (OpenSSL) cannot be unloaded safely. `library` is another one for tests.
Result<const CurlTable*> load_curl(const char* library = "libcurl.so.4");

}  // namespace xlb
