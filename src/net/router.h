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
};

struct RouteInfo {
  std::string method = {};
  std::string pattern = {};  // "/builds/{id}"; empty when no route fits the request (404, 405)
  RouteOptions options = {};
  bool streams_body = false;
};

class Router;
struct Route;

/// The rest of the chain, down to the handler. Valid until the middleware returns.
class Next final {
 public:
  Task<Response> operator()(Request request) const;

 private:
  friend class Router;
  Next(const Router& router, const Route& route, std::size_t depth, BodyReader& body)
      : router_(router), route_(route), depth_(depth), body_(body) {}
  const Router& router_;
  const Route& route_;
  std::size_t depth_;
  BodyReader& body_;
};

/// Sees every request, those without a route too: authentication, metrics, logging. Answers itself or calls `next` once.
using Middleware = std::function<Task<Response>(const RouteInfo& route, Request request, const Next& next)>;

/// What a request's method and path lead to.
struct Match {
  const Route* route = nullptr;
  std::vector<std::pair<std::string, std::string>> params;

  const RouteInfo& info() const;
};

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

  /// Runs middleware and handler.
  Task<Response> handle(const Match& match, Request request, BodyReader& body) const;

 private:
  friend class Next;
  struct Node;
  void insert(std::string_view method, std::string_view pattern, std::unique_ptr<Route> route);

  std::unique_ptr<Node> root_;
  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<Route> not_found_;
  std::vector<Middleware> middleware_;
};

}  // namespace mayfly::http
