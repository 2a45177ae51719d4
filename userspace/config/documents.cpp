// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/documents.hpp"

#include "userspace/core/text.hpp"

namespace xlb {

namespace {

bool is_marker(std::string_view line) {
  if (!line.starts_with("---") && !line.starts_with("...")) return false;
  return line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r' || line[3] == '\n';
}

}  // namespace

std::vector<Document> split_documents(std::string_view text) {
  std::vector<Document> documents;
  Document current;
  int line = 1;
  for (std::size_t begin = 0; begin < text.size(); ++line) {
    const std::size_t newline = text.find('\n', begin);
    const std::size_t end = newline == std::string_view::npos ? text.size() : newline + 1;
    if (begin > 0 && is_marker(text.substr(begin, end - begin))) {
      current.end = begin;
      documents.push_back(current);
      current = Document{begin, begin, line};
    }
    begin = end;
  }
  current.end = text.size();
  documents.push_back(current);
  return documents;
}

std::string document_body(std::string_view document) {
  if (document.starts_with("\xef\xbb\xbf")) document.remove_prefix(3);
  if (is_marker(document)) {
    const std::size_t newline = document.find('\n');
    const std::string_view marker = document.substr(0, newline);
    const bool alone = trimmed(marker.substr(3)).empty();
    if (alone) document = newline == std::string_view::npos ? std::string_view{} : document.substr(newline + 1);
  }
  std::string body(document);
  if (!body.empty() && body.back() != '\n') body += '\n';
  return body;
}

std::string exchange(std::string_view text, const Document& document, const std::vector<std::string>& bodies) {
  std::string out(text.substr(0, document.begin));
  if (!out.empty() && out.back() != '\n') out += '\n';
  const bool marked = is_marker(document.in(text));
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    const bool own_marker = is_marker(bodies[i]);
    if ((i > 0 || marked) && !own_marker) out += "---\n";
    out += bodies[i];
    if (!bodies[i].empty() && bodies[i].back() != '\n') out += '\n';
  }
  out += text.substr(document.end);
  return out;
}

}  // namespace xlb
