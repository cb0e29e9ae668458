#include "adapters/kubernetes/api.h"

#include <algorithm>
#include <array>

#include "base/log.h"

namespace mayfly::kubernetes {
namespace {

bool is_passing(int status) { return status == 408 || status == 429 || status >= 500; }
bool is_passing(Errc code) { return code == Errc::unavailable || code == Errc::timeout; }
double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

Api::Api(Loop loop, Clock& clock, Entropy& entropy, Cluster cluster, ApiOptions options)
    : clock_(clock), entropy_(entropy), cluster_(std::move(cluster)), options_(options), client_(std::move(loop), {.tls = cluster_.tls}),
      allowance_(options.burst), filled_at_(clock.now()) {}

Result<std::string> Api::token() {
  if (cluster_.token_file.empty()) return cluster_.token;
  auto now = clock_.now();
  if (!token_.empty() && now - token_read_at_ < token_read_again_after) return token_;
  TRY_ASSIGN(token_, read_credential(cluster_.token_file, max_token_bytes));
  token_read_at_ = now;
  return token_;
}

Task<void> Api::wait_for_turn() {
  auto turn = co_await turns_.lock(clock_);
  for (;;) {
    auto now = clock_.now();
    if (now < not_before_) {
      co_await sleep_for(clock_, not_before_ - now);
      continue;
    }
    allowance_ = std::min(options_.burst, allowance_ + seconds(now - filled_at_) * options_.qps);
    filled_at_ = now;
    if (allowance_ >= 1) break;
    co_await sleep_for(clock_, std::chrono::ceil<Duration>(std::chrono::duration<double>((1 - allowance_) / options_.qps)));
  }
  allowance_ -= 1;
}

Task<Result<http::ClientRequest>> Api::request(const Call& call) {
  co_await wait_for_turn();
  CO_TRY_ASSIGN(auto bearer, token());
  http::ClientRequest out{.method = call.method, .url = cluster_.server + call.path, .body = call.body, .deadline = clock_.now() + options_.try_limit,
                          .max_response_bytes = call.max_answer};
  if (!call.query.pairs.empty()) out.url += "?" + http::build_query(call.query);
  out.headers.add("Accept", call.accept);
  out.headers.add("User-Agent", "mayfly");
  if (!call.body.empty()) out.headers.add("Content-Type", call.content_type);
  if (!bearer.empty()) out.headers.add("Authorization", "Bearer " + bearer);
  co_return out;
}

Duration Api::pause_after(int failures) {
  auto longest = std::min<Duration>(options_.longest_pause, options_.first_pause * (std::int64_t(1) << std::min(failures, 20)));
  std::array<std::uint8_t, 2> chance;
  entropy_.fill(chance);
  return longest / 2 + longest * (chance[0] * 256 + chance[1]) / (2 * 65536);
}

Task<Result<http::ClientResponse>> Api::send(Call call) {
  auto give_up = clock_.now() + options_.give_up_after;
  for (int failures = 0;; ++failures) {
    CO_TRY_ASSIGN(auto prepared, co_await request(call));
    auto answer = co_await client_.send(std::move(prepared));
    if (answer && answer->status == 401 && !cluster_.token_file.empty() && failures == 0) {
      token_.clear();   // replaced a moment ago
      continue;
    }
    if (answer && !is_passing(answer->status)) co_return answer;
    if (!answer && !is_passing(answer.error().code)) co_return fail(answer.error().code, what(call) + ": " + answer.error().message, answer.error().hint);
    auto pause = pause_after(failures);
    auto error = answer ? error_of(read_refusal(*answer), what(call)) : answer.error();
    if (answer)
      if (auto after = read_refusal(*answer).retry_after) {
        not_before_ = std::max(not_before_, clock_.now() + *after);
        pause = std::max(pause, *after);
      }
    if (clock_.now() + pause >= give_up) co_return fail(Errc::unavailable, error.message, error.hint);
    co_await sleep_for(clock_, pause);
  }
}

Task<Result<std::string>> Api::succeed(Call call) {
  auto named = what(call);
  CO_TRY_ASSIGN(auto answer, co_await send(std::move(call)));
  if (!answer.ok()) co_return std::unexpected(error_of(read_refusal(answer), named));
  co_return std::move(answer.body);
}

Task<Result<std::unique_ptr<http::ClientStream>>> Api::open(Call call) {
  CO_TRY_ASSIGN(auto prepared, co_await request(call));
  CO_TRY_ASSIGN(auto stream, co_await client_.open(std::move(prepared)));
  if (stream->status() == 200) co_return std::move(stream);
  http::ClientResponse answer{stream->status(), stream->headers(), std::string(shown_message_bytes * 4, '\0')};
  std::size_t size = 0;
  for (;;) {
    auto n = co_await stream->read(std::span(answer.body).subspan(size));
    if (!n || *n == 0) break;
    size += *n;
  }
  answer.body.resize(size);
  auto refusal = read_refusal(answer);
  if (refusal.retry_after) not_before_ = std::max(not_before_, clock_.now() + *refusal.retry_after);
  auto error = error_of(refusal, what(call));
  if (refusal.code == 410) error.code = Errc::not_found;
  if (stream->status() == 401) token_.clear();
  co_return std::unexpected(std::move(error));
}

}  // namespace mayfly::kubernetes
