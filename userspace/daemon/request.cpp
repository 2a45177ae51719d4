// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/request.hpp"

#include <cstring>
#include <nlohmann/json.hpp>

#include "userspace/daemon/cluster_document.hpp"

namespace xlb {

namespace {

using Json = nlohmann::ordered_json;

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string hex(const void* data, std::size_t size) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(size * 2);
  for (const auto* byte = static_cast<const unsigned char*>(data); size > 0; --size, ++byte) {
    text.push_back(digits[*byte >> 4]);
    text.push_back(digits[*byte & 15]);
  }
  return text;
}

bool unhex(const std::string& text, void* data, std::size_t size) {
  if (text.size() != size * 2) return false;
  const auto value = [](char digit) -> int {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
  };
  auto* out = static_cast<unsigned char*>(data);
  for (std::size_t i = 0; i < size; ++i) {
    const int high = value(text[2 * i]), low = value(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<unsigned char>(high * 16 + low);
  }
  return true;
}

Json object_json(const ObjectId& id) { return {{"kind", id.kind}, {"namespace", id.name.ns}, {"name", id.name.name}}; }

ObjectId object_from(const Json& json) {
  return {json.at("kind").get<std::string>(),
          {json.at("namespace").get<std::string>(), json.at("name").get<std::string>()}};
}

Json addresses_json(const std::vector<Address>& addresses) {
  Json list = Json::array();
  for (const Address& address : addresses) list.push_back(address.text());
  return list;
}

// nlohmann reports what is missing or of another type by exceptions; they end in decode_*().
Address address_from(const Json& json) {
  auto address = parse_address(json.get<std::string>());
  if (!address) throw Json::other_error::create(501, address.error().text, &json);
  return *address;
}

std::vector<Address> addresses_from(const Json& json) {
  std::vector<Address> addresses;
  for (const Json& entry : json) addresses.push_back(address_from(entry));
  return addresses;
}

AttachMode mode_from(const Json& json) {
  const auto text = json.get<std::string>();
  for (const AttachMode mode : {AttachMode::automatic, AttachMode::native, AttachMode::tc, AttachMode::generic})
    if (text == attach_mode_text(mode)) return mode;
  throw Json::other_error::create(501, "mode \"" + text + "\": expected auto, native, tc or generic", &json);
}

TableSizes sizes_from(const Json& json) {
  auto sizes = parse_table_sizes(json.get<std::string>());
  if (!sizes) throw Json::other_error::create(501, sizes.error().text, &json);
  return *sizes;
}

Change change_from(const Json& json) {
  const auto text = json.get<std::string>();
  for (const Change change : {Change::created, Change::configured, Change::unchanged, Change::deleted})
    if (text == change_text(change)) return change;
  throw Json::other_error::create(501, "change \"" + text + "\" is not known", &json);
}

Json demand_json(const Demand& demand) {
  return std::visit(
      Overloaded{
          [](const ApplyRequest& apply) {
            Json documents = Json::array();
            for (const NamedText& text : apply.documents) documents.push_back({{"source", text.source}, {"yaml", text.yaml}});
            return Json{{"verb", "apply"}, {"documents", documents}};
          },
          [](const DeleteRequest& remove) {
            Json objects = Json::array();
            for (const ObjectId& id : remove.objects) objects.push_back(object_json(id));
            return Json{{"verb", "delete"}, {"objects", objects}};
          },
          [](const AttachWish& attach) {
            Json json{{"verb", "attach"}, {"interface", attach.interface}, {"mode", attach_mode_text(attach.mode)}};
            if (attach.try_for) json["try_ms"] = attach.try_for->count();
            if (!attach.table_sizes.empty()) json["table_sizes"] = table_sizes_text(attach.table_sizes);
            return json;
          },
          [](const DetachRequest& detach) { return Json{{"verb", "detach"}, {"interface", detach.interface}}; },
          [](const UpgradeRequest&) { return Json{{"verb", "upgrade"}}; },
          [](const TraceRequest& trace) { return Json{{"verb", "trace"}, {"every", trace.every}}; },
          [](const ClusterRequest&) { return Json{{"verb", "cluster"}}; },
          [](const WhyRequest& why) { return Json{{"verb", "why"}, {"vip", why.vip.text()}}; },
          [](const DrainRequest& drain) {
            return drain.for_cordon ? Json{{"verb", "drain"}, {"for_cordon", true}} : Json{{"verb", "drain"}};
          },
          [](const UndrainRequest&) { return Json{{"verb", "undrain"}}; },
      },
      demand);
}

Demand demand_from(const Json& json) {
  const auto verb = json.at("verb").get<std::string>();
  if (verb == "apply") {
    ApplyRequest apply;
    for (const Json& entry : json.at("documents"))
      apply.documents.push_back({entry.at("source").get<std::string>(), entry.at("yaml").get<std::string>()});
    return apply;
  }
  if (verb == "delete") {
    DeleteRequest remove;
    for (const Json& entry : json.at("objects")) remove.objects.push_back(object_from(entry));
    return remove;
  }
  if (verb == "attach") {
    AttachWish attach;
    attach.interface = json.at("interface").get<std::string>();
    attach.mode = mode_from(json.at("mode"));
    if (json.contains("try_ms")) attach.try_for = std::chrono::milliseconds(json.at("try_ms").get<std::uint32_t>());
    if (json.contains("table_sizes")) attach.table_sizes = sizes_from(json.at("table_sizes"));
    return attach;
  }
  if (verb == "detach") return DetachRequest{json.at("interface").get<std::string>()};
  if (verb == "upgrade") return UpgradeRequest{};
  if (verb == "trace") return TraceRequest{json.at("every").get<std::uint32_t>()};
  if (verb == "cluster") return ClusterRequest{};
  if (verb == "why") return WhyRequest{address_from(json.at("vip"))};
  if (verb == "drain") return DrainRequest{json.value("for_cordon", false)};
  if (verb == "undrain") return UndrainRequest{};
  throw Json::other_error::create(501, "verb \"" + verb + "\" is not known", &json);
}

Json link_json(const AttachedLink& link) {
  return {{"interface", link.interface},
          {"ifindex", link.ifindex},
          {"mode", attach_mode_text(link.mode)},
          {"reason", link.reason},
          {"programs", link.programs}};
}

AttachedLink link_from(const Json& json) {
  return {json.at("interface").get<std::string>(), json.at("ifindex").get<std::uint32_t>(), mode_from(json.at("mode")),
          json.at("reason").get<std::string>(), json.at("programs").get<std::vector<std::string>>()};
}

Json outcome_json(const Outcome& outcome) {
  Json json{{"changes", Json::array()}, {"attached", outcome.attached}, {"services", Json::array()},
            {"taken", Json::array()},   {"dropped", addresses_json(outcome.dropped)},
            {"edits", outcome.edits},   {"warnings", outcome.warnings}};
  for (const ChangeReport& report : outcome.changes) {
    Json entry = object_json(report.object);
    entry["change"] = change_text(report.change);
    json["changes"].push_back(std::move(entry));
  }
  if (outcome.link) json["link"] = link_json(*outcome.link);
  for (const ServiceOutcome& service : outcome.services)
    json["services"].push_back({{"namespace", service.name.ns},
                                {"name", service.name.name},
                                {"addresses", addresses_json(service.addresses)},
                                {"pool", service.pool},
                                {"refusal", service.refusal}});
  for (const VipOutcome& vip : outcome.taken)
    json["taken"].push_back({{"address", vip.address.text()}, {"links", vip.links}});
  return json;
}

Outcome outcome_from(const Json& json) {
  Outcome outcome;
  for (const Json& entry : json.at("changes"))
    outcome.changes.push_back({object_from(entry), change_from(entry.at("change"))});
  if (json.contains("link")) outcome.link = link_from(json.at("link"));
  outcome.attached = json.at("attached").get<std::vector<std::string>>();
  for (const Json& entry : json.at("services"))
    outcome.services.push_back({{entry.at("namespace").get<std::string>(), entry.at("name").get<std::string>()},
                                addresses_from(entry.at("addresses")),
                                entry.at("pool").get<std::string>(),
                                entry.at("refusal").get<std::string>()});
  for (const Json& entry : json.at("taken"))
    outcome.taken.push_back({address_from(entry.at("address")), entry.at("links").get<std::vector<std::string>>()});
  outcome.dropped = addresses_from(json.at("dropped"));
  outcome.edits = json.at("edits").get<std::vector<std::string>>();
  outcome.warnings = json.at("warnings").get<std::vector<std::string>>();
  return outcome;
}

}  // namespace

const char* change_text(Change change) {
  switch (change) {
    case Change::created: return "created";
    case Change::configured: return "configured";
    case Change::unchanged: return "unchanged";
    case Change::deleted: return "deleted";
  }
  return "";
}

Request make_request(const Settings& settings, Demand demand) {
  // One spelling a folder: "etc/", "/x/etc" and "/x/./etc" are the same.
  const auto plain = [](const std::filesystem::path& given) {
    std::error_code ignored;  // a path that cannot be made absolute stays as it is, and differs then
    auto path = std::filesystem::absolute(given, ignored).lexically_normal();
    return (path.has_filename() ? path : path.parent_path()).string();
  };
  return {plain(settings.config_dir), plain(settings.pin_dir), settings.cgroup, std::move(demand)};
}

Result<void> same_node(const Request& request, const Settings& settings) {
  const Request mine = make_request(settings, UpgradeRequest{});
  const auto differs = [&](const char* option, const std::string& asked, const std::string& runs) {
    return Error{"the running daemon has " + std::string(option) + " " + runs + ", this command " + asked +
                 ": give the same, or another --run-dir"};
  };
  if (request.config_dir != mine.config_dir) return differs("--config-dir", request.config_dir, mine.config_dir);
  if (request.pin_dir != mine.pin_dir) return differs("--pin-dir", request.pin_dir, mine.pin_dir);
  return {};
}

std::string encode(const Request& request) {
  Json json{{"xdp_lb", kControlVersion},
            {"config_dir", request.config_dir},
            {"pin_dir", request.pin_dir},
            {"cgroup", request.cgroup}};
  json.update(demand_json(request.demand));
  return line(json);
}

Result<Request> decode_request(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    if (const int version = json.at("xdp_lb").get<int>(); version != kControlVersion)
      return Error{"control socket: the sender speaks version " + std::to_string(version) + ", this daemon " +
                   std::to_string(kControlVersion) + ": use the xdp-lb that the daemon was started from"};
    return Request{json.at("config_dir").get<std::string>(), json.at("pin_dir").get<std::string>(),
                   json.at("cgroup").get<std::string>(), demand_from(json)};
  } catch (const Json::exception& problem) {
    return Error{std::string("control socket: request not understood: ") + problem.what()};
  }
}

std::string encode(const Outcome& outcome) { return line(Json{{"outcome", outcome_json(outcome)}}); }
// Parsed once more on the way, so that a document is one line and no line is ever half of one.
std::string encode(const ClusterAnswer& answer) { return line(Json{{"document", Json::parse(answer.json, nullptr, false)}}); }
std::string encode(const Error& error) { return line(Json{{"error", error.text}}); }
// Both ends are the same machine and the struct is the contract's own: its bytes are the shortest faithful spelling.
std::string encode(const lb_event& event) { return line(Json{{"event", hex(&event, sizeof(event))}}); }

Result<Answer> decode_answer(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    if (json.contains("error")) return Answer(Error{json.at("error").get<std::string>()});
    if (json.contains("event")) {
      lb_event event{};
      if (!unhex(json.at("event").get<std::string>(), &event, sizeof(event)))
        return Error{"control socket: an event of another size: the daemon is another version of xdp-lb: restart it"};
      return Answer(event);
    }
    if (json.contains("document")) return Answer(ClusterAnswer{json.at("document").dump()});
    return Answer(outcome_from(json.at("outcome")));
  } catch (const Json::exception& problem) {
    return Error{std::string("control socket: answer not understood: ") + problem.what()};
  }
}

Result<Outcome> execute(const Request& request, Reconciler& reconciler, const PassOptions& options) {
  return std::visit(
      Overloaded{
          [&](const ApplyRequest& apply) { return reconciler.apply(apply.documents, options); },
          [&](const DeleteRequest& remove) { return reconciler.remove(remove.objects, options); },
          [&](const AttachWish& wish) -> Result<Outcome> {
            // Asked for: an obstacle refuses. By default: LAN clients are served all the same, and it is said.
            auto cgroup = find_cgroup(request.cgroup);
            if (!cgroup && !request.cgroup.empty()) return cgroup.error();
            AttachRequest attach;
            attach.interface = wish.interface;
            attach.mode = wish.mode;
            if (wish.try_for) attach.try_for = *wish.try_for;
            attach.table_sizes = wish.table_sizes;
            if (cgroup) attach.cgroup = *cgroup;
            auto outcome = reconciler.attach(attach, options);
            if (outcome && !cgroup) outcome->warnings.push_back(cgroup.error().text);
            return outcome;
          },
          [&](const DetachRequest& detach) { return reconciler.detach(detach.interface, options); },
          [&](const UpgradeRequest&) { return reconciler.upgrade(options); },
          [](const auto&) -> Result<Outcome> { return Error{"this is asked, not done: it has no outcome"}; },
      },
      request.demand);
}

bool asks_cluster(const Demand& demand) {
  return std::visit(Overloaded{[](const ClusterRequest&) { return true; }, [](const WhyRequest&) { return true; },
                               [](const DrainRequest&) { return true; }, [](const UndrainRequest&) { return true; },
                               [](const auto&) { return false; }},
                    demand);
}

Result<ClusterAnswer> answer(const Demand& demand, ClusterView* cluster) {
  const auto said = [](const Json& json) { return ClusterAnswer{json.dump(-1, ' ', false, Json::error_handler_t::replace)}; };
  const Error alone{"this node keeps no peers, so nobody could take its VIPs over: xdp-lb peer add NAME IP"};
  const auto drained = [&](const auto& begin) -> Result<ClusterAnswer> {
    if (!cluster) return alone;
    if (auto begun = begin(); !begun) return begun.error();
    return said(drain_document(*cluster));
  };
  return std::visit(
      Overloaded{
          [&](const ClusterRequest&) -> Result<ClusterAnswer> { return said(cluster ? cluster_document(*cluster, read_clocks()) : Json()); },
          [&](const WhyRequest& why) -> Result<ClusterAnswer> { return said(cluster ? why_document(*cluster, why.vip) : Json()); },
          [&](const DrainRequest& drain) { return drained([&] { return cluster->drain(drain.for_cordon); }); },
          [&](const UndrainRequest&) { return drained([&] { return cluster->undrain(); }); },
          [](const auto&) -> Result<ClusterAnswer> { return Error{"this is done, not asked: it has no document"}; },
      },
      demand);
}

}  // namespace xlb
