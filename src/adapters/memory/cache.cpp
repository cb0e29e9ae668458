#include "adapters/memory/cache.h"

#include <deque>
#include <list>
#include <map>
#include <unordered_map>
#include <vector>

#include "async/signal.h"

namespace mayfly {
namespace {

struct Entry {
  std::string key;
  Cached cached;
  Time expires;
  std::size_t size() const { return key.size() + cached.value.size(); }
};

/// Keys by when they were last used.
class Entries final {
 public:
  explicit Entries(const MemoryCacheLimits& limits) : limits_(limits) {}

  /// Null when it is not there or its time is over.
  Entry* find(std::string_view key, Time now) {
    auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    if (found->second->expires <= now) {
      erase(found->second);
      return nullptr;
    }
    order_.splice(order_.begin(), order_, found->second);
    return &order_.front();
  }

  void set(Entry entry) {
    erase(entry.key);
    bytes_ += entry.size();
    order_.push_front(std::move(entry));
    by_key_.emplace(order_.front().key, order_.begin());
    while (order_.size() > limits_.max_keys || bytes_ > limits_.max_bytes) erase(std::prev(order_.end()));
  }

  void erase(std::string_view key) {
    if (auto found = by_key_.find(key); found != by_key_.end()) erase(found->second);
  }

 private:
  using Order = std::list<Entry>;  // the last used first

  void erase(Order::iterator it) {
    by_key_.erase(it->key);
    bytes_ -= it->size();
    order_.erase(it);
  }

  const MemoryCacheLimits& limits_;
  Order order_;
  std::unordered_map<std::string_view, Order::iterator> by_key_;
  std::size_t bytes_ = 0;
};

struct Subscriber {
  std::deque<std::string> queue;
  Signal news;
};

using Channels = std::multimap<std::string, Subscriber*, std::less<>>;

class MemoryCacheSubscription final : public CacheSubscription {
 public:
  MemoryCacheSubscription(TimerSource& timers, Channels& channels, std::string_view channel)
      : timers_(timers), channels_(channels), place_(channels.emplace(channel, &subscriber_)) {}
  ~MemoryCacheSubscription() override { channels_.erase(place_); }

  Task<std::optional<std::string>> next(Time until) override {
    auto& queue = subscriber_.queue;
    while (queue.empty())
      if (!co_await subscriber_.news.wait(timers_, until)) co_return std::nullopt;
    auto message = std::move(queue.front());
    queue.pop_front();
    co_return message;
  }

 private:
  TimerSource& timers_;
  Channels& channels_;
  Subscriber subscriber_;
  Channels::iterator place_;
};

class MemoryCache final : public Cache {
 public:
  MemoryCache(Clock& clock, MemoryCacheLimits limits) : clock_(clock), limits_(limits), entries_(limits_), rates_(limits_) {}

  Task<Result<std::optional<Cached>>> get(std::string_view key) override {
    auto* entry = entries_.find(key, clock_.now());
    co_return entry ? std::optional(entry->cached) : std::nullopt;
  }

  Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) override {
    if (ttl < std::chrono::milliseconds{1})
      co_return fail(Errc::invalid, "cache key " + std::string(key) + " was to be kept for less than 1 ms");
    auto now = clock_.now();
    auto* entry = entries_.find(key, now);
    if (entry && entry->cached.sequence >= value.sequence) co_return false;
    entries_.set({std::string(key), std::move(value), now + ttl});
    co_return true;
  }

  Task<Result<void>> remove(std::string_view key) override {
    entries_.erase(key);
    co_return Result<void>{};
  }

  Task<Result<void>> publish(std::string_view channel, std::string_view message) override {
    auto [first, last] = channels_.equal_range(channel);
    for (auto it = first; it != last; ++it) {
      auto& [queue, news] = *it->second;
      queue.emplace_back(message);
      if (queue.size() > limits_.max_queued_messages) queue.pop_front();
      news.notify();
    }
    co_return Result<void>{};
  }

  Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost) override {
    CO_TRY(check_rate(rate, cost));
    auto now = clock_.now();
    auto* entry = rates_.find(key, now);
    auto step = gcra(rate, cost, entry ? entry->expires : now, now);
    if (step.admission.admitted) rates_.set({std::string(key), {}, step.next});
    co_return step.admission;
  }

  std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) override {
    return std::make_unique<MemoryCacheSubscription>(clock_, channels_, channel);
  }

 private:
  Clock& clock_;
  const MemoryCacheLimits limits_;
  Entries entries_;
  Entries rates_;  // a key's instant is when it expires
  Channels channels_;
};

}  // namespace

std::unique_ptr<Cache> make_memory_cache(Clock& clock, MemoryCacheLimits limits) {
  return std::make_unique<MemoryCache>(clock, limits);
}

}  // namespace mayfly
