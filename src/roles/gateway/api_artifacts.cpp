#include <algorithm>
#include <map>

#include "net/range.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

constexpr std::int64_t read_bytes = 1 << 20;

/// What says which bytes they are, wherever they are read.
void describe(http::Response& response, const Artifact& artifact) {
  auto digest = from_hex(artifact.sha256);
  if (digest) response.headers.set("Repr-Digest", "sha-256=:" + to_base64(*digest) + ":");
  response.headers.set("ETag", "\"" + artifact.sha256 + "\"");
}

/// To the store itself, where it serves people and the asker has not said no.
std::optional<http::Response> elsewhere(ArtifactStore& store, const Artifact& artifact, const http::Request& request) {
  if (request.method == "HEAD" || request.query.get("direct") == "no") return std::nullopt;
  auto link = store.link(artifact);
  if (!link) return std::nullopt;
  auto response = http::redirect(302, *link);
  describe(response, artifact);
  response.headers.set("Cache-Control", "no-store");
  return response;
}

Task<http::Response> send_artifact(ArtifactStore& store, Artifact artifact, const http::Request& request) {
  if (auto there = elsewhere(store, artifact, request)) co_return *std::move(there);
  auto size = std::uint64_t(artifact.size);
  auto range = http::parse_range(request.headers.get("Range"), size);
  if (range.kind == http::RangeKind::unsatisfiable) {
    auto refusal = http::problem(416, "Range Not Satisfiable", "the artifact has " + std::to_string(size) + " bytes");
    refusal.headers.set("Content-Range", http::unsatisfied_content_range(size));
    co_return refusal;
  }
  bool partial = range.kind == http::RangeKind::satisfiable;
  auto first = partial ? std::int64_t(range.first) : 0;
  auto last = partial ? std::int64_t(range.last) + 1 : artifact.size;
  http::StreamBody body;
  body.length = std::uint64_t(last - first);
  body.write = [&store, artifact, first, last](http::BodyWriter& out) -> Task<void> {
    for (auto at = first; at < last;) {
      auto bytes = co_await store.read(artifact, at, std::min(last - at, read_bytes));
      if (!bytes || bytes->empty()) co_return;  // fewer bytes than announced: the reader sees that it is broken
      at += std::int64_t(bytes->size());
      if (auto sent = co_await out.write(*bytes); !sent) co_return;
    }
  };
  auto response = http::stream_response(partial ? 206 : 200, "application/octet-stream", std::move(body));
  describe(response, artifact);
  response.headers.set("Accept-Ranges", "bytes");
  response.headers.set("X-Content-Type-Options", "nosniff");
  // A job's bytes are never a page of ours.
  response.headers.set("Content-Disposition", "attachment");
  response.headers.set("Content-Security-Policy", "sandbox");
  if (partial) response.headers.set("Content-Range", http::content_range(range, size));
  co_return response;
}

}  // namespace

void Gateway::add_artifacts(http::Router& router) {
  guarded(router, "GET", "/builds/{id}/artifacts", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<BuildId>("id");
    if (!id) co_return http::problem(id.error());
    auto limit = page_limit(request);
    if (!limit) co_return http::problem(limit.error());
    auto cursor = request.query_param<ArtifactId>("cursor");
    if (!cursor) co_return http::problem(cursor.error());
    auto record = co_await parts_.builds.get(*id);
    if (!record) co_return http::problem(record.error());
    std::map<JobId, std::string> names;
    for (auto& job : (*record)->state.jobs) names[job.id] = job.spec->name;
    co_return answer(co_await parts_.artifacts.of_build(*id, *cursor, *limit), [&](std::vector<Artifact> artifacts) {
      std::vector<std::string> items;
      for (auto& a : artifacts) items.push_back(artifact_view(a, names[a.owner.job]));
      bool full = std::int64_t(artifacts.size()) == *limit;
      return http::json_response(200, page_view(items, full ? std::optional(artifacts.back().id.str()) : std::nullopt));
    });
  });

  guarded(router, "GET", "/artifacts/{id}", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<ArtifactId>("id");
    if (!id) co_return http::problem(id.error());
    auto artifact = co_await parts_.artifacts.find(*id);
    if (!artifact) co_return http::problem(artifact.error());
    co_return co_await send_artifact(parts_.artifacts, std::move(*artifact), request);
  });

  router.add("GET", "/runner/v1/attempts/{id}/artifacts/{artifact}", [this](http::Request request) -> Task<http::Response> {
    auto attempt = request.param<AttemptId>("id");
    if (!attempt) co_return http::problem(attempt.error());
    auto id = request.param<ArtifactId>("artifact");
    if (!id) co_return http::problem(id.error());
    auto artifact = co_await parts_.attempts.needed_artifact(*attempt, runner_credentials(request), *id);
    if (!artifact) co_return http::problem(artifact.error());
    co_return co_await send_artifact(parts_.artifacts, std::move(*artifact), request);
  });
}

}  // namespace mayfly
