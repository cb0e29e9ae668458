#include "contract/signed_blobs_contract.h"

namespace mayfly::contract {
namespace {

Time in(Duration d) { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()) + d; }

constexpr auto soon = std::chrono::minutes(5);
const std::string bytes = "what the runner made";

}  // namespace

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(SignedBlobs);

http::ClientResponse SignedBlobs::send(http::ClientRequest request) {
  auto answer = run(client.send(std::move(request)));
  EXPECT_TRUE(answer) << answer.error().message;
  return answer.value_or(http::ClientResponse{});
}

http::ClientResponse SignedBlobs::fetch(std::string url, std::string method) { return send({.method = std::move(method), .url = std::move(url)}); }

SignedPut SignedBlobs::signed_put(std::string_view key, Duration valid) {
  return blobs().signed_put(key, std::int64_t(bytes.size()), sha256(bytes), in(valid)).value();
}

int SignedBlobs::send_put(SignedPut put, std::string body, std::string method) {
  http::ClientRequest request{.method = std::move(method), .url = std::move(put.url), .body = std::move(body)};
  request.headers.fields = std::move(put.headers);
  return send(std::move(request)).status;
}

TEST_P(SignedBlobs, AUrlServesTheBytesToWhoeverHasIt) {
  put("artifacts/1/a.txt", bytes);
  auto url = *blobs().signed_url("artifacts/1/a.txt", in(soon));
  auto answer = fetch(url);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, bytes);
  EXPECT_EQ(answer.headers.get("Content-Disposition"), "attachment");
  EXPECT_EQ(fetch(*blobs().signed_url("artifacts/1/a.txt", in(soon), "naïve \"a\".txt")).headers.get("Content-Disposition"),
            "attachment; filename*=UTF-8''na%C3%AFve%20%22a%22.txt");
  http::ClientRequest ranged{.url = url};
  ranged.headers.add("Range", "bytes=5-7");
  answer = send(std::move(ranged));
  EXPECT_EQ(answer.status, 206);
  EXPECT_EQ(answer.body, bytes.substr(5, 3));
}

TEST_P(SignedBlobs, AUrlIsGoodForNothingElse) {
  put("k", bytes);
  put("other", bytes);
  auto url = *blobs().signed_url("k", in(soon));
  EXPECT_EQ(fetch(url, "DELETE").status, 403);
  EXPECT_EQ(fetch(url, "PUT").status, 403);
  auto elsewhere = url;
  elsewhere.replace(elsewhere.find("/k%21?") + 1, 1, "other");
  EXPECT_EQ(fetch(elsewhere).status, 403);
  auto longer = url;
  auto digit = longer.find("X-Amz-Expires=") + 14;
  longer[digit] = longer[digit] == '9' ? '8' : '9';
  EXPECT_EQ(fetch(longer).status, 403);
  EXPECT_EQ(get("k"), bytes);
}

TEST_P(SignedBlobs, AnExpiredUrlServesNothing) {
  put("k", bytes);
  EXPECT_EQ(fetch(*blobs().signed_url("k", in(-std::chrono::seconds(2)))).status, 403);
}

TEST_P(SignedBlobs, APutBringsTheBytes) {
  EXPECT_EQ(send_put(signed_put("artifacts/1/b", soon), bytes), 200);
  EXPECT_EQ(get("artifacts/1/b"), bytes);
  auto info = run(blobs().head("artifacts/1/b"));
  ASSERT_TRUE(info && *info);
  EXPECT_EQ((*info)->size, std::int64_t(bytes.size()));
  EXPECT_EQ((*info)->sha256, sha256(bytes));
}

TEST_P(SignedBlobs, APutOfOtherBytesIsRefused) {
  auto other = bytes;
  other[3] ^= 1;
  EXPECT_EQ(send_put(signed_put("k", soon), other), 400);
  EXPECT_EQ(send_put(signed_put("k", soon), bytes + "!"), 403);
  EXPECT_EQ(get("k"), "<not_found>");
}

TEST_P(SignedBlobs, APutSaysNothingElse) {
  auto with = [&](std::string_view header, std::string_view value) {
    auto put = signed_put("k", soon);
    for (auto& [name, old] : put.headers)
      if (http::equal_ignoring_case(name, header)) old = value;
    return send_put(std::move(put), bytes);
  };
  EXPECT_EQ(with("x-amz-meta-mayfly-sha256", to_hex(sha256("other"))), 403);
  auto bare = signed_put("k", soon);
  bare.headers.clear();
  EXPECT_EQ(send_put(std::move(bare), bytes), 403);
  EXPECT_EQ(send_put(signed_put("k", -std::chrono::seconds(2)), bytes), 403) << "expired";
  EXPECT_EQ(send_put(signed_put("k", soon), bytes, "DELETE"), 403);
  EXPECT_EQ(get("k"), "<not_found>");
}

TEST_P(SignedBlobs, APutReplacesNothing) {
  put("k", "first");
  EXPECT_EQ(send_put(signed_put("k", soon), bytes), 412);
  EXPECT_EQ(get("k"), "first");
}

TEST_P(SignedBlobs, NoMoreIsSignedThanOnePutMayHave) {
  EXPECT_TRUE(blobs().signed_put("k", 5LL << 30, sha256(""), in(soon)));
  EXPECT_FALSE(blobs().signed_put("k", (5LL << 30) + 1, sha256(""), in(soon)));
}

}  // namespace mayfly::contract
