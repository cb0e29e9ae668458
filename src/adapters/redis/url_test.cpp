#include "adapters/redis/url.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

TEST(RedisUrl, EveryPartIsRead) {
  EXPECT_EQ(parse_redis_url("redis://localhost"), (RedisTarget{.host = "localhost"}));
  EXPECT_EQ(parse_redis_url("redis://10.0.0.1:7000/"), (RedisTarget{.host = "10.0.0.1", .port = 7000}));
  EXPECT_EQ(parse_redis_url("redis://ci:p%40ss%3A@cache.example:7000/3"),
            (RedisTarget{.host = "cache.example", .port = 7000, .user = "ci", .password = "p@ss:", .database = 3}));
  EXPECT_EQ(parse_redis_url("redis://:secret@[::1]:7000"), (RedisTarget{.host = "::1", .port = 7000, .password = "secret"}));
  EXPECT_EQ(parse_redis_url("rediss://cache.example"), (RedisTarget{.host = "cache.example", .tls = true}));
}

TEST(RedisUrl, WhatIsWrongIsSaidWithoutTheUrl) {
  for (auto* url : {"", "http://h", "redisx://:hunter2@h", "redis://", "redis://:hunter2@", "redis://hunter2@h", "redis://:hunter2@h:0", "redis://:hunter2@h:70000",
                    "redis://:hunter2@h/x", "redis://:hunter2@[::1", "redis://:hunter2@[::1]x", "redis://:hunter2%@h", "redis://:hunter2@h/70000"}) {
    auto target = parse_redis_url(url);
    ASSERT_FALSE(target) << url;
    EXPECT_EQ(target.error().code, Errc::invalid);
    EXPECT_EQ((target.error().message + target.error().hint).find("hunter2"), std::string::npos) << url;
  }
}

TEST(RedisUrl, ItsNameHoldsNoCredentials) {
  EXPECT_EQ(parse_redis_url("redis://ci:hunter2@h/2")->name(), "h:6379/2");
  EXPECT_EQ(parse_redis_url("redis://[::1]")->name(), "[::1]:6379/0");
}

}  // namespace
}  // namespace mayfly
