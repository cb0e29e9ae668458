#include "adapters/docker/pull.h"

#include <gmock/gmock.h>

namespace mayfly::docker {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const Time begin = from_micros(1'700'000'000'000'000);

TEST(PullErrors, SayWhatIsToBeDone) {
  // As Docker Hub, a private registry and engines of several versions put it.
  struct Case {
    int status;
    const char* said;
    Errc means;
  };
  const Case cases[] = {
      {404, "pull access denied for nosuch, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", Errc::not_found},
      {404, "manifest for local/tool:9 not found: manifest unknown: manifest unknown", Errc::not_found},
      {404, "no matching manifest for linux/arm64/v8 in the manifest list entries", Errc::not_found},
      {500, "Get \"https://r.example/v2/tool/manifests/1\": unauthorized: authentication required", Errc::forbidden},
      {500, "Head \"https://r.example/v2/x/manifests/latest\": no basic auth credentials", Errc::forbidden},
      {403, "", Errc::forbidden},
      {500, "toomanyrequests: You have reached your pull rate limit", Errc::rate_limited},
      {0, "failed to register layer: Error processing tar file(exit status 1): write /big: no space left on device", Errc::too_large},
      {500, "Get \"http://r.example:5000/v2/\": dial tcp 10.0.0.1:5000: connect: connection refused", Errc::unavailable},
      {500, "Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host", Errc::unavailable},
      {500, "received unexpected HTTP status: 502 Bad Gateway", Errc::unavailable},
  };
  for (auto& c : cases) {
    auto error = pull_error("r.example/tool:1", c.status, c.said);
    EXPECT_EQ(error.code, c.means) << c.said;
    EXPECT_THAT(error.message, HasSubstr("r.example/tool:1"));
  }
}

TEST(PullErrors, KeepTheRegistrysWordsShort) { EXPECT_LT(pull_error("x", 500, std::string(100'000, 'y')).message.size(), 1000u); }

TEST(PullProgress, IsASentenceNowAndThen) {
  PullProgress progress("debian:12", begin);
  ASSERT_TRUE(progress.take(R"({"status":"Pulling from library/debian","id":"12"})"));
  for (auto id : {"a1", "b2"}) ASSERT_TRUE(progress.take(R"({"status":"Pulling fs layer","progressDetail":{},"id":")" + std::string(id) + "\"}"));
  EXPECT_EQ(progress.say(begin + 1s), std::nullopt) << "too early";
  ASSERT_TRUE(progress.take(R"({"status":"Downloading","progressDetail":{"current":30000000,"total":80000000},"id":"a1"})"));
  EXPECT_EQ(progress.say(begin + 6s), "pulling debian:12: 30 of 80 MB, 0 of 2 layers in place");
  EXPECT_EQ(progress.say(begin + 20s), std::nullopt) << "no news";
  ASSERT_TRUE(progress.take(R"({"status":"Download complete","progressDetail":{},"id":"a1"})"));
  ASSERT_TRUE(progress.take(R"({"status":"Pull complete","progressDetail":{},"id":"a1"})"));
  EXPECT_EQ(progress.say(begin + 25s), "pulling debian:12: 80 of 80 MB, 1 of 2 layers in place");
}

TEST(PullProgress, TenThousandLinesAreAHandfulOfSentences) {
  PullProgress progress("x", begin);
  ASSERT_TRUE(progress.take(R"({"status":"Pulling fs layer","id":"a1"})"));
  int said = 0;
  for (std::int64_t i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(progress.take(R"({"status":"Downloading","progressDetail":{"current":)" + std::to_string(i * 1'000'000) + R"(,"total":10000000000},"id":"a1"})"));
    said += progress.say(begin + i * 3ms).has_value();
  }
  EXPECT_EQ(said, 30'000 / 5'000 - 1);
}

TEST(PullProgress, EndsWithTheEnginesError) {
  PullProgress progress("x:1", begin);
  auto taken = progress.take(R"({"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"})");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::not_found);
}

TEST(PullProgress, TakesNoNonsense) {
  PullProgress progress("x", begin);
  EXPECT_EQ(progress.take("<html>").error().code, Errc::invalid);
  EXPECT_TRUE(progress.take(R"({"status":5,"id":[],"progressDetail":"none"})"));
  for (std::size_t i = 0; i < max_pull_layers + 5; ++i) ASSERT_TRUE(progress.take(R"({"status":"Pulling fs layer","id":"l)" + std::to_string(i) + "\"}"));
  ASSERT_TRUE(progress.take(R"({"status":"Downloading","progressDetail":{"current":1000000,"total":1000000},"id":"l0"})"));
  EXPECT_THAT(progress.say(begin + 6s).value_or(""), HasSubstr("of " + std::to_string(max_pull_layers) + " layers"));
}

}  // namespace
}  // namespace mayfly::docker
