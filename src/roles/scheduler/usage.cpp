#include "roles/scheduler/usage.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"

namespace mayfly {
namespace {

using scheduling::UsageRecord;
using scheduling::UsageSnapshot;

constexpr std::string_view select_usage = "select at, body from usage_snapshots where name = 'fair share'";
constexpr std::string_view upsert_usage = R"sql(
insert into usage_snapshots (name, at, body) values ('fair share', $1, $2)
on conflict (name) do update set at = excluded.at, body = excluded.body)sql";

double most_used(const UsageRecord& record) { return *std::ranges::max_element(record.used); }

json::array record_json(const UsageRecord& r) {
  json::array used(r.used.begin(), r.used.end());
  return {r.organization.str(), r.project.is_nil() ? std::string() : r.project.str(), std::move(used), r.floor, r.contending};
}

std::unexpected<Error> corrupt() { return fail(Errc::corrupt, "the stored usage of organizations cannot be read"); }

std::optional<double> number(const json::value& v) {
  return v.is_number() ? std::optional(v.to_number<double>()) : std::nullopt;
}

Result<UsageRecord> record_from(const json::value& v) {
  auto* fields = v.if_array();
  if (!fields || fields->size() != 5 || !fields->at(0).is_string() || !fields->at(1).is_string() || !fields->at(2).is_array() ||
      fields->at(2).get_array().size() != scheduling::Resources::kinds || !fields->at(4).is_bool())
    return corrupt();
  UsageRecord record;
  TRY_ASSIGN(record.organization, OrganizationId::parse(std::string_view(fields->at(0).get_string())));
  if (auto project = std::string_view(fields->at(1).get_string()); !project.empty()) {
    TRY_ASSIGN(record.project, ProjectId::parse(project));
  }
  for (std::size_t i = 0; i < record.used.size(); ++i) {
    auto used = number(fields->at(2).get_array()[i]);
    if (!used) return corrupt();
    record.used[i] = *used;
  }
  auto floor = number(fields->at(3));
  if (!floor) return corrupt();
  record.floor = *floor;
  record.contending = fields->at(4).get_bool();
  return record;
}

std::string to_column(UsageSnapshot usage) {
  auto& records = usage.records;
  if (records.size() > max_usage_records) {
    std::ranges::nth_element(records, records.begin() + std::ptrdiff_t(max_usage_records), std::greater{}, most_used);
    records.resize(max_usage_records);
  }
  json::array out;
  for (auto& record : records) out.push_back(record_json(record));
  return json::serialize(json::object{{"floor", usage.floor}, {"records", std::move(out)}});
}

Result<UsageSnapshot> from_column(Time at, std::string_view column) {
  TRY_ASSIGN(auto body, parse_json(column));
  auto* floor = find(body, "floor");
  auto* records = find(body, "records");
  if (!floor || !number(*floor) || !records || !records->is_array()) return corrupt();
  UsageSnapshot usage{.at = at, .floor = *number(*floor), .records = {}};
  for (auto& item : records->get_array()) {
    TRY_ASSIGN(auto record, record_from(item));
    usage.records.push_back(record);
  }
  return usage;
}

}  // namespace

Task<Result<UsageSnapshot>> UsageStore::load() {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_usage)));
  if (found.rows.empty()) co_return UsageSnapshot{};
  CO_TRY_ASSIGN(auto usage, from_column(time_at(found.rows[0], 0), text_at(found.rows[0], 1)));
  // Another machine's clock may have run ahead: nobody has used what is yet to come.
  usage.at = std::min(usage.at, clock_.now());
  co_return usage;
}

Task<Result<void>> UsageStore::store(UsageSnapshot usage, Leadership scheduler) {
  auto at = usage.at;
  CO_TRY(co_await db_.transact({scheduler.still_ours(), statement(upsert_usage, at, to_column(std::move(usage)))}));
  co_return Result<void>{};
}

Task<void> UsageStore::flush() {
  if (!noted_) co_return;
  auto [usage, leadership] = *std::exchange(noted_, std::nullopt);
  auto stored = co_await store(std::move(usage), std::move(leadership));
  if (!stored && stored.error().code != Errc::conflict) log_warn("the usage of organizations could not be stored", {{"error", stored.error().message}});
}

}  // namespace mayfly
