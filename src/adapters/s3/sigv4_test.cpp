#include "adapters/s3/sigv4.h"

#include <gtest/gtest.h>

namespace mayfly::s3 {
namespace {

std::string after(std::string_view text, std::string_view mark) {
  auto at = text.rfind(mark);
  return std::string(at == text.npos ? text : text.substr(at + mark.size()));
}

/// The examples of "Signature Calculations for the Authorization Header" and "Authenticating Requests: Using Query Parameters".
struct S3Examples : testing::Test {
  Credentials who{.access_key = "AKIAIOSFODNN7EXAMPLE", .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
  Time at = parse_rfc3339("2013-05-24T00:00:00Z").value();
  SignedRequest request{.host = "examplebucket.s3.amazonaws.com"};
  std::string payload = to_hex(sha256(""));

  std::string signature() {
    sign(request, payload, who, {}, at);
    return after(*request.headers.get("Authorization"), "Signature=");
  }
};

TEST_F(S3Examples, GetOfARange) {
  request.path = "/test.txt";
  request.headers.set("Range", "bytes=0-9");
  EXPECT_EQ(signature(), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(*request.headers.get("Authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(S3Examples, PutOfAnObject) {
  request.method = "PUT";
  request.path = "/test$file.text";
  request.headers.set("Date", "Fri, 24 May 2013 00:00:00 GMT");
  request.headers.set("x-amz-storage-class", "REDUCED_REDUNDANCY");
  payload = to_hex(sha256("Welcome to Amazon S3."));
  EXPECT_EQ(signature(), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_F(S3Examples, BucketLifecycle) {
  request.query.add("lifecycle", "");
  EXPECT_EQ(signature(), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_F(S3Examples, ListOfObjects) {
  request.query.add("prefix", "J");
  request.query.add("max-keys", "2");
  EXPECT_EQ(signature(), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST_F(S3Examples, PresignedGet) {
  request.path = "/test.txt";
  auto target = presign(request, who, {}, at, std::chrono::seconds(86400));
  EXPECT_EQ(target,
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
            "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

/// The aws-sig-v4 test suite, where paths need no normalisation (S3 does none).
struct Suite : testing::Test {
  Credentials who{.access_key = "AKIDEXAMPLE", .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
  Time at = parse_rfc3339("2015-08-30T12:36:00Z").value();
  SignedRequest request{.host = "example.amazonaws.com"};

  std::string signature(std::string service = "service") {
    request.headers.add("X-Amz-Date", amz_date(at));
    return after(authorization(request, to_hex(sha256("")), who, {.region = "us-east-1", .service = service}, at), "Signature=");
  }
};

TEST_F(Suite, GetVanilla) { EXPECT_EQ(signature(), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"); }

TEST_F(Suite, PostVanilla) {
  request.method = "POST";
  EXPECT_EQ(signature(), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

TEST_F(Suite, GetVanillaQueryOrderKeyCase) {
  request.query.add("Param2", "value2");
  request.query.add("Param1", "value1");
  EXPECT_EQ(signature(), "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST_F(Suite, GetUtf8) {
  request.path = "/\u1234";
  EXPECT_EQ(signature(), "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
}

TEST_F(Suite, GetHeaderKeyDuplicate) {
  request.headers.add("My-Header1", "value2");
  request.headers.add("My-Header1", "value2");
  request.headers.add("My-Header1", "value1");
  EXPECT_EQ(signature(), "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea");
}

TEST_F(Suite, GetHeaderValueTrim) {
  request.headers.add("My-Header1", " value1");
  request.headers.add("My-Header2", " \"a   b   c\"");
  EXPECT_EQ(signature(), "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

TEST_F(Suite, TheDocumentationsIamRequest) {
  request.host = "iam.amazonaws.com";
  request.query.add("Action", "ListUsers");
  request.query.add("Version", "2010-05-08");
  request.headers.add("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
  EXPECT_EQ(signature("iam"), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

TEST(Presign, LastsAtLeastASecondAndAtMostAWeek) {
  SignedRequest request{.host = "h"};
  auto valid = [&](Duration d) { return after(presign(request, {.access_key = "k", .secret_key = "s"}, {}, Time{}, d), "X-Amz-Expires=").substr(0, 7); };
  EXPECT_EQ(valid(std::chrono::seconds(0)), "1&X-Amz");
  EXPECT_EQ(valid(std::chrono::days(7)), "604800&");
  EXPECT_EQ(valid(std::chrono::days(8)), "604800&");
}

TEST(Presign, CarriesTheSessionOfTemporaryCredentials) {
  SignedRequest request{.host = "h"};
  Credentials who{.access_key = "k", .secret_key = "s", .session_token = "t/+"};
  EXPECT_NE(presign(request, who, {}, Time{}, std::chrono::seconds(5)).find("&X-Amz-Security-Token=t%2F%2B&"), std::string::npos);
  sign(request, unsigned_payload, who, {}, Time{});
  EXPECT_EQ(request.headers.get("X-Amz-Security-Token"), "t/+");
}

}  // namespace
}  // namespace mayfly::s3
