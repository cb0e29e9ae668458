#include "adapters/s3/blobs.h"

#include <algorithm>

#include "adapters/s3/housekeeping.h"
#include "adapters/s3/writer.h"
#include "base/log.h"

namespace mayfly {
namespace s3 {
namespace {

Error too_large(std::string_view key) {
  return {Errc::too_large, "blob " + std::string(key) + ": more than " + std::to_string(max_blob_read) + " bytes at once", "read it in ranges"};
}

std::unexpected<Error> corrupt(std::string_view key, std::string_view why) {
  return fail(Errc::corrupt, "blob " + std::string(key) + ": " + std::string(why), "restore it from a backup, or remove it");
}

/// Whether the answer is all of the blob: "bytes 0-9/10".
bool is_whole(const http::ClientResponse& answer) {
  if (answer.status == 200) return true;
  auto range = answer.headers.get("Content-Range").value_or("");
  return range.starts_with("bytes 0-") && range.ends_with("/" + std::to_string(answer.body.size()));
}

class BlobsOnS3 final : public S3Blobs {
 public:
  BlobsOnS3(Loop loop, std::unique_ptr<Calls> calls) : store_(std::move(loop), std::move(calls)) {}

  Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view key) override {
    CO_TRY(check_blob_key(key));
    co_return std::make_unique<Writer>(store_, std::string(key));
  }

  Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) override {
    CO_TRY(check_blob_key(key));
    if (bytes.size() <= std::size_t(max_blob_read)) co_return co_await store_.put(std::string(key), bytes);
    Writer writer(store_, std::string(key));
    CO_TRY(co_await writer.write(bytes));
    co_return co_await writer.finish();
  }

  Task<Result<std::string>> get(std::string_view key) override {
    co_return co_await get_range(key, 0, std::numeric_limits<std::int64_t>::max());
  }

  Task<Result<std::string>> get_range(std::string_view key, std::int64_t offset, std::int64_t length) override {
    CO_TRY(check_blob_key(key));
    if (offset < 0 || length < 0) co_return fail(Errc::invalid, "blob " + std::string(key) + ": a negative range");
    Call call{.object = store_.object_of(key), .max_answer = std::size_t(max_blob_read)};
    // No byte is an answer too: whether the blob is there. One past the limit is asked for, to hear that there are more.
    auto want = std::clamp<std::int64_t>(length, 1, max_blob_read + 1);
    call.expected_answer = std::size_t(want);
    auto last = offset > std::numeric_limits<std::int64_t>::max() - want ? std::numeric_limits<std::int64_t>::max() : offset + want - 1;
    call.headers.add("Range", "bytes=" + std::to_string(offset) + "-" + std::to_string(last));
    auto answer = co_await store_.calls().send(call);
    if (!answer && answer.error().code == Errc::too_large) co_return std::unexpected(too_large(key));
    if (!answer) co_return std::unexpected(answer.error());
    if (answer->status == 416) co_return std::string();
    if (answer->status == 404) co_return fail(Errc::not_found, "there is no blob " + std::string(key));
    if (!answer->ok()) co_return std::unexpected(store_.calls().refused(call, *answer));
    if (is_whole(*answer)) CO_TRY(co_await check(std::string(key), *answer));
    if (answer->status == 200) answer->body.erase(0, std::size_t(std::min<std::int64_t>(offset, std::int64_t(answer->body.size()))));
    if (std::int64_t(answer->body.size()) > length) answer->body.resize(std::size_t(length));
    co_return std::move(answer->body);
  }

  Task<Result<std::optional<BlobInfo>>> head(std::string_view key) override {
    CO_TRY(check_blob_key(key));
    CO_TRY_ASSIGN(auto found, co_await store_.find(std::string(key)));
    if (!found) co_return std::optional<BlobInfo>{};
    if (!found->has_digest) co_return corrupt(key, "it has no digest");
    co_return std::optional(std::move(found->info));
  }

  Task<Result<std::vector<BlobInfo>>> list(std::string_view prefix, std::string_view after, std::size_t limit) override {
    CO_TRY(check_blob_prefix(prefix));
    co_return co_await store_.list(std::string(prefix), std::string(after), limit);
  }

  Task<Result<void>> remove(std::string_view key) override {
    CO_TRY(check_blob_key(key));
    co_return co_await store_.remove(std::string(key));
  }

  std::optional<std::string> signed_url(std::string_view key, Time expires, std::string_view file_name) override {
    if (!check_blob_key(key)) return std::nullopt;
    // Bytes of jobs are never a page of anybody's.
    http::Query query;
    query.add("response-content-disposition", file_name.empty() ? "attachment" : "attachment; filename*=UTF-8''" + http::percent_encode(file_name));
    query.add("response-content-type", "application/octet-stream");
    return store_.calls().signed_url("GET", store_.object_of(key), std::move(query), {}, expires);
  }

  std::optional<SignedPut> signed_put(std::string_view key, std::int64_t size, const Sha256& digest, Time expires) override {
    if (!check_blob_key(key) || size < 0 || size > max_s3_put || size > store_.options().max_blob_bytes || !store_.conditional()) return std::nullopt;
    http::Headers headers;
    headers.add("Content-Length", std::to_string(size));
    headers.add("Content-Type", "application/octet-stream");
    headers.add("If-None-Match", "*");
    headers.add(checksum_header, checksum_text(digest));
    headers.add(digest_header, to_hex(digest));
    auto url = store_.calls().signed_url("PUT", store_.object_of(key), {}, headers, expires);
    return SignedPut{std::move(url), std::move(headers.fields)};
  }

  Task<void> run() override {
    auto set = co_await set_lifecycle(store_);
    if (!set) log_warn("S3: the bucket's lifecycle could not be set", {{"error", set.error().message}});
    auto& clock = store_.calls().clock();
    for (auto due = clock.now();;) {
      if (store_.options().sweep && clock.now() >= due) {
        auto swept = co_await sweep(store_);
        if (!swept) log_warn("S3: the bucket could not be swept", {{"error", swept.error().message}});
        else if (*swept > 0) log_info("S3: left-overs removed", {{"count", std::to_string(*swept)}});
        due = clock.now() + sweep_interval;
      }
      co_await store_.wait_for_abandoned(due);
      co_await store_.abort_abandoned();
    }
  }

 private:
  Task<Result<void>> check(std::string key, const http::ClientResponse& answer) {
    CO_TRY_ASSIGN(auto digest, co_await store_.digest_in(key, answer.headers));
    if (!digest) co_return corrupt(key, "it has no digest");
    if (*digest != sha256(answer.body)) co_return corrupt(key, "its bytes are not those that were written");
    co_return Result<void>{};
  }

  Store store_;
};

}  // namespace
}  // namespace s3

Result<std::unique_ptr<S3Blobs>> make_s3_blobs(Loop loop, http::Client& client, Clock& clock, Entropy& entropy, S3Options options) {
  TRY_ASSIGN(auto calls, s3::Calls::make(client, clock, entropy, std::move(options)));
  return std::make_unique<s3::BlobsOnS3>(std::move(loop), std::move(calls));
}

}  // namespace mayfly
