#pragma once
// The adapters of production for one node of the log path, on the servers that scripts/servers started. Which schema, topics and
// keys are a test's own, it hands to its nodes by the environment.

#include <cstdlib>
#include <memory>
#include <string>

#include "adapters/kafka/bus.h"
#include "adapters/postgres/postgres.h"
#include "adapters/redis/cache.h"
#include "adapters/s3/blobs.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "roles/schema.h"

namespace mayfly::log_test {

inline std::string environment(const char* name) {
  auto* value = std::getenv(name);
  return value ? value : "";
}

/// "http://ACCESS:SECRET@127.0.0.1:PORT"
inline S3Options s3_options(std::string_view text) {
  auto key = text.find("//") + 2, secret = text.find(':', key) + 1, host = text.find('@', secret) + 1;
  return {.endpoint = std::string(text.substr(0, key)) + std::string(text.substr(host)),
          .bucket = "mayfly-logs-test",
          .access_key = std::string(text.substr(key, secret - 1 - key)),
          .secret_key = std::string(text.substr(secret, host - 1 - secret)),
          .key_prefix = environment("MAYFLY_LOG_TEST_NAME") + "/"};
}

struct Servers {
  Loop loop;
  SystemClock clock{loop};
  SystemEntropy entropy;
  http::Client client{loop};
  std::unique_ptr<Database> db = open_postgres(loop, clock, {.url = environment("MAYFLY_LOG_TEST_POSTGRES"), .readers = 2, .writers = 2}, schema()).value();
  std::unique_ptr<Bus> bus = make_kafka_bus(loop, clock, {.brokers = environment("MAYFLY_TEST_KAFKA"), .topic_prefix = environment("MAYFLY_LOG_TEST_NAME") + ".", .partitions = 4}).value();
  std::unique_ptr<Cache> cache = make_redis_cache(loop, clock, {.url = environment("MAYFLY_TEST_REDIS"), .prefix = environment("MAYFLY_LOG_TEST_NAME") + ":"}).value();
  std::unique_ptr<S3Blobs> blobs = make_s3_blobs(loop, client, clock, entropy, s3_options(environment("MAYFLY_TEST_S3"))).value();

  explicit Servers(Loop l) : loop(std::move(l)) {}
};

}  // namespace mayfly::log_test
