// SPDX-License-Identifier: Apache-2.0
// A YAML text as its documents, by bytes, so that one of them can be exchanged and the others stay as they are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace xlb {

// Bytes [begin, end) of the text. All documents together are the whole text; some hold nothing but comments.
struct Document {
  std::size_t begin = 0;
  std::size_t end = 0;
  int line = 1;  // of `begin`, counted from 1
  [[nodiscard]] std::string_view in(std::string_view text) const { return text.substr(begin, end - begin); }
};

// Split in front of each line that is `---` or `...`, alone or before a blank: YAML allows neither at the start of a
// line inside any scalar (YAML 1.2, 9.1.2), so no understanding of the rest is needed.
std::vector<Document> split_documents(std::string_view text);

// The document without its marker line and with a line end, ready to stand behind another.
std::string document_body(std::string_view document);

// The text with the document exchanged for these bodies; with none of them it is taken out.
std::string exchange(std::string_view text, const Document& document, const std::vector<std::string>& bodies);

}  // namespace xlb
