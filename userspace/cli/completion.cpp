// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>

#include "userspace/cli/tree.hpp"

namespace xlb {

namespace {

struct Word {
  std::string text;
  std::string description;
};

struct Point {
  std::string path;            // "", "pool", "pool add"
  std::vector<Word> words;     // commands and options that may follow
  bool interface = false;      // takes the name of an interface
};

bool hidden(const CLI::App* command) { return command->get_group().empty(); }

void add_options(const CLI::App& app, std::vector<Word>& words) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back({"--" + name, option->get_description()});
    for (const std::string& name : option->get_snames()) words.push_back({"-" + name, option->get_description()});
  }
}

void walk(const CLI::App& app, const CLI::App& root, const std::string& path, std::vector<Point>& points) {
  Point point{path, {}, false};
  for (const CLI::App* command : app.get_subcommands({})) {
    if (hidden(command)) continue;
    point.words.push_back({command->get_name(), command->get_description()});
  }
  add_options(app, point.words);
  if (&app != &root) add_options(root, point.words);
  // What is both global and the command's own (--help) once only.
  std::vector<Word> once;
  for (const Word& word : point.words)
    if (std::none_of(once.begin(), once.end(), [&](const Word& other) { return other.text == word.text; })) once.push_back(word);
  point.words = std::move(once);
  for (const CLI::Option* option : app.get_options()) point.interface |= option->get_single_name() == "IFACE";
  points.push_back(std::move(point));
  for (const CLI::App* command : app.get_subcommands({}))
    if (!hidden(command)) walk(*command, root, path.empty() ? command->get_name() : path + " " + command->get_name(), points);
}

std::vector<Point> points_of(const CLI::App& app) {
  std::vector<Point> points;
  walk(app, app, "", points);
  return points;
}

// "--mode" -> "auto native tc generic"; the same words wherever an option of that name stands.
std::map<std::string, std::string> values_of(const Context& context) {
  std::map<std::string, std::string> values;
  for (const auto& [option, words] : context.choices) {
    for (const std::string& name : option->get_lnames()) values["--" + name] = joined(words, " ");
    for (const std::string& name : option->get_snames()) values["-" + name] = joined(words, " ");
  }
  return values;
}

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string texts(const Point& point) {
  std::vector<std::string> words;
  for (const Word& word : point.words) words.push_back(word.text);
  return joined(words, " ");
}

constexpr const char* kFolders = "--config-dir|--run-dir|--pin-dir|--cgroup";

}  // namespace

std::string bash_completion(const CLI::App& app, const Context& context) {
  std::string text = R"(# bash completion for xdp-lb: source <(xdp-lb completion bash)
_xdp_lb() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} path= word
  COMPREPLY=()
  case $previous in
    -f|--filename) COMPREPLY=($(compgen -f -- "$current")); return ;;
)";
  text += std::string("    ") + kFolders + ") COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n";
  text += "    --interface) COMPREPLY=($(compgen -W \"$(ls /sys/class/net)\" -- \"$current\")); return ;;\n";
  for (const auto& [name, words] : values_of(context))
    text += "    " + name + ") COMPREPLY=($(compgen -W " + quoted(words) + " -- \"$current\")); return ;;\n";
  text += R"(  esac
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
)";
  const auto points = points_of(app);
  for (const Point& point : points) {
    if (point.path.empty()) continue;
    const auto blank = point.path.rfind(' ');
    const std::string before = blank == std::string::npos ? "" : point.path.substr(0, blank);
    const std::string last = blank == std::string::npos ? point.path : point.path.substr(blank + 1);
    text += "      " + quoted(before + " " + last) + ") path=" + quoted(point.path) + " ;;\n";
  }
  text += "    esac\n  done\n  local words=\n  case $path in\n";
  for (const Point& point : points) {
    text += "    " + quoted(point.path) + ") words=" + quoted(texts(point)) + " ;;\n";
  }
  text += "  esac\n  case $path in\n";
  for (const Point& point : points)
    if (point.interface) text += "    " + quoted(point.path) + ") words=\"$words $(ls /sys/class/net)\" ;;\n";
  text += R"(  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _xdp_lb xdp-lb
)";
  return text;
}

// zsh runs the bash function through its own adapter: one description of the words, and nothing to drift apart.
std::string zsh_completion(const CLI::App& app, const Context& context) {
  return "#compdef xdp-lb\n# zsh completion for xdp-lb: source <(xdp-lb completion zsh)\nautoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bash_completion(app, context);
}

std::string fish_completion(const CLI::App& app, const Context& context) {
  std::string text = R"(# fish completion for xdp-lb: xdp-lb completion fish | source
function __xdp_lb_path
  set -l path
  set -l tokens (commandline -opc)
  for word in $tokens[2..-1]
    set -l longer (string join ' ' $path $word)
    if contains -- $longer )";
  const auto points = points_of(app);
  std::vector<std::string> paths;
  for (const Point& point : points)
    if (!point.path.empty()) paths.push_back(quoted(point.path));
  text += joined(paths, " ") + R"(
      set path $path $word
    end
  end
  string join ' ' $path
end
complete -c xdp-lb -f
)";
  const auto values = values_of(context);
  for (const Point& point : points) {
    const std::string condition = " -n " + quoted("test \"$(__xdp_lb_path)\" = \"" + point.path + "\"");
    for (const Word& word : point.words) {
      std::string line = "complete -c xdp-lb" + condition;
      if (word.text.starts_with("--"))
        line += " -l " + word.text.substr(2);
      else if (word.text.starts_with("-"))
        line += " -s " + word.text.substr(1);
      else
        line += " -a " + word.text;
      if (const auto value = values.find(word.text); value != values.end()) line += " -x -a " + quoted(value->second);
      if (word.text == "--filename" || word.text == "-f") line += " -r -F";
      text += line + " -d " + quoted(word.description) + "\n";
    }
    if (point.interface) text += "complete -c xdp-lb" + condition + " -a '(ls /sys/class/net)'\n";
  }
  return text;
}

void add_completion(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("completion", "Print a completion script for a shell");
  auto shell = std::make_shared<int>(0);
  add_choice(*command, context, "SHELL", "Shell", {{"bash", 0}, {"zsh", 1}, {"fish", 2}}, [shell](int chosen) { *shell = chosen; })
      ->required();
  command->callback([&app, &context, shell] {
    context.action = [&app, &context, shell] {
      std::cout << (*shell == 0 ? bash_completion(app, context) : *shell == 1 ? zsh_completion(app, context) : fish_completion(app, context));
      return kDone;
    };
  });

  command = app.add_subcommand("version", "Print the version and the number of the table layout");
  add_output(*command, context);
  command->callback([&context] {
    context.action = [&context] {
      if (context.document())
        print_document(std::cout, {{"version", XLB_VERSION}, {"abi", XLB_ABI_VERSION}}, context.output);
      else
        std::cout << "xdp-lb " << XLB_VERSION << " (tables " << XLB_ABI_VERSION << ")\n";
      return kDone;
    };
  });

  // For those who build it: the documents that must not drift from the program.
  command = app.add_subcommand("docs", "Print docs/cli.md or docs/verdicts.md")->group("");
  auto document = std::make_shared<int>(0);
  add_choice(*command, context, "DOCUMENT", "Document", {{"cli", 0}, {"verdicts", 1}}, [document](int chosen) { *document = chosen; })
      ->required();
  command->callback([&app, &context, document] {
    context.action = [&app, document] {
      std::cout << (*document == 0 ? cli_document(app) : verdicts_document());
      return kDone;
    };
  });
}

}  // namespace xlb
