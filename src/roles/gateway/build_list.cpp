#include "roles/gateway/build_list.h"

#include <map>

#include "roles/builds/columns.h"

namespace mayfly {
namespace {

constexpr std::string_view select = R"sql(
select id, project_id, organization_id, number, status, sequence, trigger_type, ref, commit_sha, message, author, pipeline, errors,
       retry_of, created_at, start_time, end_time
from builds where id < $1)sql";

constexpr std::string_view after_every_id = "g";   // of hexadecimal digits, whatever the database sorts by

/// One statement text a combination of filters, made once: the database keeps them prepared.
std::string_view select_with(bool project, bool status, bool ref, bool trigger) {
  static std::map<int, std::string> made;
  auto& sql = made[project | status << 1 | ref << 2 | trigger << 3];
  if (!sql.empty()) return sql;
  int n = 2;
  auto next = [&] { return "$" + std::to_string(++n); };
  sql = select;
  if (project) sql += " and project_id = " + next();
  if (status) sql += " and status = " + next();
  if (ref) {
    auto text = next(), branch = next(), tag = next();
    sql += " and ref in (" + text + ", " + branch + ", " + tag + ")";
  }
  if (trigger) sql += " and trigger_type = " + next();
  return sql += " order by id desc limit $2";
}

}  // namespace

Task<Result<std::vector<BuildSummary>>> list_builds(Database& db, BuildFilter filter, std::optional<BuildId> before, std::int64_t limit) {
  Statement wanted{select_with(filter.project.has_value(), filter.status.has_value(), filter.ref.has_value(), filter.trigger.has_value()),
                   {value(before ? before->str() : std::string(after_every_id)), value(limit)}};
  if (filter.project) wanted.params.push_back(value(*filter.project));
  if (filter.status) wanted.params.push_back(value(to_string(*filter.status)));
  if (filter.ref)
    for (auto prefix : {"", "refs/heads/", "refs/tags/"}) wanted.params.push_back(value(prefix + *filter.ref));
  if (filter.trigger) wanted.params.push_back(value(*filter.trigger));
  CO_TRY_ASSIGN(auto found, co_await db.query(std::move(wanted)));
  std::vector<BuildSummary> out;
  for (auto& row : found.rows) {
    BuildSummary b;
    b.header.id = id_at<BuildId>(row, 0);
    b.header.project = id_at<ProjectId>(row, 1);
    b.header.organization = id_at<OrganizationId>(row, 2);
    b.header.number = int_at(row, 3);
    b.status = build_status_from(text_at(row, 4)).value_or(BuildStatus::queued);
    b.sequence = int_at(row, 5);
    b.header.trigger_type = text_at(row, 6);
    b.header.ref = text_at(row, 7);
    b.header.commit_sha = text_at(row, 8);
    b.header.message = text_at(row, 9);
    b.header.author = text_at(row, 10);
    b.header.pipeline = text_at(row, 11);
    CO_TRY_ASSIGN(b.header.errors, errors_from_column(text_at(row, 12)));
    if (!null_at(row, 13)) b.header.retry_of = id_at<BuildId>(row, 13);
    b.created_at = time_at(row, 14);
    b.start_time = optional_time_at(row, 15);
    b.end_time = optional_time_at(row, 16);
    out.push_back(std::move(b));
  }
  co_return out;
}

}  // namespace mayfly
