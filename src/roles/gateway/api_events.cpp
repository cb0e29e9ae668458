#include <charconv>

#include "net/sse.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

constexpr std::int64_t event_batch = 200;
constexpr Duration look_again = std::chrono::seconds(10);

constexpr std::string_view select_events = R"sql(
select sequence, part, kind, body from events
where build_id = $1 and (sequence > $2 or (sequence = $2 and part > $3)) order by sequence, part limit $4)sql";

/// Where a viewer stands in a build's history: an event's id is "sequence.part".
struct Position {
  std::int64_t sequence = 0;
  std::int64_t part = -1;
};

Position position_from(std::string_view id) {
  Position at;
  auto [end, ec] = std::from_chars(id.data(), id.data() + id.size(), at.sequence);
  if (ec != std::errc{}) return {};
  if (end == id.data() + id.size()) return {at.sequence, INT64_MAX};  // a bare sequence: all of it has been seen
  if (*end == '.') std::from_chars(end + 1, id.data() + id.size(), at.part);
  return at;
}

Task<void> send_events(GatewayParts& parts, BuildId build, Position at, http::SseWriter& out) {
  auto moved = parts.cache.subscribe(build_channel(build));
  for (;;) {
    auto events = co_await parts.db.query(statement(select_events, build, at.sequence, at.part, event_batch));
    if (!events) co_return;
    bool ended = false;
    for (auto& row : events->rows) {
      at = {int_at(row, 0), int_at(row, 1)};
      auto sent = co_await out.send({std::to_string(at.sequence) + "." + std::to_string(at.part), text_at(row, 2), text_at(row, 3)});
      if (!sent) co_return;
    }
    if (std::int64_t(events->rows.size()) == event_batch) continue;
    auto record = co_await parts.builds.get(build);
    ended = record && is_terminal((*record)->state.status) && (*record)->state.sequence <= at.sequence;
    if (ended) {
      (void)co_await out.send({"", "end", std::string("{\"status\":\"") + std::string(to_string((*record)->state.status)) + "\"}"});
      co_return;
    }
    (void)co_await moved->next(parts.clock.now() + look_again);
  }
}

}  // namespace

void Gateway::add_events(http::Router& router) {
  guarded(router, "GET", "/builds/{id}/events", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<BuildId>("id");
    if (!id) co_return http::problem(id.error());
    auto known = co_await parts_.builds.get(*id);
    if (!known) co_return http::problem(known.error());
    auto at = position_from(http::last_event_id(request).value_or(""));
    co_return http::sse_response([this, build = *id, at](http::SseWriter& out) { return send_events(parts_, build, at, out); });
  });
}

}  // namespace mayfly
