// Source for runners that share no disk with this server: git's smart HTTP (version 0), read-only, of one commit, for whoever may speak for
// its attempt.

#include <stdexcept>

#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

constexpr std::size_t source_buffer_bytes = 64 << 10;
constexpr std::uint64_t max_fetch_request_bytes = 1 << 20;   // what a runner has and wants: it has nothing and wants one commit
constexpr std::string_view advertisement_head = "001e# service=git-upload-pack\n0000";

/// Git's own words, as they come. If they break off, so does the answer; if the runner goes, so does git.
http::Response spoken(std::unique_ptr<SourceStream> stream, std::string_view type, std::string_view head) {
  std::shared_ptr<SourceStream> git = std::move(stream);
  auto write = [git, head](http::BodyWriter& out) -> Task<void> {
    if (!head.empty() && !co_await out.write(head)) co_return;
    std::string buffer(source_buffer_bytes, '\0');
    for (;;) {
      auto n = co_await git->read(buffer);
      if (!n) throw std::runtime_error("source for a runner: " + n.error().message);
      if (*n == 0 || !co_await out.write(std::string_view(buffer).substr(0, *n))) co_return;
    }
  };
  auto response = http::stream_response(200, type, {.write = std::move(write)});
  response.headers.add("Cache-Control", "no-cache");
  return response;
}

}  // namespace

void Gateway::add_source(http::Router& router) {
  auto give = [this](http::Request request, std::optional<std::string> body, std::string_view type, std::string_view head) -> Task<http::Response> {
    auto attempt = request.param<AttemptId>("id");
    if (!attempt) co_return http::problem(attempt.error());
    auto stream = co_await parts_.attempts.source(*attempt, runner_credentials(request), std::move(body));
    if (!stream) co_return http::problem(stream.error());
    co_return spoken(*std::move(stream), type, head);
  };
  router.add("GET", "/runner/v1/attempts/{id}/source.git/info/refs", [give](http::Request request) -> Task<http::Response> {
    if (request.query.get("service") != "git-upload-pack") co_return http::problem(Error{Errc::forbidden, "this repository can be fetched from, and nothing else", {}});
    co_return co_await give(std::move(request), std::nullopt, "application/x-git-upload-pack-advertisement", advertisement_head);
  });
  router.add("POST", "/runner/v1/attempts/{id}/source.git/git-upload-pack",
             [give](http::Request request) -> Task<http::Response> {
               auto body = std::move(request.body);
               co_return co_await give(std::move(request), std::move(body), "application/x-git-upload-pack-result", "");
             },
             {.max_body_bytes = max_fetch_request_bytes, .unpacks_body = true});
}

}  // namespace mayfly
