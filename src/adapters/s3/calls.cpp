#include "adapters/s3/calls.h"

#include <algorithm>
#include <array>

#include "base/log.h"

namespace mayfly::s3 {
namespace {

constexpr std::size_t shown_message = 200;
constexpr std::string_view home_region = "us-east-1";   // whose buckets are made without naming it

bool is_passing(int status) { return status >= 500 && status != 501; }
bool is_passing(Errc code) { return code == Errc::unavailable || code == Errc::timeout; }

Errc code_of(int status, std::string_view refusal) {
  if (status == 404) return Errc::not_found;
  if (status == 412) return Errc::conflict;
  if (refusal == "EntityTooLarge") return Errc::too_large;
  if (refusal == "BadDigest" || refusal == "XAmzContentSHA256Mismatch" || refusal == "RequestTimeout") return Errc::unavailable;
  if (status == 400 || status == 405 || status == 416) return Errc::internal;
  return status == 501 ? Errc::unsupported : Errc::unavailable;
}

std::string hint_of(int status, std::string_view refusal) {
  if (refusal == "RequestTimeTooSkewed") return "set this machine's clock";
  if (status == 401 || status == 403) return "check the access key, the secret key and what the bucket's policy allows them";
  if (status >= 300 && status < 400) return "check the endpoint and the region of the bucket";
  if (refusal == "NoSuchBucket") return "make the bucket, or let Mayfly make it";
  return {};
}

}  // namespace

Result<Calls::Place> Calls::place_of(const S3Options& options, const std::string& endpoint) {
  TRY_ASSIGN(auto url, http::parse_url(endpoint));
  if (url.scheme == "unix" || url.target != "/") return fail(Errc::invalid, "S3 endpoint " + endpoint + ": not a URL like https://host:port");
  auto host = http::host_field(url);
  if (options.virtual_host) return Place{url.scheme, options.bucket + "." + host, ""};
  return Place{url.scheme, host, "/" + options.bucket};
}

Result<std::unique_ptr<Calls>> Calls::make(http::Client& client, Clock& clock, Entropy& entropy, S3Options options) {
  if (options.bucket.empty() || options.access_key.empty() || options.secret_key.empty())
    return fail(Errc::invalid, "S3: bucket, access key and secret key have to be given");
  if (options.part_bytes < (5 << 20) || std::int64_t(options.part_bytes) > max_s3_put || options.parts_at_once < 1)
    return fail(Errc::invalid, "S3: a part has 5 MiB to 5 GiB, and at least one is sent at once");
  if (options.max_blob_bytes / std::int64_t(options.part_bytes) >= std::int64_t(max_s3_parts))
    return fail(Errc::invalid, "S3: " + std::to_string(options.max_blob_bytes) + " bytes are more than " + std::to_string(max_s3_parts) + " parts",
                "make parts larger");
  std::unique_ptr<Calls> calls(new Calls(client, clock, entropy, std::move(options)));
  auto& o = calls->options_;
  TRY_ASSIGN(calls->place_, place_of(o, o.endpoint));
  TRY_ASSIGN(calls->public_place_, place_of(o, o.public_endpoint.empty() ? o.endpoint : o.public_endpoint));
  return calls;
}

SignedRequest Calls::request(const Place& place, const Call& call) const {
  auto path = place.path + (call.object.empty() ? "" : "/" + call.object);
  return {.method = call.method, .host = place.host, .path = path.empty() ? "/" : path, .query = call.query, .headers = call.headers};
}

Task<Result<http::ClientResponse>> Calls::once(const Call& call, std::string_view payload) {
  auto now = clock_.now();
  auto signed_request = request(place_, call);
  sign(signed_request, payload, who(), {.region = options_.region}, now);
  http::ClientRequest r;
  r.method = call.method;
  r.url = place_.scheme + "://" + place_.host + target_of(signed_request);
  r.headers = std::move(signed_request.headers);
  r.max_response_bytes = call.max_answer;
  r.deadline = now + options_.try_limit + std::chrono::microseconds(call.body.size() + call.expected_answer);
  if (!call.body.empty())
    r.body = http::BodySource{.write = [&call](http::BodyWriter& to) -> Task<Result<void>> { co_return co_await to.write(call.body); },
                              .length = call.body.size()};
  co_return co_await client_.send(std::move(r));
}

Task<Result<http::ClientResponse>> Calls::send(Call call) {
  auto payload = to_hex(call.body_digest ? *call.body_digest : sha256(call.body));
  auto give_up = clock_.now() + options_.give_up_after;
  bool made_bucket = false;
  for (int failures = 0;; ++failures) {
    auto answer = co_await once(call, payload);
    if (answer && !is_passing(answer->status)) {
      bool no_bucket = answer->status == 404 && !call.object.empty() && read_refusal(answer->body).code == "NoSuchBucket";
      if (!no_bucket || !options_.create_bucket || made_bucket) co_return answer;
      made_bucket = true;
      CO_TRY(co_await make_bucket());
      continue;
    }
    if (!answer && answer.error().code == Errc::too_large) co_return answer;
    auto error = answer ? refused(call, *answer) : answer.error();
    if (!answer && !is_passing(error.code)) co_return fail(Errc::unavailable, "S3: " + error.message, "check the endpoint");
    CO_TRY(co_await pause(failures, give_up, error));
  }
}

Task<Result<http::ClientResponse>> Calls::succeed(Call call) {
  CO_TRY_ASSIGN(auto answer, co_await send(call));
  if (!answer.ok()) co_return std::unexpected(refused(call, answer));
  co_return answer;
}

Task<Result<void>> Calls::make_bucket() {
  std::string body;
  if (options_.region != home_region)
    body = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>" + xml_escape(options_.region) +
           "</LocationConstraint></CreateBucketConfiguration>";
  Call call{.method = "PUT", .body = body};
  CO_TRY_ASSIGN(auto answer, co_await send(call));
  if (!answer.ok() && answer.status != 409) co_return std::unexpected(refused(call, answer));
  log_info("S3: the bucket was made", {{"bucket", options_.bucket}});
  co_return Result<void>{};
}

Task<Result<void>> Calls::pause(int failures, Time give_up, const Error& last) {
  auto longest = std::min<Duration>(options_.longest_pause, options_.first_pause * (std::int64_t(1) << std::min(failures, 20)));
  std::array<std::uint8_t, 2> chance;
  entropy_.fill(chance);
  auto length = longest / 2 + longest * (chance[0] * 256 + chance[1]) / (2 * 65536);
  if (clock_.now() + length >= give_up)
    co_return fail(Errc::unavailable, "S3 did not do it for " + format_duration(options_.give_up_after) + ": " + last.message, last.hint);
  co_await sleep_for(clock_, length);
  co_return Result<void>{};
}

Error Calls::refused(const Call& call, const http::ClientResponse& answer) const {
  auto refusal = read_refusal(answer.body);
  auto message = "S3: " + call.method + " " + options_.bucket + "/" + call.object + ": " + std::to_string(answer.status) + " " + refusal.code;
  if (!refusal.message.empty()) message += ": " + refusal.message.substr(0, shown_message);
  return {code_of(answer.status, refusal.code), std::move(message), hint_of(answer.status, refusal.code)};
}

std::string Calls::signed_url(std::string method, std::string object, http::Query query, http::Headers headers, Time expires) const {
  auto now = clock_.now();
  auto until = std::min(expires, now + options_.max_signed);
  auto from = std::min(now, until - std::chrono::seconds(1));   // what has expired already is signed so
  auto r = request(public_place_, {.method = std::move(method), .object = std::move(object), .query = std::move(query), .headers = std::move(headers)});
  return public_place_.scheme + "://" + public_place_.host + presign(std::move(r), who(), {.region = options_.region}, from, until - from);
}

}  // namespace mayfly::s3
