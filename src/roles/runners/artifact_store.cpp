#include "roles/runners/artifact_store.h"

#include <algorithm>

#include "domain/runner/protocol.h"

namespace mayfly {
namespace {

constexpr std::string_view columns = "select id, build_id, job_id, attempt_id, kind, path, size, sha256, blob_key, created_at, expires_at from artifacts ";
constexpr std::string_view insert_artifact = R"sql(
insert into artifacts (id, build_id, job_id, attempt_id, kind, path, size, sha256, blob_key, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (attempt_id, kind, path) do nothing)sql";
constexpr std::string_view delete_artifact = "delete from artifacts where id = $1";
constexpr std::int64_t expire_batch = 200;

constexpr std::string_view insert_upload = R"sql(
insert into artifact_uploads (id, attempt_id, job_id, build_id, kind, path, size, sha256, blob_key, expires_at, gives_up_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11))sql";
constexpr std::string_view select_upload = R"sql(
select id, build_id, job_id, attempt_id, kind, path, size, sha256, blob_key, gives_up_at, expires_at from artifact_uploads
where id = $1 and attempt_id = $2 and gives_up_at > $3)sql";
constexpr std::string_view insert_uploaded = R"sql(
insert into artifacts (id, build_id, job_id, attempt_id, kind, path, size, sha256, blob_key, created_at, expires_at)
select id, build_id, job_id, attempt_id, kind, path, size, sha256, blob_key, $2, expires_at from artifact_uploads where id = $1 and gives_up_at > $2
on conflict (attempt_id, kind, path) do nothing)sql";
constexpr std::string_view delete_committed = "delete from artifact_uploads where id = $1 and exists (select 1 from artifacts where id = $1)";
constexpr std::string_view select_given_up = "select id, blob_key from artifact_uploads where gives_up_at <= $1 order by gives_up_at limit $2";
constexpr std::string_view delete_upload = "delete from artifact_uploads where id = $1";
constexpr Duration given_up_margin = std::chrono::hours(1);   // between the last commit and the removal of the bytes, for clocks that differ

const std::string select_by_id = std::string(columns) + "where id = $1";
const std::string select_by_name = std::string(columns) + "where attempt_id = $1 and kind = $2 and path = $3";
const std::string select_by_build = std::string(columns) + "where build_id = $1 and kind = 'artifact' and id > $2 order by id limit $3";
const std::string select_by_job = std::string(columns) +
    "where attempt_id = (select id from attempts where job_id = $1 order by case when outcome = 'success' then 0 else 1 end, number desc limit 1) order by kind, path";
const std::string select_expired = std::string(columns) + "where expires_at is not null and expires_at <= $1 order by expires_at limit $2";

Artifact artifact_from(const Row& row) {
  return {id_at<ArtifactId>(row, 0),
          {id_at<BuildId>(row, 1), id_at<JobId>(row, 2), id_at<AttemptId>(row, 3)},
          text_at(row, 4), text_at(row, 5), int_at(row, 6), text_at(row, 7), text_at(row, 8), time_at(row, 9), optional_time_at(row, 10)};
}

std::vector<Artifact> artifacts_from(const Rows& rows) {
  std::vector<Artifact> out;
  for (auto& row : rows.rows) out.push_back(artifact_from(row));
  return out;
}

std::optional<Sha256> sha256_from_hex(std::string_view hex) {
  auto bytes = from_hex(hex);
  Sha256 out;
  if (!bytes || bytes->size() != out.size()) return std::nullopt;
  std::ranges::copy(*bytes, out.begin());
  return out;
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > max_artifact_path_bytes || path.starts_with('/') || !is_utf8(path)) return false;
  if (std::ranges::any_of(path, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return false;
  for (std::size_t at = 0; at <= path.size();) {
    auto end = std::min(path.find('/', at), path.size());
    auto part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

}  // namespace

Result<void> ArtifactStore::check(std::string_view kind, std::string_view path) const {
  if (kind != "artifact" && kind != "outputs") return fail(Errc::invalid, "kind: 'artifact' or 'outputs', not '" + std::string(kind.substr(0, 40)) + "'");
  if (!is_safe_path(path)) return fail(Errc::invalid, "path: not a relative path in UTF-8 without '..'");
  return {};
}

Artifact ArtifactStore::make(ArtifactOwner owner, std::string kind, std::string path, std::optional<Time> expires) {
  auto id = make_id<ArtifactId>(clock_, entropy_);
  return {id, owner, std::move(kind), std::move(path), 0, {}, "artifacts/" + owner.build.str() + "/" + id.str(), clock_.now(), expires};
}

Task<Result<std::unique_ptr<ArtifactUpload>>> ArtifactStore::begin(ArtifactOwner owner, std::string kind, std::string path, std::optional<Time> expires) {
  CO_TRY(check(kind, path));
  auto artifact = make(owner, std::move(kind), std::move(path), expires);
  CO_TRY_ASSIGN(auto writer, co_await blobs_.create(artifact.blob_key));
  co_return std::make_unique<ArtifactUpload>(*this, std::move(artifact), std::move(writer));
}

Task<Result<void>> ArtifactUpload::write(std::string_view bytes) {
  artifact_.size += std::int64_t(bytes.size());
  if (artifact_.size > max_artifact_bytes) co_return fail(Errc::too_large, "an artifact may have " + std::to_string(max_artifact_bytes) + " bytes");
  hash_.update(bytes);
  co_return co_await writer_->write(bytes);
}

Task<Result<Artifact>> ArtifactUpload::finish(std::optional<std::string> sha256) {
  artifact_.sha256 = to_hex(hash_.digest());
  if (sha256 && *sha256 != artifact_.sha256) co_return fail(Errc::invalid, "the bytes that arrived do not have the digest that was announced", "send them again");
  CO_TRY(co_await writer_->finish());
  auto& a = artifact_;
  CO_TRY_ASSIGN(auto stored, co_await store_.db_.transact({statement(insert_artifact, a.id, a.owner.build, a.owner.job, a.owner.attempt, a.kind, a.path,
                                                                     a.size, a.sha256, a.blob_key, a.created_at, a.expires_at)}));
  if (stored.at(0).affected == 1) co_return artifact_;
  CO_TRY(co_await store_.blobs_.remove(a.blob_key));
  CO_TRY_ASSIGN(auto before, co_await store_.db_.query(statement(select_by_name, a.owner.attempt, a.kind, a.path)));
  if (before.rows.empty()) co_return fail(Errc::conflict, "the artifact expired while it was sent again");
  co_return artifact_from(before.rows[0]);
}

Task<Result<Artifact>> ArtifactStore::find(ArtifactId id) {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_by_id, id)));
  if (found.rows.empty()) co_return fail(Errc::not_found, "there is no artifact " + id.str(), "it may have expired");
  auto artifact = artifact_from(found.rows[0]);
  if (artifact.expires_at && *artifact.expires_at <= clock_.now()) co_return fail(Errc::not_found, "artifact " + id.str() + " has expired");
  co_return artifact;
}

Task<Result<std::vector<Artifact>>> ArtifactStore::of_build(BuildId build, std::optional<ArtifactId> after, std::int64_t limit) {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_by_build, build, after ? after->str() : std::string{}, limit)));
  co_return artifacts_from(found);
}

Task<Result<std::vector<Artifact>>> ArtifactStore::of_job(JobId job) {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_by_job, job)));
  co_return artifacts_from(found);
}

Task<Result<std::string>> ArtifactStore::read(const Artifact& artifact, std::int64_t offset, std::int64_t length) {
  co_return co_await blobs_.get_range(artifact.blob_key, offset, length);
}

std::optional<std::string> ArtifactStore::link(const Artifact& artifact) {
  return blobs_.signed_url(artifact.blob_key, clock_.now() + signed_transfer_life, artifact.path.substr(artifact.path.rfind('/') + 1));
}

Task<Result<std::optional<DirectUpload>>> ArtifactStore::prepare(ArtifactOwner owner, std::string kind, std::string path, std::int64_t size, std::string sha256,
                                                                 std::optional<Time> expires) {
  CO_TRY(check(kind, path));
  auto digest = sha256_from_hex(sha256);
  if (!digest) co_return fail(Errc::invalid, "sha256: not a digest in hex");
  if (size < 0) co_return fail(Errc::invalid, "size: negative");
  if (size > max_artifact_bytes) co_return fail(Errc::too_large, "an artifact may have " + std::to_string(max_artifact_bytes) + " bytes");
  auto a = make(owner, std::move(kind), std::move(path), expires);
  auto put = blobs_.signed_put(a.blob_key, size, *digest, clock_.now() + signed_transfer_life);
  if (!put) co_return std::optional<DirectUpload>{};
  CO_TRY(co_await db_.transact({statement(insert_upload, a.id, owner.attempt, owner.job, owner.build, a.kind, a.path, size, to_hex(*digest), a.blob_key, expires,
                                          clock_.now() + upload_life)}));
  co_return std::optional(DirectUpload{a.id, *std::move(put)});
}

Task<Result<void>> ArtifactStore::check_arrived(const Artifact& upload) {
  CO_TRY_ASSIGN(auto stored, co_await blobs_.head(upload.blob_key));
  if (!stored) co_return fail(Errc::invalid, "the bytes of '" + upload.path + "' have not arrived", "send them, then commit");
  if (stored->size == upload.size && to_hex(stored->sha256) == upload.sha256) co_return Result<void>{};
  CO_TRY(co_await blobs_.remove(upload.blob_key));
  co_return fail(Errc::invalid, "the bytes of '" + upload.path + "' are not those that were announced", "send them again");
}

Task<Result<Artifact>> ArtifactStore::commit(ArtifactOwner owner, ArtifactId id) {
  CO_TRY_ASSIGN(auto uploads, co_await db_.query(statement(select_upload, id, owner.attempt, clock_.now())));
  if (uploads.rows.empty()) {
    CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_by_id, id)));
    if (found.rows.empty() || artifact_from(found.rows[0]).owner.attempt != owner.attempt)
      co_return fail(Errc::not_found, "there is no upload " + id.str() + " of this attempt", "prepare it again");
    co_return artifact_from(found.rows[0]);
  }
  auto upload = artifact_from(uploads.rows[0]);
  CO_TRY(co_await check_arrived(upload));
  CO_TRY(co_await db_.transact({statement(insert_uploaded, id, clock_.now()), statement(delete_committed, id)}));
  // Where another of this name was first, the upload stays for the sweep: who asks again is answered again.
  CO_TRY_ASSIGN(auto there, co_await db_.query(statement(select_by_name, owner.attempt, upload.kind, upload.path)));
  if (there.rows.empty()) co_return fail(Errc::conflict, "the artifact expired while it was committed");
  co_return artifact_from(there.rows[0]);
}

Task<Result<std::size_t>> ArtifactStore::give_up_uploads() {
  CO_TRY_ASSIGN(auto found, co_await db_.query(statement(select_given_up, clock_.now() - given_up_margin, expire_batch)));
  for (auto& row : found.rows) {
    CO_TRY(co_await blobs_.remove(text_at(row, 1)));
    CO_TRY(co_await db_.transact({statement(delete_upload, id_at<ArtifactId>(row, 0))}));
  }
  co_return found.rows.size();
}

Task<Result<std::size_t>> ArtifactStore::expire() {
  CO_TRY_ASSIGN(auto given_up, co_await give_up_uploads());
  CO_TRY_ASSIGN(auto expired, co_await db_.query(statement(select_expired, clock_.now(), expire_batch)));
  auto artifacts = artifacts_from(expired);
  for (auto& artifact : artifacts) {
    CO_TRY(co_await db_.transact({statement(delete_artifact, artifact.id)}));
    CO_TRY(co_await blobs_.remove(artifact.blob_key));
  }
  co_return artifacts.size() + given_up;
}

}  // namespace mayfly
