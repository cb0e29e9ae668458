#include "adapters/s3/store.h"

#include <algorithm>

#include "adapters/s3/names.h"
#include "base/log.h"

namespace mayfly::s3 {
namespace {

constexpr int vanishings = 3;   // of a blob between the refusal of another and the look at it

std::optional<Sha256> digest_from_hex(std::string_view hex) {
  auto bytes = from_hex(hex);
  Sha256 out;
  if (!bytes || bytes->size() != out.size()) return std::nullopt;
  std::ranges::copy(*bytes, out.begin());
  return out;
}

}  // namespace

std::string checksum_text(const Sha256& digest) { return to_base64({reinterpret_cast<const char*>(digest.data()), digest.size()}); }

Store::Store(Loop loop, std::unique_ptr<Calls> calls)
    : loop_(std::move(loop)), calls_(std::move(calls)), blobs_(options().key_prefix + "blobs/"), digests_(options().key_prefix + "digests/"),
      conditional_(options().conditional_writes) {}

std::string Store::object_of(std::string_view key) const { return blobs_ + object_name(key); }

std::string Store::digest_object(std::string_view key, std::string_view digest_id) const {
  return digests_ + object_name(key) + "/" + std::string(digest_id);
}

Task<Result<std::optional<FoundBlob>>> Store::find(std::string key) {
  Call call{.method = "HEAD", .object = object_of(key)};
  CO_TRY_ASSIGN(auto answer, co_await calls_->send(call));
  if (answer.status == 404) co_return std::optional<FoundBlob>{};
  if (!answer.ok()) co_return std::unexpected(calls_->refused(call, answer));
  FoundBlob found{.info = {.key = key}};
  auto size = http::parse_text<std::int64_t>(answer.headers.get("Content-Length").value_or(""), "Content-Length");
  if (!size || *size < 0) co_return fail(Errc::unavailable, "S3: the length of " + call.object + " is not told");
  found.info.size = *size;
  found.digest_id = answer.headers.get(digest_id_header).value_or("");
  CO_TRY_ASSIGN(auto digest, co_await digest_in(std::move(key), answer.headers));
  found.has_digest = digest.has_value();
  found.info.sha256 = digest.value_or(Sha256{});
  co_return std::optional(std::move(found));
}

Task<Result<std::optional<Sha256>>> Store::digest_in(std::string key, const http::Headers& headers) {
  if (auto hex = headers.get(digest_header)) co_return digest_from_hex(*hex);
  auto id = headers.get(digest_id_header);
  if (!id || !parse_uuid(*id)) co_return std::optional<Sha256>{};
  Call call{.object = digest_object(key, *id)};
  CO_TRY_ASSIGN(auto answer, co_await calls_->send(call));
  if (answer.ok()) co_return digest_from_hex(answer.body);
  if (answer.status == 404) co_return std::optional<Sha256>{};
  co_return std::unexpected(calls_->refused(call, answer));
}

void Store::do_without_conditions() {
  if (std::exchange(conditional_, false))
    log_warn("S3: this server has no conditional writes; it is asked before each write instead, and of two at once the later may stay");
}

Task<Result<BlobInfo>> Store::put(std::string key, std::string_view bytes) {
  auto digest = sha256(bytes);
  Call call{.method = "PUT", .object = object_of(key), .body = bytes, .body_digest = digest};
  call.headers.add("Content-Type", "application/octet-stream");
  call.headers.add(digest_header, to_hex(digest));
  call.headers.add(checksum_header, checksum_text(digest));
  for (int i = 0; i < vanishings; ++i) {
    if (!conditional_) {
      CO_TRY_ASSIGN(auto there, co_await find(key));
      if (there) co_return std::move(there->info);
      call.headers.remove("If-None-Match");
    } else {
      call.headers.set("If-None-Match", "*");
    }
    CO_TRY_ASSIGN(auto answer, co_await calls_->send(call));
    if (answer.ok()) co_return BlobInfo{key, std::int64_t(bytes.size()), digest};
    // 409: another conditional write of this key was on its way.
    if (answer.status == 412 || answer.status == 409) {
      auto there = co_await standing(key);
      if (there || there.error().code != Errc::unavailable) co_return there;
    } else if (answer.status == 501 && conditional_) {
      do_without_conditions();
    } else {
      co_return std::unexpected(calls_->refused(call, answer));
    }
  }
  co_return fail(Errc::unavailable, "S3: blob " + key + " comes and goes while it is written");
}

Task<Result<BlobInfo>> Store::standing(std::string key) {
  CO_TRY_ASSIGN(auto there, co_await find(key));
  if (!there) co_return fail(Errc::unavailable, "S3: blob " + key + " was removed while it was written");
  co_return std::move(there->info);
}

Task<Result<void>> Store::remove_object(std::string object) {
  Call call{.method = "DELETE", .object = std::move(object)};
  CO_TRY_ASSIGN(auto answer, co_await calls_->send(call));
  if (!answer.ok() && answer.status != 404) co_return std::unexpected(calls_->refused(call, answer));
  co_return Result<void>{};
}

Task<Result<void>> Store::remove(std::string key) {
  // Its digest goes last: a blob without one would be damaged.
  CO_TRY_ASSIGN(auto found, co_await find(key));
  if (!found) co_return Result<void>{};
  CO_TRY(co_await remove_object(object_of(key)));
  if (!found->digest_id.empty()) co_return co_await remove_object(digest_object(key, found->digest_id));
  co_return Result<void>{};
}

void Store::abandon(Abandoned upload) {
  if (abandoned_.size() < max_abandoned) abandoned_.push_back(std::move(upload));
  abandoned_signal_.notify();
}

Task<Result<void>> Store::abort(Abandoned upload) {
  Call call{.method = "DELETE", .object = object_of(upload.key)};
  call.query.add("uploadId", upload.upload);
  CO_TRY_ASSIGN(auto answer, co_await calls_->send(call));
  if (!answer.ok() && answer.status != 404) co_return std::unexpected(calls_->refused(call, answer));
  // An earlier try to complete it may have come through unheard: then the digest is in use.
  CO_TRY_ASSIGN(auto there, co_await find(upload.key));
  if (there && there->digest_id == upload.digest_id) co_return Result<void>{};
  co_return co_await remove_object(digest_object(upload.key, upload.digest_id));
}

Task<void> Store::abort_abandoned() {
  for (auto& upload : std::exchange(abandoned_, {})) {
    auto key = upload.key;
    auto aborted = co_await abort(std::move(upload));
    if (!aborted) log_warn("S3: an abandoned upload could not be given up", {{"key", key}, {"error", aborted.error().message}});
  }
}

Task<void> Store::wait_for_abandoned(Time until) {
  if (abandoned_.empty()) (void)co_await abandoned_signal_.wait(calls_->clock(), until);
}

}  // namespace mayfly::s3
