#include "base/log.h"
#include "roles/gateway/gateway.h"
#include "roles/logs/shipped_intake.h"

namespace mayfly {

void Gateway::add_ingest(http::Router& router) {
  auto ingest = [this](http::Request request, http::BodyReader& body) -> Task<http::Response> {
    std::optional<RunnerCredentials> who;
    if (request.headers.has("Mayfly-Fence")) {
      who = runner_credentials(request);
    } else {
      auto actor = co_await parts_.access.authenticate(request.headers.get("Authorization"));
      if (!actor) co_return http::problem(actor.error());
      if (!may(actor->role, Action::ship_logs))
        co_return http::problem(Error{Errc::forbidden, "a " + std::string(to_string(actor->role)) + "'s token may not send logs", "mayfly token create NAME --role shipper"});
    }
    auto text = co_await http::read_all(body);
    if (!text) co_return http::problem(text.error());
    auto shipped = decode_shipped(*text);
    if (!shipped) co_return http::problem(shipped.error());
    KeepFrames keep = [this, who](AttemptId attempt, std::string frames) { return parts_.attempts.ship(attempt, who, std::move(frames)); };
    auto taken = co_await take_shipped(*std::move(shipped), std::move(keep), parts_.logs, parts_.clock);
    if (taken) {
      parts_.metrics.count("mayfly_log_bytes_total", {}, double(taken->bytes));
      parts_.metrics.count("mayfly_shipped_refused_total", {}, double(taken->refused));
      if (taken->refused > 0) log_warn("shipped log records were refused", {{"refused", std::to_string(taken->refused)}, {"first", taken->why}, {"peer", request.peer}});
    }
    co_return answer(std::move(taken), [](ShippedAnswer a) { return http::json_response(200, to_json(a)); });
  };
  router.add_stream("POST", "/runner/v1/ingest", ingest, {.max_body_bytes = max_shipped_bytes, .unpacks_body = true});
}

}  // namespace mayfly
