#include "roles/logs/log_lines.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "adapters/files/blobs.h"
#include "async/offload.h"
#include "roles/logs/compactor.h"
#include "roles/logs/log_objects.h"
#include "roles/logs/log_store.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

struct Lines : testing::TestWithParam<bool> {
  TempDir dir;
  VirtualClock clock;
  SeededEntropy entropy{4};
  TestLoop loop{clock};
  std::unique_ptr<Offload> offload = make_inline_offload();
  std::unique_ptr<Database> db = make_test_database(schema());
  std::unique_ptr<Blobs> blobs = open_file_blobs((dir.path() / "blobs").string(), *offload, {.fsync = false}).value();
  LogStore store{*db, *blobs, clock};
  AttemptId attempt = make_id<AttemptId>(clock, entropy);

  /// As chunks, or as an object.
  void write(const std::string& log) {
    LogChunks chunks(*db, *blobs, clock);
    for (std::size_t at = 0; at < log.size(); at += log_chunk_bytes)
      ASSERT_TRUE(loop.run(chunks.store(attempt, std::int64_t(at), log.substr(at, log_chunk_bytes))));
    if (GetParam()) ASSERT_TRUE(loop.run(LogCompactor(*db, *blobs, clock, entropy).compact(attempt)).value());
  }
  std::string lines(std::int64_t first, std::int64_t count) {
    auto read = loop.run(read_lines(store, attempt, first, count));
    return read ? *read : std::string(to_string(read.error().code));
  }
};

INSTANTIATE_TEST_SUITE_P(Of, Lines, testing::Bool(), [](auto& info) { return info.param ? "AnObject" : "Chunks"; });

TEST_P(Lines, AreFoundAnywhere) {
  std::string log;
  for (int i = 0; log.size() < 2'500'000; ++i) log += "line " + std::to_string(i) + (i % 1000 == 7 ? std::string(3000, '.') : "") + "\n";
  write(log);
  EXPECT_EQ(lines(0, 2), "line 0\nline 1\n");
  for (int i : {100, 4711, 65'536, 150'000}) EXPECT_EQ(lines(i, 1), "line " + std::to_string(i) + "\n");
  EXPECT_EQ(lines(100'000'000, 5), "");
  auto many = lines(20'000, 9'000);
  EXPECT_EQ(std::ranges::count(many, '\n'), 9'000);
  EXPECT_TRUE(many.starts_with("line 20000\n") && many.ends_with("line 28999\n"));
}

TEST_P(Lines, TheLastMayHaveNoEnd) {
  write("a\n\nc");
  EXPECT_EQ(lines(0, 3), "a\n\nc");
  EXPECT_EQ(lines(1, 1), "\n");
  EXPECT_EQ(lines(2, 5), "c");
  EXPECT_EQ(lines(3, 5), "");
}

TEST_P(Lines, ThatAreTooLongAreCut) {
  write(std::string(max_lines_bytes + 5, 'x') + "\nnext\n");
  EXPECT_EQ(lines(0, 1).size(), max_lines_bytes);
  EXPECT_EQ(lines(0, 2).size(), max_lines_bytes);
  EXPECT_EQ(lines(1, 1), "next\n");
}

TEST_P(Lines, SoManyAtOnceAndNoMore) {
  write(std::string(20'000, '\n'));
  EXPECT_EQ(lines(0, max_lines_at_once).size(), std::size_t(max_lines_at_once));
  EXPECT_EQ(lines(0, max_lines_at_once + 1), "invalid");
  EXPECT_EQ(lines(-1, 1), "invalid");
}

TEST_P(Lines, OfALogThatSaidNothingAreNone) { EXPECT_EQ(lines(0, 10), ""); }

}  // namespace
}  // namespace mayfly
