#include "roles/logs/log_store.h"

#include <gtest/gtest.h>

#include "async/scope.h"
#include "roles/schema.h"
#include "simulation/memory_blobs.h"
#include "support/run.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

struct Logs : testing::Test {
  VirtualClock clock;
  TestLoop loop{clock};
  std::unique_ptr<Database> db = make_test_database(schema());
  simulation::MemoryBlobs blobs;
  LogStore store{*db, blobs, clock};
  AttemptId attempt = AttemptId::parse("01a20c91-8a13-73f1-a768-ae6b8ffe1a2c").value();

  static std::string frame(std::int64_t offset, std::string_view text) {
    std::string out;
    append_frame(out, {.offset = offset, .time = {}, .text = text});
    return out;
  }
  Result<LogsAnswer> append(std::string frames) { return loop.run(store.append(attempt, std::move(frames))); }
  std::string read(std::int64_t from = 0, std::size_t max = 1 << 30) { return loop.run(store.read(attempt, from, max)).value(); }
};

TEST_F(Logs, BytesThatComeTwiceAreTakenOnce) {
  EXPECT_EQ(append(frame(0, "hello "))->next, 6);
  EXPECT_EQ(append(frame(0, "hello ") + frame(6, "world"))->next, 11);
  EXPECT_EQ(append(frame(3, "lo world!"))->next, 12);
  EXPECT_EQ(read(), "hello world!");
  EXPECT_EQ(read(6, 5), "world");
}

TEST_F(Logs, AGapSaysWhatIsWanted) {
  append(frame(0, "abc"));
  auto answer = append(frame(5, "later"));
  EXPECT_EQ(answer->next, 3);
  EXPECT_EQ(read(), "abc");
}

TEST_F(Logs, WhatIsNoFrameIsRefused) {
  EXPECT_EQ(append("not a frame, surely not a frame, not one").error().code, Errc::corrupt);
  auto half = frame(0, "abc");
  EXPECT_EQ(append(half.substr(0, half.size() - 1)).error().code, Errc::corrupt);
}

TEST_F(Logs, AnotherServerGoesOnFromWhatIsDurable) {
  append(frame(0, "durable"));
  ASSERT_TRUE(loop.run(store.flush(attempt)));
  append(frame(7, " lost"));
  LogStore next{*db, blobs, clock};
  auto position = loop.run(next.position(attempt));
  EXPECT_EQ(position->next, 7);
  EXPECT_EQ(position->durable, 7);
  EXPECT_EQ(loop.run(next.append(attempt, frame(7, " again")))->next, 13);
  EXPECT_EQ(loop.run(next.read(attempt, 0, 100)), "durable again");
}

TEST_F(Logs, LargeChunksGoToTheBlobStoreAndReadsAreSeamless) {
  std::string expected;
  for (int i = 0; i < 40; ++i) {
    std::string text(max_frame_text_bytes, char('a' + i % 26));
    append(frame(std::int64_t(expected.size()), text));
    expected += text;
    if (i == 3) append(frame(std::int64_t(expected.size()), "small")), expected += "small", loop.run(store.flush(attempt)).value();
  }
  EXPECT_GT(loop.run(store.position(attempt))->durable, 2 << 20);
  EXPECT_TRUE(read() == expected);
  EXPECT_TRUE(read(100'000, 1'500'000) == expected.substr(100'000, 1'500'000));
  EXPECT_EQ(read(std::int64_t(expected.size())), "");
}

TEST_F(Logs, WhatIsOldIsMadeDurableByItself) {
  append(frame(0, "quiet"));
  auto story = [&]() -> Task<void> {
    Scope scope(loop.loop());
    scope.spawn(store.run());
    co_await sleep_for(clock, log_chunk_age + 2s);
    scope.cancel();
    co_await scope.join();
  };
  loop.run(story());
  EXPECT_EQ(loop.run(store.position(attempt))->durable, 5);
}

TEST_F(Logs, TheLastChunkIsStoredWithTheEnd) {
  append(frame(0, "the end"));
  auto end = loop.run(store.complete(attempt, 7)).value();
  EXPECT_EQ(end.bytes, 7);
  ASSERT_EQ(end.statements.size(), 1u);
  ASSERT_TRUE(loop.run(db->transact(std::move(end.statements))));
  store.ended(attempt);
  EXPECT_EQ(read(), "the end");
  EXPECT_EQ(loop.run(store.position(attempt))->durable, 7);
  EXPECT_TRUE(loop.run(store.complete(attempt, 7))->statements.empty());
}

TEST_F(Logs, AChunkStoredUnheardIsNotStoredAgain) {
  append(frame(0, "heard of"));
  auto end = loop.run(store.complete(attempt, 8)).value();
  ASSERT_TRUE(loop.run(db->transact(std::move(end.statements))));  // and nobody tells the store
  append(frame(8, ", not"));
  ASSERT_TRUE(loop.run(store.flush(attempt)));
  EXPECT_EQ(loop.run(store.position(attempt))->durable, 13);
  EXPECT_EQ(read(), "heard of, not");
}

TEST_F(Logs, ALogThatIsNotAllHereIsNotComplete) {
  append(frame(0, "some"));
  auto end = loop.run(store.complete(attempt, 5));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Errc::invalid);
  EXPECT_NE(end.error().message.find("only 4 bytes"), std::string::npos);
}

TEST_F(Logs, OfTwoWritersOneChainRemains) {
  LogStore zombie{*db, blobs, clock};
  append(frame(0, "both know this. "));
  ASSERT_TRUE(loop.run(zombie.append(attempt, frame(0, "both know this. and this only one"))));
  ASSERT_TRUE(loop.run(store.flush(attempt)));
  ASSERT_TRUE(loop.run(zombie.flush(attempt))) << "its first chunk is refused, and it goes on behind the other's";
  EXPECT_EQ(loop.run(zombie.read(attempt, 0, 100)), "both know this. and this only one");
  append(frame(16, "and this only one, or two"));
  ASSERT_TRUE(loop.run(store.flush(attempt)));
  EXPECT_EQ(loop.run(zombie.append(attempt, frame(41, "!")))->next, 42) << "what looks like a gap is none: the other has stored it";
  EXPECT_EQ(loop.run(zombie.read(attempt, 0, 100)), "both know this. and this only one, or two!");
}

TEST_F(Logs, AWaitingViewerIsWoken) {
  auto story = [&]() -> Task<void> {
    bool woken = false;
    auto viewer = [&]() -> Task<void> { woken = co_await store.wait_beyond(attempt, 0, clock.now() + 1h); };
    Scope scope(loop.loop());
    scope.spawn(viewer());
    co_await sleep_for(clock, 1s);
    EXPECT_FALSE(woken);
    (void)co_await store.append(attempt, frame(0, "x"));
    co_await scope.join();
    EXPECT_TRUE(woken);
  };
  loop.run(story());
  EXPECT_LT(clock.now(), VirtualClock().now() + 1min);
}

}  // namespace
}  // namespace mayfly
