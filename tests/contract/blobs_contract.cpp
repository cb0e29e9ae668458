#include "contract/blobs_contract.h"

#include <gmock/gmock.h>

#include "async/scope.h"

namespace mayfly::contract {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BlobsContract);

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string bytes_or_error(Result<std::string> got) {
  return got ? *std::move(got) : "<" + std::string(to_string(got.error().code)) + ">";
}

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t state = 1;
  for (auto& c : out) c = char((state = state * 1664525 + 1013904223) >> 24);
  return out;
}

const std::string id = "0193a2f4-5b6c-7d8e-9fa0-b1c2d3e4f5a6";

}  // namespace

void BlobsContract::put(std::string_view key, std::string_view bytes) {
  auto info = run(blobs().put(key, bytes));
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->key, key);
}

std::string BlobsContract::get(std::string_view key) { return bytes_or_error(run(blobs().get(key))); }
std::string BlobsContract::get_range(std::string_view key, std::int64_t offset, std::int64_t length) {
  return bytes_or_error(run(blobs().get_range(key, offset, length)));
}

std::vector<std::string> BlobsContract::list(std::string_view prefix, std::string_view after, std::size_t limit) {
  std::vector<std::string> keys;
  auto found = run(blobs().list(prefix, after, limit));
  if (!found) return {"<" + std::string(to_string(found.error().code)) + ">"};
  for (auto& info : *found) keys.push_back(info.key);
  return keys;
}

TEST_P(BlobsContract, WhatIsPutIsGivenBack) {
  auto bytes = pattern(100'000);
  auto info = run(blobs().put("logs/1/0", bytes));
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->key, "logs/1/0");
  EXPECT_EQ(info->size, 100'000);
  EXPECT_EQ(info->sha256, sha256(bytes));
  EXPECT_EQ(get("logs/1/0"), bytes);
  auto head = run(blobs().head("logs/1/0"));
  ASSERT_TRUE(head && *head);
  EXPECT_EQ((*head)->key, "logs/1/0");
  EXPECT_EQ((*head)->size, 100'000);
  EXPECT_EQ((*head)->sha256, sha256(bytes));
}

TEST_P(BlobsContract, AnEmptyBlobIsABlob) {
  put("empty", "");
  EXPECT_EQ(get("empty"), "");
  EXPECT_EQ(get_range("empty", 0, 10), "");
  auto head = run(blobs().head("empty"));
  ASSERT_TRUE(head && *head);
  EXPECT_EQ((*head)->size, 0);
  EXPECT_EQ((*head)->sha256, sha256(""));
}

TEST_P(BlobsContract, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(get("a/b"), "<not_found>");
  EXPECT_EQ(get_range("a/b", 0, 1), "<not_found>");
  auto head = run(blobs().head("a/b"));
  ASSERT_TRUE(head);
  EXPECT_FALSE(*head);
}

TEST_P(BlobsContract, TheFirstBytesOfAKeyStay) {
  put("k", "first");
  auto second = run(blobs().put("k", "second!"));
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->size, 5);
  EXPECT_EQ(second->sha256, sha256("first")) << "it tells what is there";
  EXPECT_EQ(get("k"), "first");
}

TEST_P(BlobsContract, OfManyPutsAtOnceOneIsTheBlob) {
  std::vector<Sha256> told;
  auto putter = [&](std::string bytes) -> Task<void> {
    auto info = co_await blobs().put("race/k", bytes);
    if (info) told.push_back(info->sha256);
  };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < 16; ++i) scope.spawn(putter("from " + std::to_string(i)));
    co_await scope.join();
  };
  loop.run(all());
  ASSERT_EQ(told.size(), 16u);
  auto winner = sha256(get("race/k"));
  for (auto& t : told) EXPECT_EQ(t, winner);
}

TEST_P(BlobsContract, ARangeIsCutOut) {
  put("k", "0123456789");
  EXPECT_EQ(get_range("k", 0, 3), "012");
  EXPECT_EQ(get_range("k", 4, 2), "45");
  EXPECT_EQ(get_range("k", 8, 100), "89");
  EXPECT_EQ(get_range("k", 9, 1), "9");
  EXPECT_EQ(get_range("k", 10, 1), "");
  EXPECT_EQ(get_range("k", 1000, 1), "");
  EXPECT_EQ(get_range("k", 3, 0), "");
  EXPECT_EQ(get_range("k", 0, std::numeric_limits<std::int64_t>::max()), "0123456789");
  EXPECT_EQ(get_range("k", -1, 1), "<invalid>");
  EXPECT_EQ(get_range("k", 0, -1), "<invalid>");
}

TEST_P(BlobsContract, AStreamIsPutTogether) {
  auto bytes = pattern(3'000'001);
  auto story = [&]() -> Task<Result<BlobInfo>> {
    CO_TRY_ASSIGN(auto writer, co_await blobs().create("streamed/k"));
    for (std::size_t at = 0, step = 1; at < bytes.size(); at += step, step = step * 3 + 1)
      CO_TRY(co_await writer->write(std::string_view(bytes).substr(at, step)));
    auto before = co_await blobs().head("streamed/k");
    EXPECT_TRUE(before && !*before) << "nothing is visible until it is finished";
    co_return co_await writer->finish();
  };
  auto info = run(story());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->size, std::int64_t(bytes.size()));
  EXPECT_EQ(info->sha256, sha256(bytes));
  EXPECT_EQ(get("streamed/k"), bytes);
}

TEST_P(BlobsContract, AStreamThatComesSecondChangesNothing) {
  put("k", "first");
  auto story = [&]() -> Task<Result<BlobInfo>> {
    CO_TRY_ASSIGN(auto writer, co_await blobs().create("k"));
    CO_TRY(co_await writer->write("second"));
    co_return co_await writer->finish();
  };
  auto info = run(story());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->sha256, sha256("first"));
  EXPECT_EQ(get("k"), "first");
}

TEST_P(BlobsContract, AnAbandonedStreamLeavesNothing) {
  auto story = [&]() -> Task<Result<void>> {
    CO_TRY_ASSIGN(auto writer, co_await blobs().create("k"));
    co_return co_await writer->write(pattern(1'000'000));
  };
  ASSERT_TRUE(run(story()));
  EXPECT_EQ(get("k"), "<not_found>");
  EXPECT_THAT(list(""), IsEmpty());
}

TEST_P(BlobsContract, AKeyMayBeAFolderOfOthers) {
  put("a", "1");
  put("a/b", "2");
  put("a/b/c", "3");
  EXPECT_EQ(get("a"), "1");
  EXPECT_EQ(get("a/b"), "2");
  EXPECT_EQ(get("a/b/c"), "3");
  EXPECT_TRUE(run(blobs().remove("a/b")));
  EXPECT_EQ(get("a/b/c"), "3");
}

TEST_P(BlobsContract, KeysAreListedInTheOrderOfTheirBytes) {
  // '-' and '.' come before '/', '0' after it: the order of whole keys is not the order of folders.
  std::vector<std::string> keys{"A/z", "a",  "a-b",     "a.b",            "a/b",            "a/b/c",
                                "a/c", "a0", "b/" + id, "b/" + id + "/0", "b/" + id + ".x", "b/z"};
  for (auto it = keys.rbegin(); it != keys.rend(); ++it) put(*it, *it);
  auto sorted = keys;
  std::ranges::sort(sorted);
  EXPECT_EQ(list(""), sorted);
  EXPECT_THAT(list("a"), ElementsAre("a", "a-b", "a.b", "a/b", "a/b/c", "a/c", "a0"));
  EXPECT_THAT(list("a/"), ElementsAre("a/b", "a/b/c", "a/c"));
  EXPECT_THAT(list("b/" + id + "/"), ElementsAre("b/" + id + "/0"));
  EXPECT_THAT(list("b/0193"), ElementsAre("b/" + id, "b/" + id + ".x", "b/" + id + "/0"));
  EXPECT_THAT(list("c"), IsEmpty());
  EXPECT_THAT(list("a/b/c/d"), IsEmpty());
}

TEST_P(BlobsContract, AListingGoesOnAfterAKeyAndStopsAtItsLimit) {
  std::vector<std::string> keys;
  for (int attempt = 0; attempt < 4; ++attempt)
    for (int chunk = 0; chunk < 5; ++chunk) {
      keys.push_back("logs/" + std::to_string(attempt) + id + "/" + std::to_string(chunk));
      put(keys.back(), "x");
    }
  std::ranges::sort(keys);
  std::vector<std::string> paged;
  for (std::string after;;) {
    auto page = list("logs/", after, 3);
    EXPECT_LE(page.size(), 3u);
    if (page.empty()) break;
    paged.insert(paged.end(), page.begin(), page.end());
    after = page.back();
  }
  EXPECT_EQ(paged, keys);
  EXPECT_THAT(list("logs/", "logs/0", 1), ElementsAre(keys[0])) << "what it goes on after need not exist";
  EXPECT_THAT(list("logs/", "", 0), IsEmpty());
}

TEST_P(BlobsContract, AListingTellsLengthAndDigest) {
  put("k", "hello");
  auto found = run(blobs().list("", "", 10));
  ASSERT_TRUE(found && found->size() == 1);
  EXPECT_EQ((*found)[0].size, 5);
  EXPECT_EQ((*found)[0].sha256, sha256("hello"));
}

TEST_P(BlobsContract, WhatIsRemovedIsGoneAndMayComeBack) {
  put("a/b", "1");
  EXPECT_TRUE(run(blobs().remove("a/b")));
  EXPECT_EQ(get("a/b"), "<not_found>");
  EXPECT_THAT(list(""), IsEmpty());
  EXPECT_TRUE(run(blobs().remove("a/b"))) << "absent is success";
  put("a/b", "2");
  EXPECT_EQ(get("a/b"), "2");
}

TEST_P(BlobsContract, PuttingAndRemovingSideBySideLosesNothing) {
  auto worker = [&](int who) -> Task<void> {
    for (int i = 0; i < 20; ++i) {
      auto key = "shared/folder/" + std::to_string(who);
      auto put = co_await blobs().put(key, "x");
      EXPECT_TRUE(put) << put.error().message;
      auto got = co_await blobs().get(key);
      EXPECT_TRUE(got) << got.error().message;
      EXPECT_TRUE(co_await blobs().remove(key));
    }
  };
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int who = 0; who < 8; ++who) scope.spawn(worker(who));
    co_await scope.join();
  };
  loop.run(all());
  EXPECT_THAT(list(""), IsEmpty());
}

TEST_P(BlobsContract, AHostileKeyIsRefused) {
  std::string longest(max_blob_key_segment, 'a');
  for (std::string key : {"", "/", "/etc/passwd", "..", ".", "../k", "a/../b", "a/..", "a//b", "a/", "./a", "a\\b", "a b", "a\n",
                          "a+", "=a", "~", "é"})
    for (auto& bad : {key, key + std::string(1, '\0')}) {
      EXPECT_EQ(get(bad), "<invalid>") << key;
      EXPECT_EQ(get_range(bad, 0, 1), "<invalid>") << key;
      EXPECT_FALSE(run(blobs().put(bad, "x"))) << key;
      EXPECT_FALSE(run(blobs().create(bad))) << key;
      EXPECT_FALSE(run(blobs().head(bad))) << key;
      EXPECT_FALSE(run(blobs().remove(bad))) << key;
    }
  for (auto* prefix : {"/", "../", "a/../", "a//", "./", "=a", "a b"}) EXPECT_THAT(list(prefix), ElementsAre("<invalid>")) << prefix;
  EXPECT_THAT(list(".."), IsEmpty()) << "a key may begin like this";
  EXPECT_THAT(list(""), IsEmpty());
}

TEST_P(BlobsContract, KeysAtTheLimitFitAndLongerOnesDoNot) {
  std::string segment(max_blob_key_segment, 'a');
  put(segment, "1");
  EXPECT_EQ(get(segment), "1");
  EXPECT_EQ(get(segment + "a"), "<invalid>");
  auto key = segment + "/" + segment + "/";
  key += std::string(max_blob_key - key.size(), 'b');
  put(key, "2");
  EXPECT_EQ(get(key), "2");
  EXPECT_EQ(get(key + "b"), "<invalid>");
  put("..a/b..c/...", "3");
  EXPECT_EQ(get("..a/b..c/..."), "3");
}

TEST_P(BlobsContract, AReadOfTooManyBytesIsRefused) {
  auto megabytes = pattern(16 << 20);
  auto story = [&]() -> Task<Result<BlobInfo>> {
    CO_TRY_ASSIGN(auto writer, co_await blobs().create("k"));
    for (std::int64_t at = 0; at < max_blob_read; at += std::int64_t(megabytes.size())) CO_TRY(co_await writer->write(megabytes));
    CO_TRY(co_await writer->write("!"));
    co_return co_await writer->finish();
  };
  auto info = run(story());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(get("k"), "<too_large>");
  EXPECT_EQ(get_range("k", 0, max_blob_read + 1), "<too_large>");
  EXPECT_EQ(get_range("k", 1, max_blob_read + 1).size(), std::size_t(max_blob_read)) << "so many are left after the first";
}

TEST_P(BlobsContract, WhatIsStoredIsThereAfterReopening) {
  put("logs/1/0", "hello");
  place->reopen();
  EXPECT_EQ(get("logs/1/0"), "hello");
}

TEST_P(BlobsContract, ADamagedBlobIsFoundOut) {
  put("k", pattern(10'000));
  if (!place->damage("k")) GTEST_SKIP() << "no way to damage what this store holds";
  EXPECT_EQ(get("k"), "<corrupt>");
  EXPECT_EQ(get_range("k", 0, 10'000), "<corrupt>") << "the whole as a range";
}

}  // namespace mayfly::contract
