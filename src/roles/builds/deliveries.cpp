#include "roles/builds/deliveries.h"

#include <algorithm>

#include "base/log.h"
#include "domain/webhook/github.h"
#include "roles/builds/planning.h"

namespace mayfly {
namespace {

constexpr Duration sweep_interval = std::chrono::seconds(2);
constexpr std::string_view provider = "github";

constexpr std::string_view insert_delivery = R"sql(
insert into deliveries (id, project_id, provider, provider_id, event, body, received_at, status, detail, tries, not_before, claimed_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11))sql";
constexpr std::string_view select_known = "select id from deliveries where project_id = $1 and provider = $2 and provider_id = $3";
constexpr std::string_view select_open = R"sql(
select id, project_id, event, body, tries, received_at, not_before from deliveries where status = 'received' and not_before <= $1 order by not_before, id limit $2)sql";
constexpr std::string_view count_open = "select count(*) from deliveries where status = 'received'";
constexpr std::string_view claim_delivery = R"sql(
update deliveries set not_before = $2, claimed_by = $3 where id = $1 and status = 'received' and not_before = $4)sql";
constexpr std::string_view give_up_claim = R"sql(
update deliveries set not_before = $2, claimed_by = null where id = $1 and status = 'received' and claimed_by = $3)sql";
constexpr std::string_view take_up_claims = "update deliveries set not_before = 0 where status = 'received' and claimed_by = $1";
constexpr std::string_view close_delivery = R"sql(
update deliveries set status = $2, detail = $3, build_id = $4 where id = $1 and status = 'received')sql";
constexpr std::string_view put_off_delivery = R"sql(
update deliveries set tries = tries + 1, not_before = $2, detail = $3, claimed_by = null where id = $1 and status = 'received')sql";
constexpr std::string_view defer_delivery = R"sql(
update deliveries set not_before = $2, detail = $3, claimed_by = null where id = $1 and status = 'received')sql";
constexpr std::string_view select_record = R"sql(
select id, project_id, provider, provider_id, event, status, detail, build_id, received_at from deliveries where id = $1)sql";
constexpr std::string_view select_records = R"sql(
select id, project_id, provider, provider_id, event, status, detail, build_id, received_at from deliveries
where id < $1 order by id desc limit $2)sql";
constexpr std::string_view select_project_records = R"sql(
select id, project_id, provider, provider_id, event, status, detail, build_id, received_at from deliveries
where project_id = $3 and id < $1 order by id desc limit $2)sql";

constexpr std::string_view after_every_id = "g";   // of hexadecimal digits, whatever the database sorts by

DeliveryRecord record_from(const Row& row) {
  DeliveryRecord out{id_at<DeliveryId>(row, 0), id_at<ProjectId>(row, 1), text_at(row, 2), text_at(row, 3), text_at(row, 4),
                     text_at(row, 5), text_at(row, 6), std::nullopt, time_at(row, 8)};
  if (!null_at(row, 7)) out.build = id_at<BuildId>(row, 7);
  return out;
}

BuildRequest request_of(Project project, DecodedWebhook webhook) {
  BuildRequest request{.project = std::move(project), .before = std::move(webhook.before), .meaning = std::move(webhook.meaning),
                       .message = std::move(webhook.message), .author = std::move(webhook.author)};
  auto& event = request.event;
  event.event = webhook.pull_request ? "pull_request" : "push";
  event.ref = std::move(webhook.ref);
  event.sha = std::move(webhook.sha);
  if (auto& pr = webhook.pull_request) {
    event.pull_request = pr->number;
    event.base_ref = std::move(pr->base_ref);
    event.fork = pr->fork;
    request.before = std::move(pr->base_sha);
  }
  return request;
}

}  // namespace

Task<Result<Project>> Deliveries::authenticate(const GithubDelivery& delivery, std::string payload) {
  CO_TRY_ASSIGN(auto names, github_repository(payload));
  CO_TRY_ASSIGN(auto candidates, co_await projects_of_repository(db_, names));
  if (candidates.empty())
    co_return fail(Errc::not_found, "no project has the repository '" + names.full_name + "'", "mayfly project add NAME --repo URL");
  for (auto& project : candidates) {
    std::vector<std::string> live;
    for (auto name : {webhook_secret_name, old_webhook_secret_name}) {
      auto secret = co_await secrets_.read(project.id, {std::string(name)});
      if (secret) live.push_back(std::move(secret->at(0).value));
      if (!secret && secret.error().code != Errc::not_found) co_return std::unexpected(secret.error());
    }
    if (verify_github(live, delivery.body, delivery.signature)) co_return project;
  }
  co_return fail(Errc::unauthenticated, delivery.signature.empty() ? "the webhook is not signed" : "the webhook's signature is wrong",
                 "set the same secret at the forge and with: mayfly project add … --webhook-secret");
}

/// Counted once a second: the cap is for floods, and a second of webhooks more or less does not matter to it.
Task<Result<void>> Deliveries::check_backlog() {
  if (counted_at_ + std::chrono::seconds(1) <= clock_.now()) {
    counted_at_ = clock_.now();
    CO_TRY_ASSIGN(auto waiting, co_await db_.query(statement(count_open)));
    backlog_ = int_at(waiting.rows.at(0), 0);
  }
  if (backlog_ >= max_open_deliveries)
    co_return fail(Errc::rate_limited, "too many webhooks wait to be processed", "send it again in a minute");
  co_return Result<void>{};
}

Task<Result<Receipt>> Deliveries::receive(GithubDelivery delivery) {
  auto arrived = clock_.now();
  if (delivery.event.empty()) co_return fail(Errc::invalid, "the header X-GitHub-Event is missing");
  if (delivery.delivery_id.empty() || delivery.delivery_id.size() > max_webhook_name_bytes)
    co_return fail(Errc::invalid, "the header X-GitHub-Delivery is missing or too long");
  CO_TRY_ASSIGN(auto payload, github_payload(delivery.content_type, delivery.body));
  CO_TRY_ASSIGN(auto project, co_await authenticate(delivery, payload));
  CO_TRY_ASSIGN(auto webhook, decode_github(delivery.event, payload));
  CO_TRY(co_await check_backlog());

  auto id = make_id<DeliveryId>(clock_, entropy_);
  auto now = clock_.now();
  bool ours = webhook.makes_build() && processing_ && busy_.size() < deliveries_at_once;
  if (ours) busy_.insert(id);
  auto stored = co_await db_.transact({statement(insert_delivery, id, project.id, provider, delivery.delivery_id, delivery.event,
                                                 Blob{webhook.makes_build() ? payload : std::string{}}, arrived,
                                                 webhook.makes_build() ? "received" : "ignored", webhook.reason,
                                                 ours ? now + delivery_claim : Time{}, ours ? value(holder_) : Value{})});
  if (ours && !stored) busy_.erase(id);
  if (!stored && stored.error().code == Errc::conflict) {
    CO_TRY_ASSIGN(auto known, co_await db_.query(statement(select_known, project.id, provider, delivery.delivery_id)));
    if (known.rows.empty()) co_return fail(Errc::unavailable, "the webhook could not be stored", "send it again");
    co_return Receipt{id_at<DeliveryId>(known.rows[0], 0), true};
  }
  if (!stored) co_return std::unexpected(stored.error());
  if (ours) work_.spawn(process({id, project.id, delivery.event, std::move(payload), 0, arrived}));
  else if (webhook.makes_build()) tell(id, project.id);
  co_return Receipt{id, false};
}

Task<Result<std::vector<Deliveries::Open>>> Deliveries::open_deliveries() {
  auto limit = std::int64_t(deliveries_at_once * 2);
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_open, clock_.now(), limit)));
  std::vector<Open> out;
  for (auto& row : found.rows) {
    Open open{id_at<DeliveryId>(row, 0), id_at<ProjectId>(row, 1), text_at(row, 2), blob_at(row, 3), int(int_at(row, 4)), time_at(row, 5), time_at(row, 6)};
    if (!busy_.contains(open.id)) out.push_back(std::move(open));
  }
  co_return out;
}

/// Those that nobody else has claimed in between.
Task<Result<std::vector<Deliveries::Open>>> Deliveries::claimed(std::vector<Open> open) {
  std::ranges::sort(open, {}, &Open::id);  // everybody takes rows in the same order
  std::vector<Statement> claims;
  for (auto& delivery : open) claims.push_back(statement(claim_delivery, delivery.id, clock_.now() + delivery_claim, holder_, delivery.not_before));
  CO_TRY_ASSIGN(auto done, co_await db_.transact(std::move(claims)));
  std::vector<Open> ours;
  for (std::size_t i = 0; i < open.size(); ++i)
    if (done.at(i).affected == 1) ours.push_back(std::move(open[i]));
  co_return ours;
}

Task<void> Deliveries::run() {
  for (;;) {
    auto stored = co_await db_.transact({statement(take_up_claims, holder_)});
    if (stored) break;
    log_warn("deliveries cannot be taken up", {{"error", stored.error().message}});
    co_await sleep_for(clock_, sweep_interval);
  }
  processing_ = true;
  work_.spawn(take_forever());
  work_.spawn(hear_others());
  co_await work_.join();
}

void Deliveries::tell(DeliveryId id, ProjectId project) {
  if (processing_) return received_.notify();
  if (untold_.size() < max_untold_deliveries) untold_.push_back({project.str(), id.str()});
  received_.notify();
}

Task<void> Deliveries::tell_others() {
  for (;;) {
    co_await received_.wait(clock_);
    auto messages = std::exchange(untold_, {});
    if (messages.empty()) continue;
    auto told = co_await bus_.publish(topic::deliveries, std::move(messages));
    if (!told) log_warn("nobody could be told of a delivery; the sweep finds it", {{"error", told.error().message}});
  }
}

/// Its messages only say "look".
Task<void> Deliveries::hear_others() {
  auto subscription = bus_.subscribe(topic::deliveries, "builds");
  for (;;) {
    auto messages = co_await subscription->poll(500, clock_.now() + std::chrono::minutes(1));
    if (!messages) {
      co_await sleep_for(clock_, sweep_interval);
      continue;
    }
    if (messages->empty()) continue;
    received_.notify();
    (void)co_await subscription->commit(messages->back().position);
  }
}

Task<Result<void>> Deliveries::take_some() {
  if (busy_.size() >= deliveries_at_once) co_return Result<void>{};
  CO_TRY_ASSIGN(auto open, co_await open_deliveries());
  if (open.size() > deliveries_at_once - busy_.size()) open.resize(deliveries_at_once - busy_.size());
  if (open.empty()) co_return Result<void>{};
  CO_TRY_ASSIGN(auto ours, co_await claimed(std::move(open)));
  for (auto& delivery : ours)
    if (busy_.insert(delivery.id).second) work_.spawn(process(std::move(delivery)));
  co_return Result<void>{};
}

Task<void> Deliveries::take_forever() {
  for (;;) {
    auto taken = co_await take_some();
    if (!taken) log_warn("deliveries cannot be taken", {{"error", taken.error().message}});
    co_await received_.wait(clock_, clock_.now() + sweep_interval);
  }
}

Task<void> Deliveries::process(Open delivery) {
  auto id = delivery.id;
  auto done = co_await build(std::move(delivery));
  busy_.erase(id);
  if (!done) {
    log_warn("a delivery could not be processed", {{"delivery", id.str()}, {"error", done.error().message}});
    (void)co_await db_.transact({statement(give_up_claim, id, clock_.now() + sweep_interval, holder_)});
  }
  received_.notify();  // there may be more than were taken at once
}

Task<Result<void>> Deliveries::build(Open delivery) {
  auto project = co_await find_project(db_, delivery.project);
  if (!project && project.error().code == Errc::not_found) co_return co_await close(delivery.id, End::ignored, "the project is gone");
  if (!project) co_return std::unexpected(project.error());
  auto wait = limits_ ? co_await limits_->delivery_turn(project->organization, delivery.not_before > Time{}) : Duration{0};
  if (wait > Duration{0}) co_return co_await defer(delivery.id, wait);
  auto webhook = decode_github(delivery.event, delivery.body);
  if (!webhook) co_return co_await close(delivery.id, End::failed, webhook.error().message);
  auto planned = co_await plan_build(forge_, clock_, entropy_, request_of(std::move(*project), std::move(*webhook)));
  if (!planned) {
    auto& error = planned.error();
    bool later = error.code == Errc::unavailable || error.code == Errc::timeout || error.code == Errc::not_found;
    if (later && delivery.tries + 1 < max_delivery_tries) co_return co_await put_off(delivery, error);
    co_return co_await close(delivery.id, End::failed, error.message);
  }
  if (!planned->build) co_return co_await close(delivery.id, End::ignored, planned->why_not);
  auto build = planned->build->header.id;
  planned->build->header.origin.received_at = delivery.received_at;
  auto origin = planned->build->header.origin;
  auto created = co_await builds_.create(std::move(*planned->build), {expect_one(close_delivery, delivery.id, "built", "", build)});
  if (!created && created.error().code == Errc::conflict) co_return co_await close(delivery.id, End::duplicate, "this change has its build already");
  if (created) built_(origin);
  co_return created;
}

Task<Result<void>> Deliveries::close(DeliveryId id, End end, std::string detail) {
  constexpr std::string_view words[] = {"built", "ignored", "duplicate", "failed"};
  auto stored = co_await db_.transact({statement(close_delivery, id, words[std::size_t(end)], detail, Value{})});
  if (!stored) co_return std::unexpected(stored.error());
  co_return Result<void>{};
}

Task<Result<void>> Deliveries::defer(DeliveryId id, Duration wait) {
  CO_TRY(co_await db_.transact({statement(defer_delivery, id, clock_.now() + wait, "waits its turn: its organization sends webhooks faster than its rate")}));
  co_return Result<void>{};
}

Task<Result<void>> Deliveries::put_off(const Open& delivery, const Error& error) {
  auto wait = std::chrono::seconds(1 << std::min(delivery.tries, 6));
  auto stored = co_await db_.transact({statement(put_off_delivery, delivery.id, clock_.now() + wait, error.message)});
  if (!stored) co_return std::unexpected(stored.error());
  co_return Result<void>{};
}

Task<Result<std::vector<DeliveryRecord>>> list_deliveries(Database& db, std::optional<ProjectId> project, std::optional<DeliveryId> before, std::int64_t limit) {
  auto last = before ? before->str() : std::string(after_every_id);
  auto wanted = project ? statement(select_project_records, last, limit, *project) : statement(select_records, last, limit);
  CO_TRY_ASSIGN(auto found, co_await db.query(std::move(wanted)));
  std::vector<DeliveryRecord> out;
  for (auto& row : found.rows) out.push_back(record_from(row));
  co_return out;
}

Task<Result<DeliveryRecord>> find_delivery(Database& db, DeliveryId id) {
  CO_TRY_ASSIGN(auto found, co_await db.query(statement(select_record, id)));
  if (found.rows.empty()) co_return fail(Errc::not_found, "there is no delivery " + id.str());
  co_return record_from(found.rows[0]);
}

}  // namespace mayfly
