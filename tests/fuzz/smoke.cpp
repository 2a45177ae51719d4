// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target without libFuzzer: smoke CORPUS_FOLDER [MUTATIONS] [SEED]. The corpus itself first, then
// mutations of it, always the same ones for a seed. The input that breaks stays in the folder named on standard
// error: give that folder as the corpus to run it again.
#include <stdlib.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <vector>

#include "tests/fuzz/target.hpp"

namespace {

// What grammars are made of here: chance alone takes long to find it.
const std::vector<std::string> kPieces = {"---\n",
                                          "...\n",
                                          "- ",
                                          ": ",
                                          "? ",
                                          "[",
                                          "]",
                                          "{",
                                          "}",
                                          "&a ",
                                          "*a",
                                          "!!str ",
                                          "|\n",
                                          ">\n",
                                          "\"",
                                          "'",
                                          "#",
                                          "\t",
                                          "\n",
                                          "  ",
                                          "\r\n",
                                          "apiVersion: ",
                                          "kind: ",
                                          "IPAddressPool",
                                          "Service",
                                          "metadata:",
                                          "name",
                                          "spec:",
                                          "null",
                                          "~",
                                          "true",
                                          "0",
                                          "65536",
                                          "-1",
                                          "1e9",
                                          "192.168.0.1",
                                          "-",
                                          "/",
                                          "::",
                                          "ffff:",
                                          ".",
                                          "/0",
                                          "/129",
                                          ",",
                                          std::string(1, '\0'),
                                          "\xff",
                                          "\xef\xbb\xbf",
                                          "\xe2\x80\xa8",
                                          "<<: ",
                                          "===\n"};

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}
  std::string next(const std::vector<std::string>& corpus) {
    std::string text = corpus[below(corpus.size())];
    for (std::size_t n = 1 + below(6); n > 0; --n) change(text, corpus[below(corpus.size())]);
    return text;
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random_() % n); }
  void change(std::string& text, const std::string& other) {
    const std::size_t at = below(text.size() + 1);
    const std::size_t length = below(std::min<std::size_t>(text.size() - at, 40) + 1);
    switch (below(7)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.insert(at, kPieces[below(kPieces.size())]);
        break;
      case 2:
        text.erase(at, length);
        break;
      case 3:
        text.replace(at, length, kPieces[below(kPieces.size())]);
        break;
      case 4:
        text.insert(below(text.size() + 1), text.substr(at, length));
        break;
      case 5:
        text = text.substr(0, at) + other.substr(below(other.size() + 1));
        break;
      default:
        text.resize(at);
        break;
    }
  }
  std::mt19937_64 random_;
};

std::string g_folder;  // where the input of a crash goes
const std::string* g_input = nullptr;

// On SIGABRT or SIGSEGV: keeps the input. Streams are not safe here by the letter, but the program is dying anyway.
void keep_input(int signal) {
  std::signal(signal, SIG_DFL);
  std::ofstream(g_folder + "/input", std::ios::binary) << *g_input;
  std::cerr << "the input that broke it: " << g_folder << "/input\n";
  std::raise(signal);
}

void run(const std::string& input) {
  g_input = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " CORPUS_FOLDER [MUTATIONS] [SEED]\n";
    return 2;
  }
  const std::size_t mutations = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 5000;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (corpus.empty()) {
    std::cerr << argv[1] << ": no corpus: nothing was tested\n";
    return 1;
  }
  g_folder = (std::filesystem::temp_directory_path() / "xlb-smoke-XXXXXX").string();
  if (mkdtemp(g_folder.data()) == nullptr) return 1;
  for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) std::signal(signal, keep_input);
  for (const std::string& input : corpus) run(input);
  Mutator mutator(argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
  for (std::size_t i = 0; i < mutations; ++i) run(mutator.next(corpus));
  std::cout << corpus.size() << " inputs of the corpus and " << mutations << " mutations: nothing broke\n";
  std::filesystem::remove_all(g_folder);
  return 0;
}
