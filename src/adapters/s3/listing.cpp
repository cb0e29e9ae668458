#include <algorithm>

#include "adapters/s3/names.h"
#include "adapters/s3/store.h"
#include "async/scope.h"

namespace mayfly::s3 {
namespace {

constexpr std::size_t page_objects = 1000;    // what S3 gives at most
constexpr std::size_t looks_at_once = 16;

}  // namespace

Task<Result<Listing>> Store::objects(std::string prefix, std::string after, std::size_t limit) {
  Call call{.object = ""};
  call.query.add("list-type", "2");
  call.query.add("prefix", prefix);
  call.query.add("max-keys", std::to_string(std::min(limit, page_objects)));
  if (!after.empty()) call.query.add("start-after", after);
  CO_TRY_ASSIGN(auto answer, co_await calls_->send(call));
  if (answer.status == 404 && read_refusal(answer.body).code == "NoSuchBucket") co_return Listing{};
  if (!answer.ok()) co_return std::unexpected(calls_->refused(call, answer));
  auto listing = read_listing(answer.body);
  if (!listing) co_return fail(Errc::unavailable, listing.error().message);
  co_return listing;
}

/// A listing has no metadata: each object is looked at. Those that are gone by then are left out.
Task<Result<void>> Store::describe(std::vector<std::string> keys, std::vector<BlobInfo>& into) {
  std::vector<std::optional<BlobInfo>> found(keys.size());
  std::optional<Error> failed;
  std::size_t next = 0;
  auto look = [&]() -> Task<void> {
    while (next < keys.size() && !failed) {
      auto at = next++;
      auto one = co_await find(keys[at]);
      if (!one) failed = one.error();
      else if (*one) found[at] = std::move((*one)->info);
    }
  };
  Scope scope(loop_);
  for (std::size_t i = 0; i < std::min(looks_at_once, keys.size()); ++i) scope.spawn(look());
  co_await scope.join();
  if (failed) co_return std::unexpected(*failed);
  for (auto& info : found)
    if (info) into.push_back(*std::move(info));
  co_return Result<void>{};
}

Task<Result<std::vector<BlobInfo>>> Store::list(std::string prefix, std::string after, std::size_t limit) {
  std::vector<BlobInfo> out;
  auto begins = blobs_ + name_prefix(prefix);
  auto from = after.empty() ? std::string() : object_of(after);
  while (out.size() < limit) {
    CO_TRY_ASSIGN(auto listing, co_await objects(begins, from, limit - out.size()));
    std::vector<std::string> keys;
    for (auto& object : listing.objects) {
      if (object.name <= from || !object.name.starts_with(begins)) co_return fail(Errc::unavailable, "S3: the server lists what it was not asked for: " + object.name);
      auto key = key_of(std::string_view(object.name).substr(blobs_.size()));
      if (key && key->starts_with(prefix)) keys.push_back(*std::move(key));
      from = object.name;
    }
    CO_TRY(co_await describe(std::move(keys), out));
    if (!listing.truncated || listing.objects.empty()) break;
  }
  co_return out;
}

}  // namespace mayfly::s3
