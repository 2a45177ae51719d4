// SPDX-License-Identifier: Apache-2.0
// Any text taken apart into documents: nothing is lost, and exchanging one leaves the others.
#include "userspace/config/documents.hpp"

#include "tests/fuzz/target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace xlb;
  const std::string_view text = fuzz::text_of(data, size);
  const std::vector<Document> documents = split_documents(text);
  std::size_t end = 0;
  for (const Document& document : documents) {
    fuzz::demand(document.begin == end && document.end >= document.begin, "documents follow one another");
    end = document.end;
  }
  fuzz::demand(end == text.size(), "documents are the whole text");
  const Document& middle = documents[documents.size() / 2];
  const std::string changed = exchange(text, middle, {"a: 1\n"});
  fuzz::demand(changed.starts_with(text.substr(0, middle.begin)), "what stands in front stays");
  fuzz::demand(changed.ends_with(text.substr(middle.end)), "what stands behind stays");
  fuzz::demand(split_documents(changed).size() == documents.size(), "their number stays", changed);
  (void)document_body(middle.in(text));
  return 0;
}
