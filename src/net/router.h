#pragma once
// Which function answers which request. A tree of path segments; the pattern is what metrics and openapi.json name.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/http.h"

namespace mayfly::http {

using Handler = std::function<Task<Response>(Request)>;
using StreamHandler = std::function<Task<Response>(Request, BodyReader&)>;

struct RouteOptions {
  std::uint64_t max_body_bytes = 1024 * 1024;
  bool unpacks_body = false;  // a body with a Content-Encoding comes unpacked; max_body_bytes is for both of its sizes
};

struct RouteInfo {
  std::string method = {};
  std::string pattern = {};  // "/builds/{id}"; empty when no route fits the request (404, 405)
  RouteOptions options = {};
  bool streams_body = false;
};

class Router;
struct Route;

/// What a request's method and path lead to.
struct Match {
  const Route* route = nullptr;
  std::vector<std::pair<std::string, std::string>> params = {};
  std::string allow = {};  // the methods the path has, where it has not this one

  const RouteInfo& info() const;
};

/// The rest of the chain, down to the handler. Valid until the middleware returns.
class Next final {
 public:
  Task<Response> operator()(Request request) const;

 private:
  friend class Router;
  Next(const Router& router, const Match& match, std::size_t depth, BodyReader& body)
      : router_(router), match_(match), depth_(depth), body_(body) {}
  const Router& router_;
  const Match& match_;
  std::size_t depth_;
  BodyReader& body_;
};

/// Sees every request, those without a route too: authentication, metrics, logging. Answers itself or calls `next` once.
/// It runs before the body is read, so an unwelcome sender costs nothing: `request.body` is empty here.
using Middleware = std::function<Task<Response>(const RouteInfo& route, Request request, Next next)>;

/// Filled before the server starts, and outlives it.
class Router final {
 public:
  Router();
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  /// `pattern`: "/builds/{id}/logs"; a literal segment wins over "{name}"; "{name...}" as the last segment catches the
  /// rest of the path, slashes included. GET answers HEAD too. A pattern that is malformed or added twice is a bug and throws
  /// std::logic_error.
  void add(std::string_view method, std::string_view pattern, Handler handler, RouteOptions options = {});

  /// The same for handlers that read the body as it arrives.
  void add_stream(std::string_view method, std::string_view pattern, StreamHandler handler, RouteOptions options = {});

  /// Middleware added first is outermost.
  void use(Middleware middleware);

  std::vector<RouteInfo> routes() const;  // in the order they were added

  /// `raw_path` is the target's path still encoded, so that "%2F" stays inside its segment. Always gives a route; what fits
  /// no pattern gets one that answers 404, or 405 with Allow. Errc::invalid for wrong escapes.
  Result<Match> match(std::string_view method, std::string_view raw_path) const;

  /// Runs middleware and handler; `match` and `body` outlive the task.
  Task<Response> handle(const Match& match, Request request, BodyReader& body) const;

 private:
  friend class Next;
  struct Node;
  void insert(std::unique_ptr<Route> route);
  Task<Response> run(const Match& match, std::size_t depth, Request request, BodyReader& body) const;

  std::unique_ptr<Node> root_;
  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<Route> unmatched_;
  std::vector<Middleware> middleware_;
};

}  // namespace mayfly::http
