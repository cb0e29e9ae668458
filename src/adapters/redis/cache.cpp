#include "adapters/redis/cache.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "adapters/redis/commands.h"
#include "adapters/redis/scripts.h"
#include "adapters/redis/subscriptions.h"

namespace mayfly {
namespace {

using Kind = RespValue::Kind;

constexpr std::size_t sequence_digits = 20;
constexpr std::uint64_t sequence_zero = std::uint64_t(1) << 63;  // so that negative sequences sort before others

std::string sequence_text(std::int64_t sequence) {
  auto digits = std::to_string(std::uint64_t(sequence) + sequence_zero);
  return std::string(sequence_digits - digits.size(), '0') + digits;
}

Result<Cached> cached_from(std::string stored) {
  std::uint64_t sequence = 0;
  auto end = stored.data() + std::min(stored.size(), sequence_digits);
  auto [at, ec] = std::from_chars(stored.data(), end, sequence);
  if (stored.size() < sequence_digits || ec != std::errc{} || at != end) return fail(Errc::corrupt, "what Redis holds under a key was not stored by Mayfly");
  return Cached{std::int64_t(sequence - sequence_zero), stored.substr(sequence_digits)};
}

/// Answers after which this connection stays of no use: of a replica that was the primary, or a password that was changed.
bool means_renew(std::string_view error) { return error.starts_with("READONLY") || error.starts_with("NOAUTH"); }

class RedisSubscription final : public CacheSubscription {
 public:
  RedisSubscription(Clock& clock, RedisSubscriptions& all, std::string channel) : clock_(clock), all_(all), channel_(std::move(channel)) {
    all_.add(channel_, subscriber_);
  }
  ~RedisSubscription() override { all_.remove(channel_, subscriber_); }

  Task<std::optional<std::string>> next(Time until) override {
    auto& queue = subscriber_.queue;
    while (queue.empty())
      if (!co_await subscriber_.news.wait(clock_, until) && queue.empty()) co_return std::nullopt;
    auto message = std::move(queue.front());
    queue.pop_front();
    co_return message;
  }

 private:
  Clock& clock_;
  RedisSubscriptions& all_;
  std::string channel_;
  RedisSubscriber subscriber_;
};

class RedisCache final : public Cache {
 public:
  RedisCache(Loop loop, Clock& clock, RedisTarget target, RedisOptions options)
      : clock_(clock),
        options_(std::move(options)),
        commands_(loop, clock, target, options_.times),
        subscriptions_(loop, target, options_.times, options_.max_queued_messages) {}

  Task<Result<std::optional<Cached>>> get(std::string_view key) override {
    CO_TRY_ASSIGN(auto answer, co_await ask(resp_command({"GET", value_key(key)})));
    if (answer.kind == Kind::null) co_return std::nullopt;
    if (answer.kind != Kind::bulk) co_return odd();
    CO_TRY_ASSIGN(auto cached, cached_from(std::move(answer.text)));
    co_return std::optional(std::move(cached));
  }

  Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) override {
    using std::chrono::floor, std::chrono::milliseconds;
    if (ttl < milliseconds{1}) co_return fail(Errc::invalid, "cache key " + std::string(key) + " was to be kept for less than 1 ms");
    CO_TRY(check_size(value.value));
    CO_TRY_ASSIGN(auto answer, co_await ask(set_if_newer_script(), {value_key(key), sequence_text(value.sequence), std::move(value.value),
                                                                    std::to_string(floor<milliseconds>(ttl).count())}));
    if (answer.kind != Kind::integer) co_return odd();
    co_return answer.integer == 1;
  }

  Task<Result<void>> remove(std::string_view key) override {
    CO_TRY(co_await ask(resp_command({"DEL", value_key(key)})));
    co_return Result<void>{};
  }

  Task<Result<void>> publish(std::string_view channel, std::string_view message) override {
    CO_TRY(check_size(message));
    CO_TRY(co_await ask(resp_command({"PUBLISH", channel_name(channel), message})));
    co_return Result<void>{};
  }

  Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost) override {
    CO_TRY(check_rate(rate, cost));
    CO_TRY_ASSIGN(auto answer, co_await ask(admit_script(), {options_.prefix + "rate:" + std::string(key), std::to_string(rate.burst),
                                                             std::to_string(rate.each.count()), std::to_string(cost)}));
    if (answer.items.size() != 3) co_return odd();
    for (auto& item : answer.items)
      if (item.kind != Kind::integer) co_return odd();
    co_return Admission{answer.items[0].integer == 1, Duration{answer.items[1].integer}, answer.items[2].integer};
  }

  std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) override {
    return std::make_unique<RedisSubscription>(clock_, subscriptions_, channel_name(channel));
  }

 private:
  std::string value_key(std::string_view key) const { return options_.prefix + "value:" + std::string(key); }
  std::string channel_name(std::string_view channel) const { return options_.prefix + "channel:" + std::string(channel); }

  /// Redis' own errors are its state, which may pass: it loads, is full, is a replica, runs somebody's script.
  std::unexpected<Error> refused(const RespValue& answer) {
    if (means_renew(answer.text)) commands_.renew("it refuses: " + answer.text);
    return fail(Errc::unavailable, "Redis refuses: " + answer.text);
  }

  std::unexpected<Error> odd() {
    commands_.renew("it gave an answer of the wrong kind");
    return fail(Errc::corrupt, "Redis gave an answer of the wrong kind");
  }

  Result<void> check_size(std::string_view value) const {
    if (value.size() > options_.max_value_bytes)
      return fail(Errc::too_large, "a value of " + std::to_string(value.size()) + " bytes is too large for the cache: at most " + std::to_string(options_.max_value_bytes));
    return {};
  }

  Task<Result<RespValue>> ask(std::string command) {
    CO_TRY_ASSIGN(auto answer, co_await commands_.run(std::move(command)));
    if (answer.kind != Kind::error) co_return answer;
    co_return refused(answer);
  }

  /// By its digest, which Redis knows until it restarts or its scripts are flushed; then by its text. `arguments` begin with the key.
  Task<Result<RespValue>> ask(const RedisScript& script, std::vector<std::string> arguments) {
    std::vector<std::string> words{"EVALSHA", script.digest, "1"};
    words.insert(words.end(), std::make_move_iterator(arguments.begin()), std::make_move_iterator(arguments.end()));
    CO_TRY_ASSIGN(auto answer, co_await commands_.run(resp_command(words)));
    if (answer.kind != Kind::error) co_return answer;
    if (!answer.text.starts_with("NOSCRIPT")) co_return refused(answer);
    words[0] = "EVAL";
    words[1] = script.text;
    co_return co_await ask(resp_command(words));
  }

  Clock& clock_;
  const RedisOptions options_;
  RedisCommands commands_;
  RedisSubscriptions subscriptions_;
};

}  // namespace

Result<std::unique_ptr<Cache>> make_redis_cache(Loop loop, Clock& clock, RedisOptions options) {
  TRY_ASSIGN(auto target, parse_redis_url(options.url));
  target.authorities = options.authorities;
  return std::make_unique<RedisCache>(std::move(loop), clock, std::move(target), std::move(options));
}

}  // namespace mayfly
