#include "adapters/docker/engine.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "adapters/docker/frames.h"
#include "adapters/docker/pull.h"
#include "base/json.h"
#include "net/url.h"

namespace mayfly::docker {
namespace {

constexpr std::size_t max_answer_bytes = 16 << 20;
constexpr std::size_t max_said_bytes = 500;
constexpr std::size_t max_tail_bytes = 64 << 10;

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

std::string escaped(const std::string& text) { return http::percent_encode(text); }

json::object filters(const std::vector<std::string>& labels) { return {{"label", json::array(labels.begin(), labels.end())}}; }

/// The engine's own words, which it sends as {"message": "…"}.
std::string message_of(std::string_view body) {
  auto value = parse_json(body);
  auto text = value ? find_string(*value, "message").value_or("") : std::string();
  return text.empty() ? std::string(body.substr(0, max_said_bytes)) : text.substr(0, max_said_bytes);
}

Errc code_of(int status) {
  switch (status) {
    case 400: return Errc::invalid;
    case 401: case 403: return Errc::forbidden;
    case 404: return Errc::not_found;
    case 409: return Errc::conflict;
    default: return Errc::unavailable;
  }
}

std::vector<std::string> texts_of(const json::value* list) {
  std::vector<std::string> out;
  if (!list || !list->is_array()) return out;
  for (auto& item : list->get_array())
    if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

/// "1.41" → 41.
int minor_of(std::string_view version) {
  int minor = 0;
  if (!version.starts_with("1.")) return 0;
  std::from_chars(version.data() + 2, version.data() + version.size(), minor);
  return minor;
}

Result<Event> event_from_json(std::string_view line) {
  TRY_ASSIGN(auto value, parse_json(line));
  Event event{find_string(value, "Action").value_or(""), find_string(value, "Actor.ID").value_or(""), {}};
  if (auto* attributes = find(value, "Actor.Attributes"); attributes && attributes->is_object())
    for (auto& [name, text] : attributes->get_object())
      if (text.is_string()) event.labels.emplace(name, std::string(text.get_string()));
  return event;
}

}  // namespace

struct Engine::Call {
  std::string method;
  std::string target;
  std::string body = {};
  Duration limit = call_limit;
  std::string what;            // for the error: "start the container X"
};

Result<std::string> socket_path(std::string_view text) {
  if (text.starts_with("unix://")) text.remove_prefix(7);
  else if (text.starts_with("unix:")) text.remove_prefix(5);
  if (!text.starts_with('/') || text.contains(':')) return fail(Errc::invalid, "'" + std::string(text) + "' is no Unix socket of a Docker engine", "write it as unix:///var/run/docker.sock");
  return std::string(text);
}

Engine::Engine(Loop loop, std::string socket) : socket_(std::move(socket)), client_(std::move(loop)) {}
Engine::~Engine() = default;

std::string Engine::url(const std::string& target) const { return "unix:" + socket_ + ":" + version_ + target; }

Task<Result<void>> Engine::negotiate() {
  if (!version_.empty()) co_return Result<void>{};
  CO_TRY_ASSIGN(auto answer, co_await client_.send({.url = "unix:" + socket_ + ":/_ping", .deadline = now() + call_limit, .max_response_bytes = max_answer_bytes}));
  auto spoken = minor_of(answer.headers.get("Api-Version").value_or(""));
  if (!answer.ok()) co_return fail(Errc::unavailable, "the Docker engine at " + socket_ + " answers " + std::to_string(answer.status) + " to a ping");
  if (spoken < oldest_api)
    co_return fail(Errc::unsupported, "the Docker engine at " + socket_ + " does not speak API 1." + std::to_string(oldest_api), "use Docker 20.10 or newer");
  version_ = "/v1." + std::to_string(std::min(spoken, newest_api));
  co_return Result<void>{};
}

Task<Result<http::ClientResponse>> Engine::send(Call call) {
  CO_TRY(co_await negotiate());
  http::ClientRequest request{.method = call.method, .url = url(call.target), .body = std::move(call.body), .deadline = now() + call.limit, .max_response_bytes = max_answer_bytes};
  request.headers.add("Content-Type", "application/json");
  auto answer = co_await client_.send(std::move(request));
  if (!answer) co_return fail(answer.error().code, "the Docker engine could not be asked to " + call.what + ": " + answer.error().message, "is dockerd running at " + socket_ + "?");
  if (answer->status >= 400) co_return fail(code_of(answer->status), "the Docker engine did not " + call.what + ": " + message_of(answer->body));
  co_return answer;
}

Task<Result<EngineFacts>> Engine::facts() {
  CO_TRY_ASSIGN(auto answer, co_await send({.method = "GET", .target = "/info", .what = "tell about itself"}));
  auto value = parse_json(answer.body);
  if (!value || !value->is_object()) co_return fail(Errc::corrupt, "the Docker engine's word about itself is not JSON");
  EngineFacts facts;
  facts.version = find_string(*value, "ServerVersion").value_or("");
  facts.storage_driver = find_string(*value, "Driver").value_or("");
  if (auto* runtimes = find(*value, "Runtimes"); runtimes && runtimes->is_object())
    for (auto& [name, about] : runtimes->get_object()) facts.runtimes.emplace_back(name);
  for (auto& option : texts_of(find(*value, "SecurityOptions"))) {
    facts.user_namespaces = facts.user_namespaces || option.starts_with("name=userns");
    facts.rootless = facts.rootless || option.starts_with("name=rootless");
  }
  co_return facts;
}

Task<Result<Image>> Engine::image(std::string name) {
  CO_TRY_ASSIGN(auto answer, co_await send({.method = "GET", .target = "/images/" + http::percent_encode(name, "/:@") + "/json", .what = "show the image " + name}));
  auto value = parse_json(answer.body);
  auto id = value ? find_string(*value, "Id") : std::nullopt;
  if (!id) co_return fail(Errc::corrupt, "the Docker engine's word about the image " + name + " is not what the API says");
  co_return Image{*id, texts_of(find(*value, "Config.Env"))};
}

Task<Result<void>> Engine::read_lines(http::ClientStream& stream, Duration silence, std::function<Result<void>(std::string_view)> take) {
  std::string pending;
  std::vector<char> piece(16 << 10);
  for (;;) {
    stream.set_deadline(silence == Duration::max() ? Time::max() : now() + silence);
    CO_TRY_ASSIGN(auto n, co_await stream.read(piece));
    if (n == 0) break;
    pending.append(piece.data(), n);
    std::size_t begin = 0;
    for (auto end = pending.find('\n'); end != pending.npos; end = pending.find('\n', begin)) {
      auto line = std::string_view(pending).substr(begin, end - begin);
      begin = end + 1;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!line.empty()) CO_TRY(take(line));
    }
    pending.erase(0, begin);
    if (pending.size() > max_line_bytes) co_return fail(Errc::too_large, "the Docker engine sends a line of more than " + std::to_string(max_line_bytes) + " bytes");
  }
  if (!pending.empty()) CO_TRY(take(pending));
  co_return Result<void>{};
}

Task<Result<void>> Engine::pull(ImageName name, std::function<Result<void>(std::string_view)> said) {
  CO_TRY(co_await negotiate());
  auto whole = to_string(name);
  auto target = "/images/create?fromImage=" + escaped(name.repository) + "&tag=" + escaped(name.tag);
  auto stream = co_await client_.open({.method = "POST", .url = url(target), .deadline = now() + pull_silence_limit});
  if (!stream) co_return fail(stream.error().code, "the Docker engine could not be asked to pull '" + whole + "': " + stream.error().message);
  auto end = now() + pull_limit;
  std::string refusal;
  auto refused = (*stream)->status() >= 400;
  auto take = [&](std::string_view line) -> Result<void> {
    if (now() > end) return fail(Errc::timeout, "pulling '" + whole + "' took longer than " + format_duration(pull_limit));
    if (refused && refusal.size() < max_said_bytes) refusal += line;
    return refused ? Result<void>{} : said(line);
  };
  CO_TRY(co_await read_lines(**stream, pull_silence_limit, take));
  if (refused) co_return std::unexpected(pull_error(whole, (*stream)->status(), message_of(refusal)));
  co_return Result<void>{};
}

Task<Result<std::string>> Engine::create(ContainerSpec spec) {
  CO_TRY_ASSIGN(auto answer, co_await send({.method = "POST", .target = "/containers/create?name=" + escaped(spec.name), .body = to_json(spec), .limit = start_limit,
                                           .what = "create the container " + spec.name}));
  auto value = parse_json(answer.body);
  auto id = value ? find_string(*value, "Id") : std::nullopt;
  if (!id) co_return fail(Errc::corrupt, "the Docker engine's word about the container " + spec.name + " is not what the API says");
  co_return *id;
}

Task<Result<void>> Engine::start(std::string container) {
  CO_TRY(co_await send({.method = "POST", .target = "/containers/" + escaped(container) + "/start", .limit = start_limit, .what = "start the container " + container}));
  co_return Result<void>{};
}

Task<Result<void>> Engine::kill(std::string container) {
  CO_TRY(co_await send({.method = "POST", .target = "/containers/" + escaped(container) + "/kill", .what = "kill the container " + container}));
  co_return Result<void>{};
}

Task<Result<void>> Engine::remove(std::string container) {
  auto removed = co_await send({.method = "DELETE", .target = "/containers/" + escaped(container) + "?force=1&v=1", .what = "remove the container " + container});
  if (removed || removed.error().code == Errc::not_found) co_return Result<void>{};
  co_return std::unexpected(removed.error());
}

Task<Result<Container>> Engine::inspect(std::string container) {
  CO_TRY_ASSIGN(auto answer, co_await send({.method = "GET", .target = "/containers/" + escaped(container) + "/json", .what = "show the container " + container}));
  co_return container_from_json(answer.body);
}

Task<Result<std::vector<ListedContainer>>> Engine::list(std::vector<std::string> labels) {
  auto target = "/containers/json?all=1&filters=" + escaped(json::serialize(filters(labels)));
  CO_TRY_ASSIGN(auto answer, co_await send({.method = "GET", .target = std::move(target), .what = "list containers"}));
  co_return containers_from_json(answer.body);
}

Task<Result<std::unique_ptr<http::Tunnel>>> Engine::attach(std::string container) {
  CO_TRY(co_await negotiate());
  auto target = "/containers/" + escaped(container) + "/attach?stream=1&stdin=1&stdout=1&stderr=1";
  CO_TRY_ASSIGN(auto upgraded, co_await client_.upgrade({.method = "POST", .url = url(target), .deadline = now() + call_limit}, "tcp"));
  if (!upgraded.tunnel)
    co_return fail(code_of(upgraded.answer.status), "the Docker engine did not attach to the container " + container + ": " + message_of(upgraded.answer.body));
  co_return std::move(upgraded.tunnel);
}

Task<Result<std::string>> Engine::tail(std::string container, int lines) {
  auto target = "/containers/" + escaped(container) + "/logs?stdout=1&stderr=1&tail=" + std::to_string(lines);
  CO_TRY_ASSIGN(auto answer, co_await send({.method = "GET", .target = std::move(target), .what = "show what the container " + container + " said"}));
  std::string text;
  FrameReader frames;
  CO_TRY(frames.feed(answer.body, [&](FrameReader::Stream, std::string_view bytes) { text += bytes; }));
  if (text.size() > max_tail_bytes) text.erase(0, text.size() - max_tail_bytes);
  co_return text;
}

Task<Result<void>> Engine::ensure_network(std::string name, std::string interface, Labels labels) {
  auto known = co_await send({.method = "GET", .target = "/networks/" + escaped(name), .what = "show the network " + name});
  if (known || known.error().code != Errc::not_found) {
    if (!known) co_return std::unexpected(known.error());
    co_return Result<void>{};
  }
  json::object marks;
  for (auto& [key, value] : labels) marks[key] = value;
  json::object body{{"Name", name}, {"CheckDuplicate", true}, {"Driver", "bridge"}, {"Labels", std::move(marks)}, {"EnableIPv6", false},
                    {"Options", {{"com.docker.network.bridge.name", interface}, {"com.docker.network.bridge.enable_icc", "false"}}}};
  auto made = co_await send({.method = "POST", .target = "/networks/create", .body = json::serialize(body), .limit = start_limit, .what = "make the network " + name});
  // Two runners may want it at once; the engine says so in one of several ways, and then it is there.
  if (made || made.error().code == Errc::conflict) co_return Result<void>{};
  auto again = co_await send({.method = "GET", .target = "/networks/" + escaped(name), .what = "show the network " + name});
  if (again) co_return Result<void>{};
  co_return std::unexpected(made.error());
}

Task<Result<void>> Engine::follow(std::string label, std::function<void()> following, std::function<void(Event)> take) {
  CO_TRY(co_await negotiate());
  json::object wanted = filters({label});
  wanted["type"] = json::array{"container"};
  CO_TRY_ASSIGN(auto stream, co_await client_.open({.url = url("/events?filters=" + escaped(json::serialize(wanted))), .deadline = now() + call_limit}));
  if (stream->status() != 200) co_return fail(code_of(stream->status()), "the Docker engine does not tell events");
  following();
  auto each = [&](std::string_view line) -> Result<void> {
    TRY_ASSIGN(auto event, event_from_json(line));
    take(std::move(event));
    return {};
  };
  co_return co_await read_lines(*stream, Duration::max(), each);
}

}  // namespace mayfly::docker
