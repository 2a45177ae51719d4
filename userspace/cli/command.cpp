// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/command.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include "userspace/daemon/control.hpp"

namespace xlb {

CLI::Option* add_choice(CLI::App& command, Context& context, const std::string& names, const std::string& description,
                        const std::vector<std::pair<std::string, int>>& words, std::function<void(int)> chosen) {
  std::vector<std::string> list;
  for (const auto& [word, value] : words) list.push_back(word);
  const auto parse = [words, list, chosen = std::move(chosen), names](const std::string& given) {
    const auto found = std::find_if(words.begin(), words.end(), [&](const auto& entry) { return entry.first == given; });
    if (found == words.end())
      throw CLI::ValidationError(names, "\"" + given + "\": expected one of " + joined(list, ", "));
    chosen(found->second);
  };
  CLI::Option* option = command.add_option_function<std::string>(names, parse, description);
  option->type_name(joined(list, "|"));
  context.choices[option] = list;
  return option;
}

void add_output(CLI::App& command, Context& context) {
  add_choice(command, context, "-o,--output", "How to print it",
             {{"table", static_cast<int>(OutputFormat::table)},
              {"wide", static_cast<int>(OutputFormat::wide)},
              {"json", static_cast<int>(OutputFormat::json)},
              {"yaml", static_cast<int>(OutputFormat::yaml)}},
             [&context](int format) { context.output = static_cast<OutputFormat>(format); });
}

int fail(const Error& error) {
  std::cerr << "xdp-lb: " << error.text << "\n";
  return kFailed;
}

int usage(const Error& error) {
  std::cerr << "xdp-lb: " << error.text << "\n";
  return kUsage;
}

void warn(const std::string& warning) { std::cerr << "warning: " << warning << "\n"; }

Result<std::unique_ptr<Reconciler>> open_node(const Context& context, const std::string& doing) {
  if (auto allowed = require_capabilities(doing); !allowed) return allowed.error();
  auto edges = open_edges(context.settings);
  if (!edges) return edges.error().in(doing);
  return std::make_unique<Reconciler>(context.settings, std::move(*edges));
}

Result<std::optional<Answer>> ask(const Context& context, const std::string& doing, Demand demand) {
  auto client = ControlClient::connect(context.settings.control_socket());
  if (!client) return client.error().in(doing);
  if (!*client) return std::optional<Answer>();
  const Request request = make_request(context.settings, std::move(demand));
  if (auto sent = (*client)->send(encode(request)); !sent) return sent.error().in(doing);
  auto line = (*client)->line();
  if (!line) return line.error().in(doing);
  if (!*line)
    return Error{doing + ": the daemon ended before it answered: what it had done stands; run `xdp-lb status`, then try again"};
  auto answer = decode_answer(**line);
  if (!answer) return answer.error().in(doing);
  if (const auto* error = std::get_if<Error>(&*answer)) return error->in(doing);
  return std::optional<Answer>(std::move(*answer));
}

Result<Json> ask_cluster(const Context& context, const std::string& doing, Demand demand) {
  auto answer = ask(context, doing, std::move(demand));
  if (!answer) return answer.error();
  if (!*answer) return Json();
  const auto* told = std::get_if<ClusterAnswer>(&**answer);
  Json json = told ? Json::parse(told->json, nullptr, false) : Json(Json::value_t::discarded);
  if (json.is_discarded()) return Error{doing + ": the daemon answered something else: restart it"};
  return json;
}

Result<Outcome> change(const Context& context, const std::string& doing, Demand demand, const PassOptions& options) {
  if (auto allowed = require_capabilities(doing); !allowed) return allowed.error();
  auto answer = ask(context, doing, demand);
  if (!answer) return answer.error();
  if (!*answer) {
    auto node = open_node(context, doing);
    if (!node) return node.error();
    auto outcome = execute(make_request(context.settings, std::move(demand)), **node, options);
    if (!outcome) return outcome.error().in(doing);
    return outcome;
  }
  if (auto* outcome = std::get_if<Outcome>(&**answer)) return std::move(*outcome);
  return Error{doing + ": the daemon answered something else: restart it"};
}

void tell(const Outcome& outcome) {
  for (const ChangeReport& report : outcome.changes)
    std::cout << report.object.text() << " " << change_text(report.change) << "\n";
  for (const ServiceOutcome& service : outcome.services) {
    std::vector<std::string> addresses;
    for (const Address& address : service.addresses) addresses.push_back(address.text());
    if (!addresses.empty())
      std::cout << "Service " << service.name.text() << " has " << joined(addresses, " and ") << " of pool " << service.pool
                << "\n";
    else if (!service.refusal.empty())
      warn("Service " + service.name.text() + " has no address: " + service.refusal);
    else
      std::cout << "Service " << service.name.text() << " has given its address back\n";
  }
  for (const VipOutcome& vip : outcome.taken)
    std::cout << vip.address.text() << " is answered for on " << joined(vip.links, ", ") << "\n";
  for (const Address& vip : outcome.dropped) std::cout << vip.text() << " is not answered for any more\n";
  for (const std::string& warning : outcome.warnings) warn(warning);
}

int changed(const Result<Outcome>& outcome) {
  if (!outcome) return fail(outcome.error());
  tell(*outcome);
  if (outcome->attached.empty())
    std::cout << "Nothing is attached, so nothing is in force yet: xdp-lb attach IFACE\n";
  return kDone;
}

Result<Address> address_option(const std::string& option, const std::string& text) {
  auto address = parse_address(text);
  if (!address) return address.error().in(option);
  return *address;
}

Result<std::chrono::milliseconds> parse_duration(const std::string& text) {
  const Error wrong{"\"" + text + "\": expected a time such as 30s, 2m or 500ms, at most 24h"};
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 9) return wrong;
  const std::string unit = text.substr(digits);
  const std::int64_t count = std::stoll(text.substr(0, digits));
  std::int64_t scale = 0;
  if (unit == "ms") scale = 1;
  if (unit.empty() || unit == "s") scale = 1000;
  if (unit == "m") scale = 60'000;
  if (unit == "h") scale = 3'600'000;
  if (scale == 0 || count == 0 || count > 86'400'000 / scale) return wrong;
  return std::chrono::milliseconds(count * scale);
}

Result<NamedText> read_document(const std::string& file) {
  constexpr std::size_t most = 4u << 20;  // the parser's own limit: more is not even read
  const auto take = [&](std::istream& in) -> Result<NamedText> {
    std::string text;
    std::string chunk(65536, '\0');
    while (in.read(chunk.data(), static_cast<std::streamsize>(chunk.size())), in.gcount() > 0) {
      text.append(chunk, 0, static_cast<std::size_t>(in.gcount()));
      if (text.size() > most) return Error{file + ": larger than 4 MiB: split it into several files"};
    }
    if (in.bad()) return Error{file + ": " + std::strerror(errno)};
    return NamedText{file, std::move(text)};
  };
  if (file == "-") return take(std::cin);
  std::error_code code;
  if (std::filesystem::is_directory(file, code)) return Error{file + ": is a folder: name the files in it"};
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error{file + ": " + std::strerror(errno)};
  return take(in);
}

}  // namespace xlb
