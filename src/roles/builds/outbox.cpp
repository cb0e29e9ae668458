#include "roles/builds/outbox.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/json.h"
#include "base/log.h"

namespace mayfly {
namespace {

constexpr std::size_t sweep_batch = 500;
constexpr Duration sweep_interval = std::chrono::seconds(5);
constexpr Duration retry = std::chrono::seconds(1);

constexpr std::string_view select_outbox = "select id, topic, key, payload from outbox where id < $1 order by id limit $2";
constexpr std::string_view select_oldest = "select min(id) from outbox";
constexpr std::string_view delete_outbox = "delete from outbox where id = $1";

/// What live viewers and waiting runners are told at once. They look again by themselves if they miss it.
struct Notices {
  std::set<std::string> builds;
  std::string stops;

  void add(const OutboxRow& row) {
    if (row.topic == topic::events) builds.insert(row.key);
    if (row.topic != topic::assignments) return;
    auto body = parse_json(row.payload);
    if (!body) return;
    if (auto attempt = find_string(*body, "stop")) stops += (stops.empty() ? "" : " ") + std::string(*attempt);
  }
};

std::string channel_of_build(const std::string& id) { return "build:" + id; }

bool is_final(Errc code) { return code == Errc::too_large || code == Errc::invalid; }

}  // namespace

std::string build_channel(BuildId id) { return channel_of_build(id.str()); }

void Outbox::stored(std::vector<OutboxRow> rows) {
  if (pending_.size() + rows.size() > max_pending_messages) {
    behind_ = true;
    pending_.clear();
  } else {
    std::ranges::move(rows, std::back_inserter(pending_));
  }
  changed_.notify();
}

Task<Result<void>> Outbox::send(std::vector<OutboxRow> rows) {
  std::map<std::string, std::vector<Message>> by_topic;
  Notices notices;
  std::vector<Statement> done;
  for (auto& row : rows) {
    notices.add(row);
    by_topic[row.topic].push_back({row.key, row.payload});
    done.push_back(statement(delete_outbox, row.id));
  }
  for (auto& build : notices.builds) (void)co_await cache_.publish(channel_of_build(build), "");
  if (!notices.stops.empty()) (void)co_await cache_.publish(stops_channel, notices.stops);
  for (auto& [name, messages] : by_topic) CO_TRY(co_await publish(name, std::move(messages)));
  CO_TRY(co_await db_.transact(std::move(done)));
  co_return Result<void>{};
}

/// One that the bus will never take keeps the others from nothing: it is given up, and whom it would have told looks by itself.
Task<Result<void>> Outbox::publish(const std::string& topic, std::vector<Message> messages) {
  auto together = co_await bus_.publish(topic, messages);
  if (together || !is_final(together.error().code)) co_return together;
  for (auto& message : messages) {
    auto key = message.key;
    auto alone = co_await bus_.publish(topic, {std::move(message)});
    if (alone) continue;
    if (!is_final(alone.error().code)) co_return alone;
    log_error("the bus refuses a message for good; it is given up", {{"topic", topic}, {"key", key}, {"error", alone.error().message}});
  }
  co_return Result<void>{};
}

Task<Result<void>> Outbox::sweep(Time made_before) {
  auto horizon = outbox_id_at(made_before);
  for (;;) {
    CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_outbox, horizon, std::int64_t(sweep_batch))));
    if (found.rows.empty()) co_return Result<void>{};
    std::vector<OutboxRow> rows;
    for (auto& row : found.rows) rows.push_back({text_at(row, 0), text_at(row, 1), text_at(row, 2), text_at(row, 3)});
    CO_TRY(co_await send(std::move(rows)));
  }
}

Task<void> Outbox::run() {
  for (;;) {
    auto own = std::exchange(pending_, {});
    Result<void> sent;
    if (behind_) {  // what is pending stands there too
      sent = co_await bus_.ping();
      if (sent) sent = co_await sweep(clock_.now() + Duration(1));
    } else {
      if (!own.empty()) sent = co_await send(std::move(own));
      if (sent && swept_at_ + sweep_interval <= clock_.now()) {
        sent = co_await sweep(clock_.now() - orphan_age);
        swept_at_ = clock_.now();
      }
    }
    if (!sent) log_warn("messages wait in the outbox", {{"error", sent.error().message}});
    behind_ = !sent;
    co_await changed_.wait(clock_, clock_.now() + (sent ? sweep_interval : retry));
  }
}

Task<Result<void>> Outbox::check() {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_oldest)));
  auto& row = found.rows.at(0);
  if (null_at(row, 0)) co_return Result<void>{};
  auto since = outbox_time(text_at(row, 0));
  if (since && *since + outbox_is_late_after < clock_.now())
    co_return fail(Errc::unavailable, "the bus takes no messages; the oldest waits since " + to_rfc3339(*since), "see that the brokers can be reached; nothing is lost meanwhile");
  co_return Result<void>{};
}

}  // namespace mayfly
