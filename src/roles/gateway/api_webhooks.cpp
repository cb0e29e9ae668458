#include "base/json.h"
#include "roles/gateway/gateway.h"

namespace mayfly {
namespace {

std::string header(const http::Request& request, std::string_view name) { return std::string(request.headers.get(name).value_or("")); }

}  // namespace

void Gateway::add_webhooks(http::Router& router) {
  auto github = [this](http::Request request) -> Task<http::Response> {
    auto receipt = co_await parts_.deliveries.receive({header(request, "X-GitHub-Event"), header(request, "X-GitHub-Delivery"),
                                                       header(request, "X-Hub-Signature-256"), header(request, "Content-Type"), std::move(request.body)});
    auto outcome = receipt ? std::string(receipt->known ? "known" : "received") : std::string(to_string(receipt.error().code));
    parts_.metrics.count("mayfly_webhooks_total", {{"provider", "github"}, {"outcome", outcome}});
    if (!receipt) {
      auto refusal = http::problem(receipt.error());
      if (receipt.error().code == Errc::rate_limited) refusal.headers.set("Retry-After", "60");
      co_return refusal;
    }
    co_return http::json_response(202, json::serialize(json::object{{"delivery", receipt->delivery.str()}}));
  };
  router.add("POST", "/webhooks/github", github, {.max_body_bytes = max_webhook_bytes});

  guarded(router, "GET", "/deliveries", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto limit = page_limit(request);
    if (!limit) co_return http::problem(limit.error());
    auto cursor = request.query_param<DeliveryId>("cursor");
    if (!cursor) co_return http::problem(cursor.error());
    std::optional<ProjectId> project;
    if (auto name = request.query.get("project")) {
      auto found = co_await project_named(std::string(*name));
      if (!found) co_return http::problem(found.error());
      project = found->id;
    }
    auto found = co_await list_deliveries(parts_.db, project, *cursor, *limit);
    co_return answer(std::move(found), [&](std::vector<DeliveryRecord> records) {
      std::vector<std::string> items;
      for (auto& record : records) items.push_back(delivery_view(record));
      bool full = std::int64_t(records.size()) == *limit;
      return http::json_response(200, page_view(items, full ? std::optional(records.back().id.str()) : std::nullopt));
    });
  });
  guarded(router, "GET", "/deliveries/{id}", Action::read, [this](http::Request request) -> Task<http::Response> {
    auto id = request.param<DeliveryId>("id");
    if (!id) co_return http::problem(id.error());
    co_return answer(co_await find_delivery(parts_.db, *id), [](DeliveryRecord d) { return http::json_response(200, delivery_view(d)); });
  });
}

}  // namespace mayfly
