#include "adapters/memory/bus.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>

#include "async/signal.h"

namespace mayfly {
namespace {

/// Keys fall into this many shares, and shares are dealt to a group's members.
constexpr std::size_t shares = 64;

std::size_t share_of(std::string_view key) { return std::hash<std::string_view>{}(key) % shares; }

/// The kept end of a topic.
class Topic final {
 public:
  explicit Topic(const MemoryBusLimits& limits) : limits_(limits) {}

  void append(Message m) {
    m.position = end();
    bytes_ += size_of(m);
    kept_.push_back(std::move(m));
    while (kept_.size() > limits_.max_kept_messages || bytes_ > limits_.max_kept_bytes) {
      bytes_ -= size_of(kept_.front());
      kept_.pop_front();
      ++begin_;
    }
  }
  std::int64_t begin() const { return begin_; }
  std::int64_t end() const { return begin_ + std::int64_t(kept_.size()); }
  const Message& at(std::int64_t position) const { return kept_[std::size_t(position - begin_)]; }

  static std::size_t size_of(const Message& m) { return m.key.size() + m.payload.size(); }

 private:
  const MemoryBusLimits& limits_;
  std::deque<Message> kept_;
  std::int64_t begin_ = 0;
  std::size_t bytes_ = 0;
};

struct Member {
  Signal news;
  std::int64_t scanned = 0;  // no message of its shares before this is unread
};

class Group final {
 public:
  explicit Group(std::int64_t end) {
    read_.fill(end);
    committed_.fill(end);
  }

  void join(Member& m) {
    members_.push_back(&m);
    deal();
  }
  void leave(Member& m) {
    std::erase(members_, &m);
    std::ranges::replace(owner_, &m, nullptr);
    deal();
  }
  bool forgettable() const { return members_.empty() && !has_committed_; }
  void notify() {
    for (auto* m : members_) m->news.notify();
  }

  std::vector<Message> take(Member& m, const Topic& topic, std::size_t max) {
    std::vector<Message> out;
    auto& at = m.scanned = std::max(m.scanned, topic.begin());
    for (; at < topic.end() && out.size() < max; ++at) {
      auto& message = topic.at(at);
      auto share = share_of(message.key);
      if (owner_[share] != &m || read_[share] > at) continue;
      read_[share] = at + 1;
      out.push_back(message);
    }
    return out;
  }

  void commit(Member& m, std::int64_t position) {
    has_committed_ = true;
    for (std::size_t i = 0; i < shares; ++i)
      if (owner_[i] == &m) committed_[i] = std::max(committed_[i], std::min(read_[i], position + 1));
  }

 private:
  /// Divides the shares anew. One that changes hands starts again where it was committed.
  void deal() {
    if (members_.empty()) return;
    for (std::size_t i = 0; i < shares; ++i) {
      auto* owner = members_[i % members_.size()];
      if (owner_[i] != owner) read_[i] = committed_[i];
      owner_[i] = owner;
    }
    for (auto* m : members_) {
      m->scanned = std::numeric_limits<std::int64_t>::max();
      for (std::size_t i = 0; i < shares; ++i)
        if (owner_[i] == m) m->scanned = std::min(m->scanned, read_[i]);
    }
    notify();
  }

  std::vector<Member*> members_;
  std::array<Member*, shares> owner_{};
  std::array<std::int64_t, shares> read_, committed_;
  bool has_committed_ = false;
};

struct TopicGroups {
  Topic topic;
  std::map<std::string, Group, std::less<>> groups;
};

class MemorySubscription final : public Subscription {
 public:
  MemorySubscription(TimerSource& timers, TopicGroups& of, std::string group)
      : timers_(timers), of_(of), name_(std::move(group)), group_(of.groups.try_emplace(name_, of.topic.end()).first->second) {
    group_.join(member_);
  }
  ~MemorySubscription() override {
    group_.leave(member_);
    if (group_.forgettable()) of_.groups.erase(name_);
  }

  Task<Result<std::vector<Message>>> poll(std::size_t max, Time until) override {
    for (;;) {
      auto messages = group_.take(member_, of_.topic, max);
      if (!messages.empty() || !co_await member_.news.wait(timers_, until)) co_return messages;
    }
  }

  Task<Result<void>> commit(std::int64_t position) override {
    group_.commit(member_, position);
    co_return Result<void>{};
  }

 private:
  TimerSource& timers_;
  TopicGroups& of_;
  std::string name_;
  Group& group_;
  Member member_;
};

class MemoryBus final : public Bus {
 public:
  MemoryBus(TimerSource& timers, MemoryBusLimits limits) : timers_(timers), limits_(limits) {}

  Task<Result<void>> publish(std::string_view name, std::vector<Message> messages) override {
    for (auto& m : messages)
      if (auto size = Topic::size_of(m); size > max_message_bytes)
        co_return fail(Errc::too_large, "a message of " + std::to_string(size) + " bytes for " + std::string(name) + "; " +
                                            std::to_string(max_message_bytes) + " are the limit");
    auto& of = topic(name);
    for (auto& m : messages) of.topic.append(std::move(m));
    for (auto& [_, group] : of.groups) group.notify();
    co_return Result<void>{};
  }

  std::unique_ptr<Subscription> subscribe(std::string_view name, std::string_view group) override {
    return std::make_unique<MemorySubscription>(timers_, topic(name), std::string(group));
  }

  Task<Result<void>> ping() override { co_return Result<void>{}; }

 private:
  TopicGroups& topic(std::string_view name) {
    auto found = topics_.find(name);
    if (found == topics_.end()) found = topics_.try_emplace(std::string(name), TopicGroups{Topic(limits_), {}}).first;
    return found->second;
  }

  TimerSource& timers_;
  const MemoryBusLimits limits_;
  std::map<std::string, TopicGroups, std::less<>> topics_;
};

}  // namespace

std::unique_ptr<Bus> make_memory_bus(TimerSource& timers, MemoryBusLimits limits) {
  return std::make_unique<MemoryBus>(timers, limits);
}

}  // namespace mayfly
