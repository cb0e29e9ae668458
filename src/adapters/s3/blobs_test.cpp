#include "adapters/s3/blobs.h"

#include <gmock/gmock.h>

#include <atomic>

#include "adapters/s3/testing/fake_s3.h"
#include "adapters/system/system_clock.h"
#include "adapters/system/system_entropy.h"
#include "async/scope.h"
#include "support/run.h"

namespace mayfly::s3 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using namespace std::chrono_literals;

constexpr std::size_t part = 5 << 20;

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t state = 7;
  for (auto& c : out) c = char((state = state * 1664525 + 1013904223) >> 24);
  return out;
}

struct S3 : testing::Test {
  FakeS3 server;
  TestLoop loop;
  http::Client client{loop.loop()};
  SystemClock clock{loop.loop()};
  SystemEntropy entropy;
  S3Options options = server.options();
  std::unique_ptr<S3Blobs> blobs = open();

  std::unique_ptr<S3Blobs> open() { return make_s3_blobs(loop.loop(), client, clock, entropy, options).value(); }
  void impatient() {
    options.give_up_after = 300ms;
    blobs = open();
  }
  Result<BlobInfo> put(std::string_view key, std::string_view bytes) { return loop.run(blobs->put(key, bytes)); }
  std::string get(std::string_view key) {
    auto got = loop.run(blobs->get(key));
    return got ? *got : "<" + std::string(to_string(got.error().code)) + ">";
  }
  Result<BlobInfo> stream(std::string_view key, std::string_view bytes) {
    auto story = [&]() -> Task<Result<BlobInfo>> {
      CO_TRY_ASSIGN(auto writer, co_await blobs->create(key));
      CO_TRY(co_await writer->write(bytes));
      co_return co_await writer->finish();
    };
    return loop.run(story());
  }
  /// Runs the housekeeping until `done`.
  void keep_house(const std::function<bool()>& done) {
    auto story = [&]() -> Task<void> {
      Scope scope(loop.loop());
      scope.spawn(blobs->run());
      for (int i = 0; i < 500 && !done(); ++i) co_await sleep_for(clock, 10ms);
      EXPECT_TRUE(done());
      scope.cancel();
      co_await scope.join();
    };
    loop.run(story());
  }
  std::size_t uploads() {
    return server.with([](FakeS3& s) { return s.uploads.size(); });
  }
  std::vector<std::string> names() {
    return server.with([](FakeS3& s) {
      std::vector<std::string> out;
      for (auto& [name, object] : s.objects) out.push_back(name);
      return out;
    });
  }
};

// --- failures that pass

TEST_F(S3, ABusyServerIsAskedAgain) {
  server.next("PUT", {FakeS3::refusal(503, "SlowDown"), FakeS3::refusal(500, "InternalError")});
  EXPECT_TRUE(put("k", "hello"));
  EXPECT_EQ(server.count("PUT"), 3u);
  EXPECT_EQ(get("k"), "hello");
}

TEST_F(S3, AServerThatStaysBusyIsGivenUpAfterAWhile) {
  impatient();
  server.on_request([](auto&) { return FakeS3::refusal(503, "SlowDown"); });
  auto began = clock.now();
  auto refused = put("k", "hello");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("503 SlowDown"));
  EXPECT_LE(clock.now() - began, options.give_up_after + options.try_limit);
  EXPECT_GT(server.count("PUT"), 3u) << "the pauses begin short";
}

TEST_F(S3, ARefusalIsTheLastWordAndTellsNoSecret) {
  server.on_request([](auto&) { return FakeS3::refusal(403, "SignatureDoesNotMatch"); });
  auto refused = put("k", "hello");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_THAT(refused.error().hint, HasSubstr("secret key"));
  EXPECT_THAT(refused.error().message + refused.error().hint, Not(HasSubstr(options.secret_key)));
  EXPECT_EQ(server.count("PUT"), 1u);
}

TEST_F(S3, AConnectionCutInTheMiddleOfABodyIsMadeAgain) {
  auto bytes = pattern(100'000);
  ASSERT_TRUE(put("k", bytes));
  server.next("GET", {FakeS3::cut(bytes.substr(0, 50'000))});
  EXPECT_TRUE(get("k") == bytes);
  EXPECT_EQ(server.count("GET"), 2u);
}

TEST_F(S3, AnAnswerThatComesTooSlowlyIsAskedForAgain) {
  ASSERT_TRUE(put("k", "hello"));
  server.next("GET", {server.stalled()});
  options.try_limit = 500ms;
  blobs = open();
  EXPECT_EQ(loop.run(blobs->get_range("k", 0, 5)).value(), "hello");
  EXPECT_EQ(server.count("GET"), 2u);
}

TEST_F(S3, AServerThatIsNotThereIsUnavailable) {
  options.endpoint = "http://127.0.0.1:1";
  impatient();
  auto refused = put("k", "hello");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
}

TEST_F(S3, BytesDamagedOnTheirWayMayBeSentAgain) {
  server.next("PUT", {FakeS3::refusal(400, "BadDigest")});
  auto refused = put("k", "hello");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_TRUE(put("k", "hello"));
}

// --- what is stored is what was put

TEST_F(S3, BytesThatChangedAreFoundOut) {
  ASSERT_TRUE(put("k", "hello"));
  server.with([](FakeS3& s) { s.objects.at("blobs/k!").bytes = "hellO"; return 0; });
  EXPECT_EQ(get("k"), "<corrupt>");
  server.with([](FakeS3& s) { s.objects.at("blobs/k!").bytes = "hell"; return 0; });
  EXPECT_EQ(get("k"), "<corrupt>") << "cut short";
}

TEST_F(S3, AnObjectOfSomebodyElseIsNoBlob) {
  server.with([](FakeS3& s) { s.objects["blobs/k!"].bytes = "hello"; s.objects["blobs/not one of ours"] = {}; return 0; });
  EXPECT_EQ(get("k"), "<corrupt>") << "it has no digest";
  EXPECT_EQ(loop.run(blobs->head("k")).error().code, Errc::corrupt);
  auto listed = loop.run(blobs->list("", "", 10)).value();
  ASSERT_THAT(listed, SizeIs(1)) << "so that it can be found and removed";
  EXPECT_EQ(listed[0].sha256, Sha256{});
}

TEST_F(S3, AServerWithoutRangesIsUnderstood) {
  ASSERT_TRUE(put("k", "0123456789"));
  server.on_request([](const http::Request& r) -> FakeS3::Answer {
    if (r.method != "GET") return std::nullopt;
    http::Response out{.body = "0123456789"};
    out.headers.add("x-amz-meta-mayfly-sha256", to_hex(sha256("0123456789")));
    return out;
  });
  EXPECT_EQ(loop.run(blobs->get_range("k", 3, 4)).value(), "3456");
  EXPECT_EQ(loop.run(blobs->get_range("k", 30, 4)).value(), "");
}

// --- one key, many writers

TEST_F(S3, AConflictOfWritersEndsWithOneOfThem) {
  server.next("PUT", {FakeS3::refusal(409, "ConditionalRequestConflict")});
  EXPECT_TRUE(put("k", "hello"));
  EXPECT_EQ(get("k"), "hello");
}

TEST_F(S3, ABlobThatVanishesDuringTheRefusalIsWrittenAgain) {
  server.next("PUT", {FakeS3::refusal(412, "PreconditionFailed")});
  EXPECT_TRUE(put("k", "hello"));
  server.on_request([](const http::Request& r) -> FakeS3::Answer {
    return r.method == "PUT" ? std::optional(FakeS3::refusal(412, "PreconditionFailed")) : std::nullopt;
  });
  EXPECT_EQ(put("other", "hello").error().code, Errc::unavailable) << "not for ever";
}

TEST_F(S3, APutWhoseAnswerIsLostIsASuccess) {
  std::atomic<int> puts = 0;
  server.on_request([&](const http::Request& r) -> FakeS3::Answer {
    if (r.method != "PUT" || ++puts != 1) return std::nullopt;
    server.really(r);
    return FakeS3::refusal(500, "InternalError");
  });
  auto info = put("k", "hello");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->sha256, sha256("hello"));
}

TEST_F(S3, AServerWithoutConditionsIsAskedFirst) {
  server.with([](FakeS3& s) { return s.has_conditions = false; });
  EXPECT_TRUE(put("k", "first"));
  EXPECT_EQ(put("k", "second")->sha256, sha256("first"));
  EXPECT_EQ(stream("k", pattern(part + 1))->sha256, sha256("first"));
  EXPECT_EQ(get("k"), "first");
  EXPECT_EQ(uploads(), 0u);
  EXPECT_FALSE(blobs->signed_put("x", 1, sha256("x"), clock.now() + 1h)) << "it could replace a blob";
}

// --- in parts

TEST_F(S3, WhatFitsIntoMemoryIsOneObjectAndAByteMoreComesInParts) {
  auto bytes = pattern(part + 1);
  ASSERT_TRUE(stream("fits", std::string_view(bytes).substr(0, part)));
  EXPECT_EQ(server.count("POST"), 0u);
  auto info = stream("parts", bytes);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(server.count("POST"), 2u) << "begin and complete";
  EXPECT_EQ(info->sha256, sha256(bytes));
  EXPECT_EQ(info->size, std::int64_t(bytes.size()));
  EXPECT_TRUE(get("parts") == bytes);
  EXPECT_EQ(loop.run(blobs->head("parts")).value()->sha256, sha256(bytes));
  EXPECT_EQ(loop.run(blobs->list("parts", "", 1)).value().at(0).sha256, sha256(bytes));
}

TEST_F(S3, DamageOfABlobInPartsIsFoundOut) {
  ASSERT_TRUE(stream("k", pattern(part + 1)));
  server.with([](FakeS3& s) { return s.objects.at("blobs/k!").bytes[part] ^= 1; });
  EXPECT_EQ(get("k"), "<corrupt>");
}

TEST_F(S3, ABlobInPartsIsRemovedWithItsDigest) {
  ASSERT_TRUE(stream("k", pattern(part + 1)));
  EXPECT_THAT(names(), SizeIs(2));
  ASSERT_TRUE(loop.run(blobs->remove("k")));
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(S3, EveryPartIsSentOnce) {
  options.parts_at_once = 2;
  blobs = open();
  ASSERT_TRUE(stream("k", pattern(5 * part)));
  auto sizes = server.with([](FakeS3& s) {
    std::vector<std::string> out;
    for (auto& line : s.requests)
      if (line.find("partNumber") != line.npos) out.push_back(line.substr(line.find("partNumber"), 12));
    return out;
  });
  std::ranges::sort(sizes);
  EXPECT_THAT(sizes, ElementsAre("partNumber=1", "partNumber=2", "partNumber=3", "partNumber=4", "partNumber=5"));
}

TEST_F(S3, APartThatIsRefusedEndsTheUpload) {
  server.on_request([](const http::Request& r) -> FakeS3::Answer {
    return r.query.get("partNumber") ? std::optional(FakeS3::refusal(400, "InvalidArgument")) : std::nullopt;
  });
  EXPECT_FALSE(stream("k", pattern(part + 1)));
  EXPECT_EQ(uploads(), 0u);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(S3, PartsWithAWrongEtagAreNotPutTogether) {
  server.on_request([&](const http::Request& r) -> FakeS3::Answer {
    if (!r.query.get("partNumber")) return std::nullopt;
    auto answer = server.really(r);
    answer.headers.set("ETag", "\"00000000000000000000000000000000\"");
    return answer;
  });
  auto refused = stream("k", pattern(part + 1));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("InvalidPart"));
  EXPECT_EQ(uploads(), 0u);
  EXPECT_THAT(names(), IsEmpty()) << "its digest is gone too";
}

TEST_F(S3, ASuccessThatEndsAsAnErrorIsTriedAgain) {
  std::atomic<int> completions = 0;
  server.on_request([&](const http::Request& r) -> FakeS3::Answer {
    if (r.method != "POST" || r.query.get("uploads") || ++completions != 1) return std::nullopt;
    return FakeS3::refusal(200, "InternalError");
  });
  EXPECT_TRUE(stream("k", pattern(part + 1)));
  EXPECT_EQ(completions, 2);
}

TEST_F(S3, ACompletionWhoseAnswerIsLostIsASuccess) {
  std::atomic<int> completions = 0;
  server.on_request([&](const http::Request& r) -> FakeS3::Answer {
    if (r.method != "POST" || r.query.get("uploads") || ++completions != 1) return std::nullopt;
    server.really(r);
    return FakeS3::refusal(500, "InternalError");
  });
  auto bytes = pattern(part + 1);
  auto info = stream("k", bytes);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(completions, 2) << "the second found no such upload";
  EXPECT_TRUE(get("k") == bytes);
}

TEST_F(S3, ACompletionNeverHeardOfLeavesTheBlobWhole) {
  impatient();
  server.on_request([&](const http::Request& r) -> FakeS3::Answer {
    if (r.method != "POST" || r.query.get("uploads")) return std::nullopt;
    server.really(r);
    return FakeS3::refusal(500, "InternalError");
  });
  auto bytes = pattern(part + 1);
  EXPECT_EQ(stream("k", bytes).error().code, Errc::unavailable);
  EXPECT_TRUE(get("k") == bytes) << "giving up took nothing from it";
  server.on_request({});
  EXPECT_EQ(stream("k", bytes)->sha256, sha256(bytes)) << "putting the same again is harmless";
}

TEST_F(S3, WhoComesSecondInPartsChangesNothing) {
  auto late = [&]() -> Task<Result<BlobInfo>> {
    CO_TRY_ASSIGN(auto writer, co_await blobs->create("k"));
    CO_TRY(co_await writer->write(pattern(part + 1)));
    CO_TRY(co_await blobs->put("k", "first"));
    co_return co_await writer->finish();
  };
  EXPECT_EQ(loop.run(late())->sha256, sha256("first"));
  EXPECT_EQ(get("k"), "first");
  EXPECT_EQ(uploads(), 0u);
  EXPECT_THAT(names(), ElementsAre("blobs/k!"));
}

TEST_F(S3, AnAbandonedUploadIsGivenUp) {
  auto story = [&]() -> Task<void> {
    auto writer = (co_await blobs->create("k")).value();
    EXPECT_TRUE(co_await writer->write(pattern(part + 1)));
  };
  loop.run(story());
  EXPECT_EQ(uploads(), 1u) << "the test looks where it is";
  options.sweep = false;
  keep_house([&] { return uploads() == 0; });
}

TEST_F(S3, ABlobAtTheLimitFitsAndOneByteMoreDoesNot) {
  options.max_blob_bytes = std::int64_t(part) + 10;
  blobs = open();
  EXPECT_TRUE(stream("fits", pattern(part + 10)));
  auto refused = stream("k", pattern(part + 11));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
  EXPECT_EQ(uploads(), 0u);
}

TEST_F(S3, AWriterIsFinishedOnce) {
  auto story = [&]() -> Task<void> {
    auto writer = (co_await blobs->create("k")).value();
    EXPECT_TRUE(co_await writer->finish());
    EXPECT_FALSE(co_await writer->finish());
    EXPECT_FALSE(co_await writer->write("more"));
  };
  loop.run(story());
  EXPECT_EQ(get("k"), "");
}

// --- hostile answers

TEST_F(S3, AListingThatIsNoneIsUnavailable) {
  for (auto* body : {"", "<html>", "<!DOCTYPE a [<!ENTITY b \"bb\">]><ListBucketResult>&b;</ListBucketResult>", "<ListBucketResult>"}) {
    server.next("GET", {http::Response{.body = body}});
    auto listed = loop.run(blobs->list("", "", 10));
    ASSERT_FALSE(listed) << body;
    EXPECT_EQ(listed.error().code, Errc::unavailable);
  }
}

TEST_F(S3, AListingThatGoesInCirclesEnds) {
  server.on_request([](const http::Request&) -> FakeS3::Answer {
    return http::Response{.body = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>blobs/x</Key><Size>1</Size></Contents></ListBucketResult>"};
  });
  auto listed = loop.run(blobs->list("", "", 10));
  ASSERT_FALSE(listed);
  EXPECT_THAT(listed.error().message, HasSubstr("not asked for"));
}

TEST_F(S3, AnUploadWithoutANameIsUnavailable) {
  server.next("POST", {http::Response{.body = "<InitiateMultipartUploadResult/>"}});
  EXPECT_EQ(stream("k", pattern(part + 1)).error().code, Errc::unavailable);
}

TEST_F(S3, MetadataThatIsNoDigestIsDamage) {
  for (auto* value : {"", "xyz", "00", "../../other"}) {
    server.with([&](FakeS3& s) { s.objects["blobs/k!"] = {"hello", {{"x-amz-meta-mayfly-sha256", value}}}; return 0; });
    EXPECT_EQ(get("k"), "<corrupt>") << value;
    server.with([&](FakeS3& s) { s.objects["blobs/k!"] = {"hello", {{"x-amz-meta-mayfly-digest", value}}}; return 0; });
    EXPECT_EQ(get("k"), "<corrupt>") << value;
  }
}

// --- the bucket

TEST_F(S3, AMissingBucketIsMade) {
  server.with([](FakeS3& s) { return s.bucket_exists = false; });
  EXPECT_EQ(get("k"), "<not_found>");
  EXPECT_TRUE(put("k", "hello"));
  EXPECT_EQ(get("k"), "hello");
}

TEST_F(S3, AMissingBucketIsNotMadeWhereItMayNotBe) {
  options.create_bucket = false;
  blobs = open();
  server.with([](FakeS3& s) { return s.bucket_exists = false; });
  auto refused = put("k", "hello");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().hint, HasSubstr("make the bucket"));
  EXPECT_THAT(loop.run(blobs->list("", "", 10)).value(), IsEmpty());
}

TEST_F(S3, TheLifecycleIsSetOnce) {
  options.expiries = {{"logs/", 30}};
  blobs = open();
  auto rules = [&] { return server.with([](FakeS3& s) { return s.lifecycle; }); };
  keep_house([&] { return !rules().empty(); });
  EXPECT_THAT(rules(), HasSubstr("<Prefix>blobs/logs.~/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days>"));
  EXPECT_THAT(rules(), HasSubstr("<AbortIncompleteMultipartUpload>"));
  auto before = server.count("PUT"), swept = server.count("GET /b?prefix=blobs%2F&uploads");
  keep_house([&] { return server.count("GET /b?prefix=blobs%2F&uploads") > swept; });
  EXPECT_EQ(server.count("PUT"), before);
}

TEST_F(S3, RulesOfOthersStay) {
  std::string theirs = "<LifecycleConfiguration><Rule><ID>theirs</ID></Rule></LifecycleConfiguration>";
  server.with([&](FakeS3& s) { s.lifecycle = theirs; return 0; });
  keep_house([&] { return server.count("GET /b?list-type") > 0; });
  EXPECT_EQ(server.with([](FakeS3& s) { return s.lifecycle; }), theirs);
}

TEST_F(S3, AServerWithoutLifecycleIsNoProblem) {
  server.with([](FakeS3& s) { return s.has_lifecycle = false; });
  keep_house([&] { return server.count("GET /b?list-type") > 0; });
}

TEST_F(S3, WhatCrashedWritersLeftIsSwept) {
  ASSERT_TRUE(stream("kept", pattern(part + 1)));
  auto young = make_id<Id<struct DigestTag>>(clock, entropy).str();
  server.with([&](FakeS3& s) {
    s.uploads["old"] = {.name = "blobs/a!", .metadata = {}, .parts = {}};
    s.uploads["new"] = {.name = "blobs/a!", .initiated = to_rfc3339(clock.now()), .metadata = {}, .parts = {}};
    s.uploads["theirs"] = {.name = "other/a", .metadata = {}, .parts = {}};
    s.objects["digests/gone!/01890a5d-ac96-774b-bcce-b302099a8057"] = {};
    s.objects["digests/kept!/01890a5d-ac96-774b-bcce-b302099a8057"] = {};
    s.objects["digests/soon!/" + young] = {};
    return 0;
  });
  keep_house([&] { return names().size() == 3; });
  EXPECT_THAT(server.with([](FakeS3& s) { return std::vector{s.uploads.contains("old"), s.uploads.contains("new"), s.uploads.contains("theirs")}; }),
              ElementsAre(false, true, true));
  EXPECT_EQ(get("kept").size(), part + 1);
  EXPECT_THAT(names(), testing::Contains("digests/soon!/" + young));
}

TEST_F(S3, SignedUrlsNameThePublicAddressAndEndInTime) {
  options.public_endpoint = "https://blobs.example.org";
  options.max_signed = 1h;
  blobs = open();
  auto url = *blobs->signed_url("a/b", clock.now() + 24h);
  EXPECT_THAT(url, testing::StartsWith("https://blobs.example.org/b/blobs/a.~/b%21?"));
  EXPECT_THAT(url, HasSubstr("X-Amz-Expires=3600&"));
  EXPECT_THAT(url, Not(HasSubstr(options.secret_key)));
  EXPECT_FALSE(blobs->signed_url("../k", clock.now() + 1h));
}

TEST_F(S3, ABucketMayBeAHost) {
  options.virtual_host = true;
  options.endpoint = "https://s3.example.org";
  blobs = open();
  EXPECT_THAT(*blobs->signed_url("k", clock.now() + 1h), testing::StartsWith("https://b.s3.example.org/blobs/k%21?"));
}

TEST_F(S3, OptionsThatCannotBeMeantAreRefused) {
  auto code = [&](auto change) {
    auto o = server.options();
    change(o);
    auto made = make_s3_blobs(loop.loop(), client, clock, entropy, o);
    return made ? "" : std::string(to_string(made.error().code));
  };
  EXPECT_EQ(code([](auto&) {}), "");
  EXPECT_EQ(code([](auto& o) { o.bucket = ""; }), "invalid");
  EXPECT_EQ(code([](auto& o) { o.secret_key = ""; }), "invalid");
  EXPECT_EQ(code([](auto& o) { o.endpoint = "s3.example.org"; }), "invalid");
  EXPECT_EQ(code([](auto& o) { o.endpoint = "unix:/run/s3.sock"; }), "invalid");
  EXPECT_EQ(code([](auto& o) { o.endpoint = "http://h/path"; }), "invalid");
  EXPECT_EQ(code([](auto& o) { --o.part_bytes; }), "invalid");
  EXPECT_EQ(code([](auto& o) { o.parts_at_once = 0; }), "invalid");
  EXPECT_EQ(code([](auto& o) { o.max_blob_bytes = std::int64_t(o.part_bytes) * 10'000 - 1; }), "");
  EXPECT_EQ(code([](auto& o) { o.max_blob_bytes = std::int64_t(o.part_bytes) * 10'000; }), "invalid");
}

}  // namespace
}  // namespace mayfly::s3
