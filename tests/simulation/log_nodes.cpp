#include "simulation/log_nodes.h"

namespace mayfly::simulation {

using namespace std::chrono_literals;

namespace {

constexpr Duration slice = 100ms;   // of a poll, so that a member can be expelled between two

}  // namespace

/// Of the bus as it is now. Positions go on growing over the generations, as a subscription's must.
class EmptiableSubscription final : public Subscription {
 public:
  EmptiableSubscription(EmptiableBus& bus, std::string topic, std::string group) : bus_(bus), topic_(std::move(topic)), group_(std::move(group)) {}

  Task<Result<std::vector<Message>>> poll(std::size_t max, Time until) override {
    for (;;) {
      join();
      auto got = co_await inner_->poll(max, std::min(until, bus_.clock_.now() + slice));
      if (!got) co_return got;
      for (auto& message : *got) message.position += base_;
      if (!got->empty()) last_ = got->back().position;
      if (!got->empty() || bus_.clock_.now() >= until) co_return got;
    }
  }
  Task<Result<void>> commit(std::int64_t position) override {
    if (generation_ != bus_.generation_ || position < base_) co_return Result<void>{};
    co_return co_await inner_->commit(position - base_);
  }

 private:
  void join() {
    if (generation_ == bus_.generation_) return;
    generation_ = bus_.generation_;
    base_ = last_ + 1;
    inner_.reset();                  // before the bus it is of
    of_ = bus_.inner_;
    inner_ = of_->subscribe(topic_, group_);
  }

  EmptiableBus& bus_;
  std::string topic_, group_;
  std::shared_ptr<Bus> of_;
  std::unique_ptr<Subscription> inner_;
  int generation_ = 0;
  std::int64_t base_ = 0, last_ = -1;
};

Task<Result<void>> EmptiableBus::publish(std::string_view topic, std::vector<Message> messages) {
  if (!calm_ && chance_.happens(faults_.bus_away)) co_return fail(Errc::unavailable, "the bus is away");
  auto now = inner_;
  co_return co_await now->publish(topic, std::move(messages));
}

std::unique_ptr<Subscription> EmptiableBus::subscribe(std::string_view topic, std::string_view group) {
  return std::make_unique<EmptiableSubscription>(*this, std::string(topic), std::string(group));
}

Task<Result<std::optional<Cached>>> LossyCache::get(std::string_view key) {
  if (lost()) co_return std::optional<Cached>{};
  co_return co_await inner_->get(key);
}

Task<Result<bool>> LossyCache::set_if_newer(std::string_view key, Cached value, Duration ttl) {
  if (lost()) co_return fail(Errc::unavailable, "the cache is away");
  co_return co_await inner_->set_if_newer(key, std::move(value), ttl);
}

Task<Result<void>> LossyCache::remove(std::string_view key) {
  if (lost()) co_return fail(Errc::unavailable, "the cache is away");
  co_return co_await inner_->remove(key);
}

Task<Result<void>> LossyCache::publish(std::string_view channel, std::string_view message) {
  if (lost()) co_return Result<void>{};
  co_return co_await inner_->publish(channel, message);
}

Task<Result<Rows>> ProcessDatabase::query(Statement statement) {
  co_await process_.runs();
  auto rows = co_await inner_.query(std::move(statement));
  co_await process_.runs();
  co_return rows;
}

Task<Result<std::vector<Rows>>> ProcessDatabase::transact(std::vector<Statement> unit) {
  co_await process_.runs();
  auto rows = co_await inner_.transact(std::move(unit));
  co_await process_.runs();
  co_return rows;
}

namespace {

class ProcessSubscription final : public Subscription {
 public:
  ProcessSubscription(Bus& bus, Process& process, std::string topic, std::string group)
      : bus_(bus), process_(process), topic_(std::move(topic)), group_(std::move(group)), inner_(bus.subscribe(topic_, group_)) {
    process_.leave = [this] {
      if (!polling_) inner_.reset();
    };
  }
  ~ProcessSubscription() override { process_.leave = {}; }

  Task<Result<std::vector<Message>>> poll(std::size_t max, Time until) override {
    for (;;) {
      co_await process_.runs();
      if (process_.expelled) join_again();
      polling_ = true;
      auto got = co_await inner_->poll(max, std::min(until, process_.clock.now() + slice));
      polling_ = false;
      if (process_.expelled) inner_.reset();
      if (!got || !got->empty() || process_.clock.now() >= until) {
        if (got)
          for (auto& message : *got) message.position += base_;
        if (got && !got->empty()) last_ = got->back().position;
        co_await process_.runs();
        co_return got;
      }
    }
  }
  /// A member that was expelled does not move the group.
  Task<Result<void>> commit(std::int64_t position) override {
    co_await process_.runs();
    if (process_.expelled || !inner_ || position < base_) co_return fail(Errc::unavailable, "not a member");
    co_return co_await inner_->commit(position - base_);
  }

 private:
  void join_again() {
    process_.expelled = false;
    inner_.reset();
    inner_ = bus_.subscribe(topic_, group_);
    base_ = last_ + 1;
  }

  Bus& bus_;
  Process& process_;
  std::string topic_, group_;
  std::unique_ptr<Subscription> inner_;
  bool polling_ = false;
  std::int64_t base_ = 0, last_ = -1;
};

}  // namespace

Task<Result<void>> ProcessBus::publish(std::string_view topic, std::vector<Message> messages) {
  co_await process_.runs();
  co_return co_await inner_.publish(topic, std::move(messages));
}

std::unique_ptr<Subscription> ProcessBus::subscribe(std::string_view topic, std::string_view group) {
  return std::make_unique<ProcessSubscription>(inner_, process_, std::string(topic), std::string(group));
}

}  // namespace mayfly::simulation
