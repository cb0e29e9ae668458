#include "adapters/s3/housekeeping.h"

#include <algorithm>

#include "adapters/s3/names.h"
#include "base/log.h"

namespace mayfly::s3 {
namespace {

constexpr std::string_view own_rules = "mayfly-";
constexpr int upload_days = 2;
constexpr std::size_t digests_a_page = 1000;

struct Rule {
  std::string id, prefix, action;
};

/// Named by what they say, so that the names tell whether a bucket has them.
Rule rule(std::string_view kind, std::string prefix, int days, std::string_view element, std::string_view unit) {
  auto amount = std::to_string(days);
  auto id = std::string(own_rules) + std::string(kind) + "-" + amount + "-" + to_hex(sha256(prefix)).substr(0, 12);
  auto open = "<" + std::string(element) + "><" + std::string(unit) + ">";
  auto close = "</" + std::string(unit) + "></" + std::string(element) + ">";
  return {std::move(id), std::move(prefix), open + amount + close};
}

std::vector<Rule> rules_of(const Store& store) {
  std::vector<Rule> out{rule("uploads", store.blobs_prefix(), upload_days, "AbortIncompleteMultipartUpload", "DaysAfterInitiation")};
  for (auto& expiry : store.options().expiries) out.push_back(rule("expiry", store.blobs_prefix() + name_prefix(expiry.prefix), expiry.days, "Expiration", "Days"));
  return out;
}

std::string configuration(const std::vector<Rule>& rules) {
  std::string out = "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (auto& rule : rules)
    out += "<Rule><ID>" + rule.id + "</ID><Filter><Prefix>" + xml_escape(rule.prefix) + "</Prefix></Filter><Status>Enabled</Status>" + rule.action + "</Rule>";
  return out + "</LifecycleConfiguration>";
}

/// The digest object of "…/<key>!/<id>".
struct DigestName {
  std::string key;
  Uuid id;
};
std::optional<DigestName> digest_named(std::string_view name) {
  auto slash = name.rfind('/');
  if (slash == name.npos) return std::nullopt;
  auto key = key_of(name.substr(0, slash));
  auto id = parse_uuid(name.substr(slash + 1));
  if (!key || !id) return std::nullopt;
  return DigestName{*std::move(key), *id};
}

/// When a UUIDv7 was made.
Time made_at(const Uuid& id) {
  std::int64_t ms = 0;
  for (int i = 0; i < 6; ++i) ms = ms << 8 | id.bytes[std::size_t(i)];
  return Time{std::chrono::milliseconds(ms)};
}

Task<Result<std::size_t>> sweep_uploads(Store& store) {
  Call call{.object = ""};
  call.query.add("uploads", "");
  call.query.add("prefix", store.blobs_prefix());
  CO_TRY_ASSIGN(auto answer, co_await store.calls().succeed(call));
  auto pending = read_uploads(answer.body);
  if (!pending) co_return fail(Errc::unavailable, pending.error().message);
  std::size_t n = 0;
  auto horizon = store.calls().clock().now() - stale_after;
  for (auto& upload : pending->uploads) {
    auto began = parse_rfc3339(upload.initiated);
    if (!began || *began > horizon || !upload.name.starts_with(store.blobs_prefix())) continue;
    Call abort{.method = "DELETE", .object = upload.name};
    abort.query.add("uploadId", upload.id);
    CO_TRY_ASSIGN(auto aborted, co_await store.calls().send(abort));
    if (aborted.ok()) ++n;
  }
  co_return n;
}

Task<Result<std::size_t>> sweep_digests(Store& store) {
  std::size_t n = 0;
  auto horizon = store.calls().clock().now() - stale_after;
  for (std::string from;;) {
    CO_TRY_ASSIGN(auto listing, co_await store.objects(store.digests_prefix(), from, digests_a_page));
    for (auto& object : listing.objects) {
      if (object.name <= from || !object.name.starts_with(store.digests_prefix()))
        co_return fail(Errc::unavailable, "S3: the server lists what it was not asked for: " + object.name);
      from = object.name;
      auto named = digest_named(std::string_view(object.name).substr(store.digests_prefix().size()));
      if (!named || made_at(named->id) > horizon) continue;
      CO_TRY_ASSIGN(auto blob, co_await store.find(named->key));
      if (blob && blob->digest_id == to_string(named->id)) continue;
      CO_TRY(co_await store.remove_object(object.name));
      ++n;
    }
    if (!listing.truncated || listing.objects.empty()) co_return n;
  }
}

}  // namespace

Task<Result<void>> set_lifecycle(Store& store) {
  auto rules = rules_of(store);
  Call get{.object = ""};
  get.query.add("lifecycle", "");
  CO_TRY_ASSIGN(auto answer, co_await store.calls().send(get));
  std::vector<std::string> there;
  if (answer.ok()) {
    auto ids = read_rule_ids(answer.body);
    if (!ids) co_return fail(Errc::unavailable, ids.error().message);
    there = *std::move(ids);
  } else if (answer.status != 404) {
    log_info("S3: the server has no lifecycle rules; expired blobs are removed one by one", {{"answer", store.calls().refused(get, answer).message}});
    co_return Result<void>{};
  }
  if (std::ranges::any_of(there, [](auto& id) { return !id.starts_with(own_rules); })) {
    log_warn("S3: the bucket has lifecycle rules of others and is left as it is", {{"bucket", store.options().bucket}});
    co_return Result<void>{};
  }
  std::vector<std::string> wanted;
  for (auto& rule : rules) wanted.push_back(rule.id);
  std::ranges::sort(wanted);
  std::ranges::sort(there);
  if (there == wanted) co_return Result<void>{};
  auto body = configuration(rules);
  Call put{.method = "PUT", .object = "", .body = body};
  put.query.add("lifecycle", "");
  put.headers.add(checksum_header, checksum_text(sha256(body)));
  CO_TRY(co_await store.calls().succeed(put));
  co_return Result<void>{};
}

Task<Result<std::size_t>> sweep(Store& store) {
  CO_TRY_ASSIGN(auto uploads, co_await sweep_uploads(store));
  CO_TRY_ASSIGN(auto digests, co_await sweep_digests(store));
  co_return uploads + digests;
}

}  // namespace mayfly::s3
