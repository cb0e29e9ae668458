// The wire between the two ends of a shell, over a cache that forgets, doubles and is away.
#include "roles/runners/shell_wire.h"

#include <gtest/gtest.h>

#include "adapters/memory/cache.h"
#include "async/scope.h"
#include "support/run.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

/// Loses and doubles messages as it is told.
class Forgetful final : public Cache {
 public:
  explicit Forgetful(Clock& clock) : real_(make_memory_cache(clock)) {}
  Task<Result<std::optional<Cached>>> get(std::string_view key) override { return real_->get(key); }
  Task<Result<bool>> set_if_newer(std::string_view key, Cached value, Duration ttl) override { return real_->set_if_newer(key, std::move(value), ttl); }
  Task<Result<void>> remove(std::string_view key) override { return real_->remove(key); }
  Task<Result<Admission>> admit(std::string_view key, Rate rate, std::int64_t cost) override { return real_->admit(key, rate, cost); }
  std::unique_ptr<CacheSubscription> subscribe(std::string_view channel) override { return real_->subscribe(channel); }
  Task<Result<void>> publish(std::string_view channel, std::string_view message) override {
    ++published;
    chance_ = chance_ * 6364136223846793005u + 1442695040888963407u;
    auto dice = (chance_ >> 33) % 100;
    if (away) co_return fail(Errc::unavailable, "away");
    if (dice < lost_percent) co_return Result<void>{};
    if (dice > 95 && lost_percent > 0) (void)co_await real_->publish(channel, message);
    co_return co_await real_->publish(channel, message);
  }

  unsigned lost_percent = 0;
  bool away = false;
  int published = 0;

 private:
  std::unique_ptr<Cache> real_;
  std::uint64_t chance_ = 7;
};

struct Wire : testing::Test {
  VirtualClock clock;
  TestLoop loop{clock};
  Forgetful cache{clock};

  ShellWires wires(bool local) {
    if (local) return make_local_wire(clock);
    return {make_cache_wire(cache, clock, "s", WireEnd::viewer), make_cache_wire(cache, clock, "s", WireEnd::runner)};
  }

  Task<void> send_all(ShellWire& wire, int count) {
    for (int i = 0; i < count; ++i) EXPECT_TRUE(co_await wire.send({i % 3 == 0, "frame " + std::to_string(i) + std::string(std::size_t(i % 50), 'x')}));
  }
  Task<void> receive_all(ShellWire& wire, int count, int& came, Duration pause = {}) {
    for (; came < count; ++came) {
      auto frame = co_await wire.receive();
      if (!frame) co_return;
      EXPECT_EQ(*frame, (ShellFrame{came % 3 == 0, "frame " + std::to_string(came) + std::string(std::size_t(came % 50), 'x')}));
      if (pause > Duration{}) co_await sleep_for(clock, pause);
    }
  }

  Task<void> both_ways(ShellWires w, int count, int& one, int& other) {
    Scope moving(loop.loop());
    moving.spawn(w.one->run());
    moving.spawn(w.other->run());
    Scope talking(loop.loop());
    talking.spawn(send_all(*w.one, count));
    talking.spawn(send_all(*w.other, count));
    talking.spawn(receive_all(*w.one, count, one));
    talking.spawn(receive_all(*w.other, count, other));
    co_await talking.join();
    moving.cancel();
    co_await moving.join();
  }
};

TEST_F(Wire, BringsEverythingInOrderBothWays) {
  for (bool local : {true, false}) {
    int one = 0, other = 0;
    loop.run(both_ways(wires(local), 500, one, other));
    EXPECT_EQ(one, 500);
    EXPECT_EQ(other, 500);
  }
}

TEST_F(Wire, LosesNothingOverACacheThatForgetsAThirdAndDoublesSome) {
  cache.lost_percent = 33;
  int one = 0, other = 0;
  loop.run(both_ways(wires(false), 300, one, other));
  EXPECT_EQ(one, 300);
  EXPECT_EQ(other, 300);
}

TEST_F(Wire, OutlivesACacheThatIsAwayForAWhile) {
  auto w = wires(false);
  auto story = [&]() -> Task<void> {
    Scope moving(loop.loop());
    moving.spawn(w.one->run());
    moving.spawn(w.other->run());
    cache.away = true;
    EXPECT_TRUE(co_await w.one->send({true, "hello"}));
    co_await sleep_for(clock, 10s);
    cache.away = false;
    EXPECT_EQ(co_await w.other->receive(), (ShellFrame{true, "hello"}));
    moving.cancel();
    co_await moving.join();
  };
  loop.run(story());
}

TEST_F(Wire, ASenderIsAWindowAheadAndNoMore) {
  for (bool local : {true, false}) {
    auto w = wires(local);
    std::size_t sent = 0;
    auto story = [&]() -> Task<void> {
      Scope moving(loop.loop());
      moving.spawn(w.one->run());
      moving.spawn(w.other->run());
      auto flood = [&]() -> Task<void> {
        while (co_await w.one->send({false, "x"})) ++sent;
      };
      Scope flooding(loop.loop());
      flooding.spawn(flood());
      co_await sleep_for(clock, 5s);
      EXPECT_EQ(sent, max_wire_frames);
      EXPECT_TRUE(co_await w.other->receive());
      co_await sleep_for(clock, 5s);
      EXPECT_EQ(sent, max_wire_frames + 1);
      flooding.cancel();
      co_await flooding.join();
      moving.cancel();
      co_await moving.join();
    };
    loop.run(story());
  }
}

TEST_F(Wire, AnEndThatClosesIsHeardOfAfterAllItSent) {
  for (bool local : {true, false}) {
    auto w = wires(local);
    auto story = [&]() -> Task<void> {
      Scope moving(loop.loop());
      moving.spawn(w.one->run());
      moving.spawn(w.other->run());
      EXPECT_TRUE(co_await w.one->send({true, "last words"}));
      co_await w.one->close();
      EXPECT_EQ(co_await w.other->receive(), (ShellFrame{true, "last words"}));
      EXPECT_EQ(co_await w.other->receive(), std::nullopt);
      EXPECT_FALSE(co_await w.other->send({true, "anybody?"}));
      moving.cancel();
      co_await moving.join();
    };
    loop.run(story());
  }
}

TEST_F(Wire, AnEndThatFallsSilentIsGone) {
  auto runner = make_cache_wire(cache, clock, "s", WireEnd::runner);
  auto began = clock.now();
  auto story = [&]() -> Task<void> {
    Scope moving(loop.loop());
    moving.spawn(runner->run());
    EXPECT_TRUE(co_await runner->send({true, "hello?"}));
    EXPECT_EQ(co_await runner->receive(), std::nullopt);
    co_await moving.join();
  };
  loop.run(story());
  EXPECT_GE(clock.now() - began, wire_silence);
  EXPECT_LT(clock.now() - began, wire_silence + 5s);
  EXPECT_LT(cache.published, 40) << "a silent end is not shouted at";
}

}  // namespace
}  // namespace mayfly
