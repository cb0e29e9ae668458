#include "net/router.h"

#include <algorithm>
#include <stdexcept>

#include "net/content_encoding.h"

namespace mayfly::http {

struct Route {
  RouteInfo info;
  std::vector<std::string> param_names;
  Handler handler;               // one of the two
  StreamHandler stream_handler;
};

struct Router::Node {
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> literals;
  std::unique_ptr<Node> param;
  std::vector<const Route*> routes;  // of the path that ends here
  std::vector<const Route*> tails;   // of "{name...}" here
};

namespace {

[[noreturn]] void refuse(std::string_view pattern, std::string_view why) {
  throw std::logic_error("route '" + std::string(pattern) + "': " + std::string(why));
}

struct Segment {
  enum class Kind { literal, param, tail } kind;
  std::string text;  // the literal, or the parameter's name
};

Segment parse_segment(std::string_view pattern, std::string_view text) {
  if (text.empty() && pattern != "/") refuse(pattern, "has an empty segment");
  bool braces = text.starts_with('{') && text.ends_with('}');
  if (!braces && text.find_first_of("{}") != text.npos) refuse(pattern, "a parameter is a whole segment");
  if (!braces) return {Segment::Kind::literal, std::string(text)};
  text = text.substr(1, text.size() - 2);
  bool tail = text.ends_with("...");
  if (tail) text.remove_suffix(3);
  if (text.empty()) refuse(pattern, "a parameter needs a name");
  return {tail ? Segment::Kind::tail : Segment::Kind::param, std::string(text)};
}

std::vector<Segment> parse_pattern(std::string_view pattern) {
  if (!pattern.starts_with('/')) refuse(pattern, "does not start with '/'");
  std::vector<Segment> segments;
  for (auto rest = pattern; !rest.empty();) {
    rest.remove_prefix(1);
    auto end = std::min(rest.find('/'), rest.size());
    segments.push_back(parse_segment(pattern, rest.substr(0, end)));
    rest.remove_prefix(end);
    if (segments.back().kind == Segment::Kind::tail && !rest.empty()) refuse(pattern, "'...' is not its last segment");
  }
  return segments;
}

bool same_literal(std::string_view raw, std::string_view literal) {
  if (!raw.contains('%')) return raw == literal;
  auto decoded = percent_decode(raw);
  return decoded && *decoded == literal;
}

/// One walk through the tree: literals before parameters before tails, backing out of dead ends.
class Search final {
 public:
  Search(std::string_view method) : method_(method) {}

  template <class Node>
  const Route* find(const Node& node, std::string_view rest) {
    if (rest.empty()) return pick(node.routes);
    auto end = std::min(rest.find('/', 1), rest.size());
    auto segment = rest.substr(1, end - 1), after = rest.substr(end);
    for (auto& [literal, child] : node.literals)
      if (same_literal(segment, literal))
        if (auto route = find(*child, after)) return route;
    if (node.param && !segment.empty()) {
      captured.push_back(segment);
      if (auto route = find(*node.param, after)) return route;
      captured.pop_back();
    }
    if (rest.size() == 1) return nullptr;
    auto route = pick(node.tails);
    if (route) captured.push_back(rest.substr(1));
    return route;
  }

  std::vector<std::string_view> captured;  // raw, in the order of the pattern
  std::vector<std::string_view> allowed;

 private:
  const Route* pick(const std::vector<const Route*>& routes) {
    for (auto route : routes)
      if (route->info.method == method_) return route;
    for (auto route : routes) {
      if (method_ == "HEAD" && route->info.method == "GET") return route;
      allowed.push_back(route->info.method);
    }
    return nullptr;
  }

  std::string_view method_;
};

std::string allow_list(std::vector<std::string_view> methods) {
  if (std::ranges::find(methods, "GET") != methods.end()) methods.push_back("HEAD");
  std::ranges::sort(methods);
  methods.erase(std::unique(methods.begin(), methods.end()), methods.end());
  std::string out;
  for (auto method : methods) out += (out.empty() ? "" : ", ") + std::string(method);
  return out;
}

Response no_route(const Match& match) {
  if (match.allow.empty())
    return problem(404, "Not Found", "There is nothing at this path.", "GET /openapi.json lists what there is.", "not_found");
  auto response = problem(405, "Method Not Allowed", "This path does not have that method.", "Use one of: " + match.allow,
                          "unsupported");
  response.headers.add("Allow", match.allow);
  return response;
}

Task<Response> answer_unmatched(const Match& match) { co_return no_route(match); }

Task<Response> read_and_call(const Route& route, Request request, BodyReader& body) {
  auto text = co_await read_all(body);
  if (!text) co_return problem(text.error());
  request.body = *std::move(text);
  co_return co_await route.handler(std::move(request));
}

Task<Response> call(const Route& route, Request request, BodyReader& body) {
  if (route.stream_handler) return route.stream_handler(std::move(request), body);
  if (body.at_end()) return route.handler(std::move(request));
  return read_and_call(route, std::move(request), body);
}

Task<Response> unpack_and_call(const Route& route, Request request, BodyReader& body) {
  auto coding = request.headers.get("Content-Encoding").value_or("");
  if (!is_known_encoding(coding)) {
    auto hint = "Send gzip, deflate or no Content-Encoding at all.";
    co_return problem(415, "Unsupported Media Type", "The body's Content-Encoding is not known here.", hint, "unsupported");
  }
  auto plain = unpacked(body, route.info.options.max_body_bytes);
  co_return co_await call(route, std::move(request), *plain);
}

bool is_packed(const Request& request) {
  auto coding = request.headers.get("Content-Encoding").value_or("");
  return !coding.empty() && !equal_ignoring_case(coding, "identity");
}

}  // namespace

const RouteInfo& Match::info() const { return route->info; }

Task<Response> Next::operator()(Request request) const { return router_.run(match_, depth_, std::move(request), body_); }

Router::Router() : root_(std::make_unique<Node>()), unmatched_(std::make_unique<Route>()) {}
Router::~Router() = default;

void Router::add(std::string_view method, std::string_view pattern, Handler handler, RouteOptions options) {
  auto route = std::make_unique<Route>();
  route->info = {std::string(method), std::string(pattern), options, false};
  route->handler = std::move(handler);
  insert(std::move(route));
}

void Router::add_stream(std::string_view method, std::string_view pattern, StreamHandler handler, RouteOptions options) {
  auto route = std::make_unique<Route>();
  route->info = {std::string(method), std::string(pattern), options, true};
  route->stream_handler = std::move(handler);
  insert(std::move(route));
}

void Router::insert(std::unique_ptr<Route> route) {
  auto node = root_.get();
  auto list = &Node::routes;
  for (auto& [kind, text] : parse_pattern(route->info.pattern)) {
    if (kind != Segment::Kind::literal) route->param_names.push_back(text);
    if (kind == Segment::Kind::tail) {
      list = &Node::tails;
    } else if (kind == Segment::Kind::param) {
      if (!node->param) node->param = std::make_unique<Node>();
      node = node->param.get();
    } else {
      auto child = std::ranges::find(node->literals, text, [](auto& entry) { return entry.first; });
      if (child == node->literals.end()) child = node->literals.insert(child, {text, std::make_unique<Node>()});
      node = child->second.get();
    }
  }
  for (auto other : node->*list)
    if (other->info.method == route->info.method) refuse(route->info.pattern, "added twice for " + route->info.method);
  (node->*list).push_back(route.get());
  routes_.push_back(std::move(route));
}

void Router::use(Middleware middleware) { middleware_.push_back(std::move(middleware)); }

std::vector<RouteInfo> Router::routes() const {
  std::vector<RouteInfo> out;
  for (auto& route : routes_) out.push_back(route->info);
  return out;
}

Result<Match> Router::match(std::string_view method, std::string_view raw_path) const {
  Search search(method);
  Match match{.route = raw_path.starts_with('/') ? search.find(*root_, raw_path) : nullptr};
  if (!match.route) {
    match.route = unmatched_.get();
    match.allow = allow_list(std::move(search.allowed));
    return match;
  }
  for (std::size_t i = 0; i < search.captured.size(); ++i) {
    TRY_ASSIGN(auto value, percent_decode(search.captured[i]));
    match.params.emplace_back(match.route->param_names[i], std::move(value));
  }
  return match;
}

Task<Response> Router::handle(const Match& match, Request request, BodyReader& body) const {
  request.params = match.params;
  return run(match, 0, std::move(request), body);
}

Task<Response> Router::run(const Match& match, std::size_t depth, Request request, BodyReader& body) const {
  auto& route = *match.route;
  if (depth < middleware_.size())
    return middleware_[depth](route.info, std::move(request), Next(*this, match, depth + 1, body));
  if (&route == unmatched_.get()) return answer_unmatched(match);
  if (route.info.options.unpacks_body && is_packed(request)) return unpack_and_call(route, std::move(request), body);
  return call(route, std::move(request), body);
}

}  // namespace mayfly::http
