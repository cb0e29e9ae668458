#include <cstdlib>

#include "adapters/s3/blobs.h"
#include "adapters/s3/calls.h"
#include "adapters/s3/names.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "contract/signed_blobs_contract.h"

namespace mayfly::contract {
namespace {

/// "http://ACCESS:SECRET@127.0.0.1:PORT" as scripts/servers writes it.
S3Options options_from(std::string_view text) {
  auto key = text.find("//") + 2, secret = text.find(':', key) + 1, host = text.find('@', secret) + 1;
  return {.endpoint = std::string(text.substr(0, key)) + std::string(text.substr(host)),
          .bucket = "mayfly-contract",
          .access_key = std::string(text.substr(key, secret - 1 - key)),
          .secret_key = std::string(text.substr(secret, host - 1 - secret))};
}

/// A key prefix of its own in a bucket of all.
class S3Place final : public BlobsPlace {
 public:
  S3Place(TestLoop& loop, const char* where) : loop_(loop), client_(loop.loop()), clock_(loop.loop()), options_(options_from(where)) {
    options_.key_prefix = "test-" + make_id<Id<struct PlaceTag>>(clock_, entropy_).str() + "/";
    reopen();
  }
  ~S3Place() override {
    for (;;) {
      auto left = loop_.run(blobs_->list("", "", 1000));
      EXPECT_TRUE(left) << left.error().message;
      if (!left || left->empty()) break;
      for (auto& info : *left) EXPECT_TRUE(loop_.run(blobs_->remove(info.key)));
    }
  }

  Blobs& blobs() override { return *blobs_; }
  void reopen() override { blobs_ = make_s3_blobs(loop_.loop(), client_, clock_, entropy_, options_).value(); }

  /// Other bytes under the same name and digest: all the server knows of it is right.
  bool damage(std::string_view key) override {
    auto calls = s3::Calls::make(client_, clock_, entropy_, options_).value();
    auto object = options_.key_prefix + "blobs/" + s3::object_name(key);
    auto bytes = loop_.run(calls->succeed({.object = object}));
    EXPECT_TRUE(bytes) << bytes.error().message;
    auto other = bytes->body;
    other.at(100) ^= 1;
    s3::Call put{.method = "PUT", .object = object, .body = other};
    for (auto& [name, value] : bytes->headers.fields)
      if (http::equal_ignoring_case(name, "x-amz-meta-mayfly-sha256")) put.headers.add(name, value);
    auto done = loop_.run(calls->succeed(put));
    EXPECT_TRUE(done) << done.error().message;
    return true;
  }

 private:
  TestLoop& loop_;
  http::Client client_;
  SystemClock clock_;
  SystemEntropy entropy_;
  S3Options options_;
  std::unique_ptr<S3Blobs> blobs_;
};

std::vector<BlobsFactory> servers() {
  std::vector<BlobsFactory> out;
  for (auto [name, variable] : {std::pair("SeaweedFS", "MAYFLY_TEST_S3"), std::pair("Strict", "MAYFLY_TEST_S3_STRICT")})
    if (auto* where = std::getenv(variable)) out.push_back({name, [where](TestLoop& loop) { return std::make_unique<S3Place>(loop, where); }});
  return out;
}

INSTANTIATE_TEST_SUITE_P(S3, BlobsContract, testing::ValuesIn(servers()), [](auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(S3, SignedBlobs, testing::ValuesIn(servers()), [](auto& info) { return info.param.name; });

TEST(S3Servers, AreThere) {
  for (auto* variable : {"MAYFLY_TEST_S3", "MAYFLY_TEST_S3_STRICT"})
    if (!std::getenv(variable)) GTEST_SKIP() << variable << " is not set: scripts/servers up s3 s3strict, then . build/servers/env";
}

}  // namespace
}  // namespace mayfly::contract
