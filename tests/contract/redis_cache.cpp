#include <cstdlib>

#include "adapters/redis/cache.h"
#include "contract/cache_contract.h"

namespace mayfly::contract {
namespace {

using namespace std::chrono_literals;

std::string server() {
  auto* url = std::getenv("MAYFLY_TEST_REDIS");
  return url ? url : "";
}

/// Of this run and test alone, so that runs beside each other do not meet. All it stores goes by its own time.
std::string prefix_of_this_test() {
  static const auto run = std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
  auto* test = testing::UnitTest::GetInstance()->current_test_info();
  return "mayfly-test:" + run + ":" + test->name() + ":";
}

std::unique_ptr<Cache> open(Surroundings& around) {
  RedisOptions options{.url = server(), .prefix = prefix_of_this_test()};
  options.times.answer = 10s;  // these tests are about answers, on machines that may be busy
  return *make_redis_cache(around.loop->loop(), *around.clock, options);
}

const CacheFactory redis_cache{"Redis", on_real_time, open, 200ms, open};

INSTANTIATE_TEST_SUITE_P(Redis, CacheContract, testing::ValuesIn(server().empty() ? std::vector<CacheFactory>{} : std::vector{redis_cache}),
                         [](auto& info) { return info.param.name; });

TEST(RedisServer, IsThere) {
  if (server().empty()) GTEST_SKIP() << "no Redis to test against: scripts/servers up redis, and set MAYFLY_TEST_REDIS from its env file";
}

}  // namespace
}  // namespace mayfly::contract
