#include "adapters/s3/writer.h"

#include <algorithm>

#include "async/scope.h"
#include "base/log.h"

namespace mayfly::s3 {
namespace {

constexpr int completions = 3;   // tries of one that S3 begins to answer with success and ends with an error

}  // namespace

Writer::~Writer() {
  if (!upload_.upload.empty()) store_.abandon(std::move(upload_));
}

Task<Result<void>> Writer::write(std::string_view bytes) {
  CO_TRY(state_);
  state_ = co_await take(bytes);
  if (!state_) co_await give_up();
  co_return state_;
}

Task<Result<void>> Writer::take(std::string_view bytes) {
  auto limit = store_.options().max_blob_bytes;
  if (std::int64_t(bytes.size()) > limit - size_) co_return fail(Errc::too_large, "blob " + key_ + " passes " + std::to_string(limit) + " bytes");
  size_ += std::int64_t(bytes.size());
  while (!bytes.empty()) {
    if (buffer_.size() == room()) CO_TRY(co_await send_parts());
    auto n = std::min(bytes.size(), room() - buffer_.size());
    buffer_ += bytes.substr(0, n);
    bytes.remove_prefix(n);
  }
  co_return Result<void>{};
}

Task<Result<BlobInfo>> Writer::finish() {
  CO_TRY(state_);
  state_ = fail(Errc::internal, "blob " + key_ + " is finished already");
  if (upload_.upload.empty()) co_return co_await store_.put(key_, buffer_);
  auto completed = co_await complete();
  if (!completed) co_await give_up();
  co_return completed;
}

Task<Result<void>> Writer::begin() {
  co_await store_.abort_abandoned();
  upload_.key = key_;
  upload_.digest_id = make_id<Id<struct DigestTag>>(store_.calls().clock(), store_.calls().entropy()).str();
  Call call{.method = "POST", .object = store_.object_of(key_)};
  call.query.add("uploads", "");
  call.headers.add("Content-Type", "application/octet-stream");
  call.headers.add(digest_id_header, upload_.digest_id);
  call.headers.add("x-amz-checksum-algorithm", "SHA256");
  CO_TRY_ASSIGN(auto answer, co_await store_.calls().succeed(call));
  auto id = read_upload_id(answer.body);
  if (!id) co_return fail(Errc::unavailable, id.error().message);
  upload_.upload = *std::move(id);
  co_return Result<void>{};
}

Task<Result<void>> Writer::send_parts() {
  if (upload_.upload.empty()) CO_TRY(co_await begin());
  hash_.update(buffer_);
  auto part_bytes = store_.options().part_bytes;
  auto first = parts_.size();
  parts_.resize(first + (buffer_.size() + part_bytes - 1) / part_bytes);
  std::optional<Error> failed;
  auto one = [&](std::size_t at) -> Task<void> {
    auto part = co_await send_part(at + 1, std::string_view(buffer_).substr((at - first) * part_bytes, part_bytes));
    if (part) parts_[at] = *std::move(part);
    else failed = part.error();
  };
  Scope scope(store_.loop());
  for (auto at = first; at < parts_.size(); ++at) scope.spawn(one(at));
  co_await scope.join();
  if (failed) co_return std::unexpected(*std::move(failed));
  buffer_.clear();
  co_return Result<void>{};
}

Task<Result<Writer::Part>> Writer::send_part(std::size_t number, std::string_view bytes) {
  auto digest = sha256(bytes);
  Call call{.method = "PUT", .object = store_.object_of(key_), .body = bytes, .body_digest = digest};
  call.query.add("partNumber", std::to_string(number));
  call.query.add("uploadId", upload_.upload);
  call.headers.add(checksum_header, checksum_text(digest));
  CO_TRY_ASSIGN(auto answer, co_await store_.calls().succeed(call));
  auto etag = answer.headers.get("ETag");
  if (!etag || etag->empty()) co_return fail(Errc::unavailable, "S3: part " + std::to_string(number) + " of " + key_ + " has no ETag");
  co_return Part{std::string(*etag), checksum_text(digest)};
}

Task<Result<void>> Writer::store_digest(const Sha256& digest) {
  auto hex = to_hex(digest);
  Call call{.method = "PUT", .object = store_.digest_object(key_, upload_.digest_id), .body = hex};
  CO_TRY(co_await store_.calls().succeed(call));
  co_return Result<void>{};
}

Task<Result<http::ClientResponse>> Writer::ask_to_complete() {
  std::string body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (std::size_t i = 0; i < parts_.size(); ++i)
    body += "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" + xml_escape(parts_[i].etag) + "</ETag><ChecksumSHA256>" +
            parts_[i].checksum + "</ChecksumSHA256></Part>";
  body += "</CompleteMultipartUpload>";
  Call call{.method = "POST", .object = store_.object_of(key_), .body = body};
  call.query.add("uploadId", upload_.upload);
  if (store_.conditional()) call.headers.add("If-None-Match", "*");
  co_return co_await store_.calls().send(call);
}

Task<Result<BlobInfo>> Writer::complete() {
  CO_TRY(co_await send_parts());
  auto digest = hash_.digest();
  // Before the blob is visible: what its metadata names is there.
  CO_TRY(co_await store_digest(digest));
  for (int i = 0; i < completions; ++i) {
    if (!store_.conditional()) {
      CO_TRY_ASSIGN(auto there, co_await store_.find(key_));
      if (there) co_return co_await give_way({});
    }
    CO_TRY_ASSIGN(auto answer, co_await ask_to_complete());
    // It begins to answer before it knows: an error may come as a success's body.
    bool success = answer.ok() && read_refusal(answer.body).code.empty();
    if (success) {
      upload_.upload.clear();
      co_return BlobInfo{key_, size_, digest};
    }
    if (answer.status == 501 && store_.conditional()) store_.do_without_conditions();
    else if (!answer.ok()) co_return co_await give_way(store_.calls().refused({.method = "POST", .object = store_.object_of(key_)}, answer));
  }
  co_return fail(Errc::unavailable, "S3: the parts of " + key_ + " could not be put together");
}

/// The completion was refused: another was first, or an earlier try of ours that we did not hear of.
Task<Result<BlobInfo>> Writer::give_way(Error refusal) {
  CO_TRY_ASSIGN(auto there, co_await store_.find(key_));
  if (!there) co_return std::unexpected(std::move(refusal));
  if (there->digest_id == upload_.digest_id) upload_.upload.clear();   // ours
  else co_await give_up();
  co_return std::move(there->info);
}

Task<void> Writer::give_up() {
  buffer_ = {};
  if (upload_.upload.empty()) co_return;
  auto aborted = co_await store_.abort(std::exchange(upload_, {}));
  if (!aborted) log_warn("S3: an upload could not be given up", {{"key", key_}, {"error", aborted.error().message}});
}

}  // namespace mayfly::s3
