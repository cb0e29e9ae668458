#pragma once
// What every Cache must do. To plug one in: link cache_contract.cpp, and instantiate CacheContract with a factory.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "contract/surroundings.h"
#include "ports/cache.h"

namespace mayfly::contract {

struct CacheFactory {
  std::string name;
  std::function<Surroundings()> surroundings;
  std::function<std::unique_ptr<Cache>(Surroundings&)> make;  // empty
  Duration patience;                                          // how long a message may take to arrive
  std::function<std::unique_ptr<Cache>(Surroundings&)> second = {};  // another process' view of the one made last; none: only this one sees it

  friend void PrintTo(const CacheFactory& f, std::ostream* out) { *out << f.name; }
};

class CacheContract : public testing::TestWithParam<CacheFactory> {
 protected:
  void SetUp() override;

  template <class T>
  T run(Task<T> task) {
    return around.loop->run(std::move(task));
  }
  void wait(Duration d) { around.loop->run(sleep_for(*around.clock, d)); }
  /// "value@sequence", "nothing" or "error".
  std::string get(std::string_view key);
  bool set(std::string_view key, std::int64_t sequence, std::string value, Duration ttl = std::chrono::hours{1});
  /// "admitted, N left" or "refused, N left, retry in T".
  std::string admit(Cache& with, std::string_view key, Rate rate, std::int64_t cost = 1);
  /// The next message; "nothing" when none comes.
  std::string next(CacheSubscription& from);

  Surroundings around;
  std::unique_ptr<Cache> cache;
  std::unique_ptr<Cache> second_cache;
  /// Whoever else shares the cache, as far as the adapter lets others.
  Cache& other();
};

}  // namespace mayfly::contract
