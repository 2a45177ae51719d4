// SPDX-License-Identifier: Apache-2.0
#include "loader/listening.hpp"

#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

namespace xlb {

bool listed_as_listening(std::istream& table, std::uint16_t port) {
  std::string line;
  std::getline(table, line);  // the names of the columns
  while (std::getline(table, line)) {
    std::istringstream columns(line);
    std::string number, local, remote, state;
    if (!(columns >> number >> local >> remote >> state) || state != "0A") return false;  // TCP_LISTEN
    const auto colon = local.rfind(':');
    if (colon == std::string::npos) return false;
    std::uint16_t found = 0;
    const auto [end, problem] = std::from_chars(local.data() + colon + 1, local.data() + local.size(), found, 16);
    if (problem == std::errc() && end == local.data() + local.size() && found == port) return true;
  }
  return false;
}

bool somebody_listens(std::uint16_t port) {
  for (const char* name : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream table(name);
    if (listed_as_listening(table, port)) return true;
  }
  return false;
}

}  // namespace xlb
