#include "roles/logs/compactor.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "adapters/files/blobs.h"
#include "async/offload.h"
#include "async/scope.h"
#include "roles/logs/log_chunks.h"
#include "roles/logs/log_objects.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

/// Says Errc::unavailable to one of the calls, before it has happened or after: as if the process had ended there.
struct Failure {
  int at = -1;
  bool after = false;
  int calls = 0;

  bool now(bool is_after) { return calls == at && after == is_after; }
  template <class T>
  Task<Result<T>> around(Task<Result<T>> call) {
    ++calls;
    if (now(false)) co_return fail(Errc::unavailable, "the process ends here");
    auto result = co_await std::move(call);
    if (now(true)) co_return fail(Errc::unavailable, "the process ends here");
    co_return result;
  }
};

class FailingDatabase final : public Database {
 public:
  FailingDatabase(Database& under, Failure& failure) : under_(under), failure_(failure) {}
  Task<Result<Rows>> query(Statement s) override { return failure_.around(under_.query(std::move(s))); }
  Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) override { return failure_.around(under_.transact(std::move(unit))); }

 private:
  Database& under_;
  Failure& failure_;
};

class FailingBlobs final : public Blobs {
 public:
  FailingBlobs(Blobs& under, Failure& failure) : under_(under), failure_(failure) {}
  Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view key) override {
    auto writer = co_await failure_.around(under_.create(key));
    if (writer) writer = std::make_unique<Writer>(*std::move(writer), failure_);
    co_return writer;
  }
  Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) override { return failure_.around(under_.put(key, bytes)); }
  Task<Result<std::string>> get(std::string_view key) override { return failure_.around(under_.get(key)); }
  Task<Result<std::string>> get_range(std::string_view key, std::int64_t offset, std::int64_t length) override {
    return failure_.around(under_.get_range(key, offset, length));
  }
  Task<Result<std::optional<BlobInfo>>> head(std::string_view key) override { return failure_.around(under_.head(key)); }
  Task<Result<std::vector<BlobInfo>>> list(std::string_view prefix, std::string_view after, std::size_t limit) override {
    return failure_.around(under_.list(prefix, after, limit));
  }
  Task<Result<void>> remove(std::string_view key) override { return failure_.around(under_.remove(key)); }
  std::optional<std::string> signed_url(std::string_view, Time, std::string_view) override { return std::nullopt; }
  std::optional<SignedPut> signed_put(std::string_view, std::int64_t, const Sha256&, Time) override { return std::nullopt; }

 private:
  class Writer final : public BlobWriter {
   public:
    Writer(std::unique_ptr<BlobWriter> under, Failure& failure) : under_(std::move(under)), failure_(failure) {}
    Task<Result<void>> write(std::string_view bytes) override { return failure_.around(under_->write(bytes)); }
    Task<Result<BlobInfo>> finish() override { return failure_.around(under_->finish()); }

   private:
    std::unique_ptr<BlobWriter> under_;
    Failure& failure_;
  };

  Blobs& under_;
  Failure& failure_;
};

constexpr std::string_view insert_attempt = R"sql(
insert into attempts (id, job_id, build_id, number, fence, pool, runner_id, outcome, reason, detail, assigned_at, end_time, log_bytes, steps)
values ($1, $1, $1, 1, 1, 'p', 'r', $2, '', '', 0, $3, 0, '[]'))sql";
constexpr std::string_view count_chunks = "select count(*) from log_chunks";
constexpr std::string_view count_untidy = "select count(*) from log_objects where untidy_since is not null";

/// Bytes no compressor makes small, with lines in them.
std::string noise(std::size_t size) {
  std::string out(size, '\0');
  std::uint32_t state = 9;
  for (auto& c : out) {
    state = state * 1664525 + 1013904223;
    c = state >> 24 < 4 ? '\n' : char(' ' + (state >> 16) % 90);
  }
  return out;
}

struct Compaction : testing::Test {
  TempDir dir;
  VirtualClock clock;
  SeededEntropy entropy{4};
  TestLoop loop{clock};
  std::unique_ptr<Offload> offload = make_inline_offload();
  std::unique_ptr<Database> db = make_test_database(schema());
  std::unique_ptr<Blobs> blobs = open_file_blobs((dir.path() / "blobs").string(), *offload, {.fsync = false}).value();
  LogChunks chunks{*db, *blobs, clock};
  LogCompactor compactor{*db, *blobs, clock, entropy};
  AttemptId attempt = make_id<AttemptId>(clock, entropy);

  void SetUp() override { add_attempt(attempt); }
  void add_attempt(AttemptId id, bool ended = true) {
    ASSERT_TRUE(loop.run(db->transact({statement(insert_attempt, id, ended ? std::optional<std::string>("success") : std::nullopt,
                                                 ended ? std::optional(clock.now()) : std::nullopt)})));
  }
  /// As many chunks as its pieces.
  std::string write(AttemptId id, std::vector<std::string> pieces) {
    std::string log;
    for (auto& piece : pieces) {
      EXPECT_TRUE(loop.run(chunks.store(id, std::int64_t(log.size()), piece)));
      log += piece;
    }
    return log;
  }
  std::string read(AttemptId id, std::int64_t from = 0, std::size_t max = 64 << 20) {
    std::string out;
    for (;;) {
      auto more = loop.run(chunks.read(id, from + std::int64_t(out.size()), max - out.size()));
      EXPECT_TRUE(more) << more.error().message;
      if (!more || more->empty()) return out;
      out += *more;
    }
  }
  std::int64_t number(std::string_view sql) { return int_at(loop.run(db->query(statement(sql))).value().rows.at(0), 0); }
  std::size_t kept(AttemptId id) { return loop.run(blobs->list(log_folder(id), "", 1000)).value().size(); }
  std::size_t sweep() { return loop.run(compactor.sweep()).value(); }
  void later() { clock.advance(compact_after + tidy_after); }
};

TEST_F(Compaction, AnEndedLogBecomesOneObjectAndReadsTheSame) {
  auto log = write(attempt, {"small\n", noise(300'000), noise(1 << 20), "end\n"});
  EXPECT_EQ(kept(attempt), 2u);
  later();
  EXPECT_EQ(sweep(), 1u);
  EXPECT_EQ(number(count_chunks), 0);
  EXPECT_TRUE(read(attempt) == log);
  EXPECT_TRUE(read(attempt, 299'000, 400'000) == log.substr(299'000, 400'000));
  EXPECT_EQ(read(attempt, std::int64_t(log.size())), "");
  EXPECT_EQ(loop.run(chunks.end(attempt)).value(), std::int64_t(log.size()));
  EXPECT_EQ(kept(attempt), 3u) << "who reads the chunks may read on";
  later();
  EXPECT_EQ(sweep(), 1u);
  EXPECT_EQ(kept(attempt), 1u);
  EXPECT_TRUE(read(attempt) == log);
  EXPECT_EQ(sweep(), 0u) << "nothing is left to do";
}

TEST_F(Compaction, ASmallLogIsARowWithoutABlob) {
  auto log = write(attempt, {"a\n", "b\n", std::string(70'000, 'x')});
  later();
  EXPECT_EQ(sweep(), 1u);
  later();
  sweep();
  EXPECT_EQ(kept(attempt), 0u);
  EXPECT_EQ(read(attempt), log);
}

TEST_F(Compaction, ALogThatMayGrowIsLeftAlone) {
  auto running = make_id<AttemptId>(clock, entropy);
  add_attempt(running, false);
  write(running, {"a\n", "b\n"});
  write(attempt, {"a\n", "b\n"});
  EXPECT_EQ(sweep(), 0u) << "the end is too near";
  later();
  EXPECT_EQ(sweep(), 1u);
  EXPECT_EQ(number(count_chunks), 2);
  EXPECT_EQ(read(running), "a\nb\n");
}

TEST_F(Compaction, AnAttemptThatSaidNothingHasNoObject) {
  later();
  EXPECT_EQ(sweep(), 0u);
  EXPECT_EQ(read(attempt), "");
}

TEST_F(Compaction, AHoleIsLeftAsItIs) {
  write(attempt, {"abc"});
  ASSERT_TRUE(loop.run(db->transact({chunks.row(attempt, 5, "later")})));
  later();
  EXPECT_EQ(loop.run(compactor.compact(attempt)).error().code, Errc::corrupt);
  EXPECT_EQ(number(count_chunks), 2);
  EXPECT_EQ(sweep(), 0u) << "and stops nobody";
}

TEST_F(Compaction, ManyAtOnceMakeOneObject) {
  auto log = write(attempt, {noise(200'000), noise(200'000)});
  LogCompactor other{*db, *blobs, clock, entropy};
  std::vector<bool> did;
  auto one = [&](LogCompactor& who) -> Task<void> {
    auto done = co_await who.compact(attempt);
    EXPECT_TRUE(done) << done.error().message;
    did.push_back(done.value_or(false));
  };
  auto both = [&]() -> Task<void> {
    Scope scope(loop.loop());
    scope.spawn(one(compactor));
    scope.spawn(one(other));
    scope.spawn(one(compactor));
    co_await scope.join();
  };
  loop.run(both());
  EXPECT_EQ(std::ranges::count(did, true), 1);
  later();
  sweep();
  EXPECT_EQ(kept(attempt), 1u);
  EXPECT_TRUE(read(attempt) == log);
}

TEST_F(Compaction, AChunkThatComesMeanwhileIsNotLost) {
  auto log = write(attempt, {noise(100'000)});
  struct Late final : Database {
    Database& under;
    std::function<Task<void>()> meanwhile;
    explicit Late(Database& u) : under(u) {}
    Task<Result<Rows>> query(Statement s) override { return under.query(std::move(s)); }
    Task<Result<std::vector<Rows>>> transact(std::vector<Statement> unit) override {
      co_await meanwhile();
      co_return co_await under.transact(std::move(unit));
    }
  } late(*db);
  late.meanwhile = [&]() -> Task<void> { EXPECT_TRUE(co_await chunks.store(attempt, 100'000, "the last word\n")); };
  LogCompactor slow{late, *blobs, clock, entropy};
  EXPECT_FALSE(loop.run(slow.compact(attempt)).value());
  EXPECT_TRUE(read(attempt) == log + "the last word\n");
  EXPECT_TRUE(loop.run(compactor.compact(attempt)).value());
  EXPECT_TRUE(read(attempt) == log + "the last word\n");
}

TEST_F(Compaction, WhoSpeaksAfterTheEndIsHeardStill) {
  auto log = write(attempt, {noise(100'000)});
  later();
  sweep();
  auto end = loop.run(chunks.end(attempt)).value();
  ASSERT_EQ(end, 100'000);
  auto more = noise(80'000);
  ASSERT_TRUE(loop.run(chunks.store(attempt, end, more)));
  EXPECT_TRUE(read(attempt) == log + more);
  EXPECT_TRUE(read(attempt, 90'000, 20'000) == (log + more).substr(90'000, 20'000));
  later();
  sweep();
  EXPECT_TRUE(read(attempt) == log + more) << "tidying leaves it";
}

TEST_F(Compaction, AWriterBackFromTheDeadChangesNothing) {
  auto log = write(attempt, {noise(100'000)});
  later();
  sweep();
  ASSERT_TRUE(loop.run(chunks.store(attempt, 0, log))) << "the first chunk again, of one that was stopped in the middle";
  EXPECT_TRUE(read(attempt) == log);
  later();
  sweep();
  EXPECT_TRUE(read(attempt) == log);
  EXPECT_EQ(number(count_chunks), 0);
  EXPECT_EQ(kept(attempt), 1u);
}

TEST_F(Compaction, AReaderInTheMiddleGoesOn) {
  auto log = write(attempt, {noise(1 << 20), noise(1 << 20)});
  auto first = read(attempt, 0, 1'500'000);
  later();
  sweep();
  later();
  sweep();
  EXPECT_TRUE(first + read(attempt, std::int64_t(first.size())) == log);
}

/// The process ends at every call of the whole work, before and after it happened.
TEST_F(Compaction, ACrashAnywhereLosesNothingAndLeavesNothing) {
  auto log = noise(150'000) + noise(1 << 20);
  int steps = 0;
  for (bool after : {false, true})
    for (int at = 1;; ++at) {
      auto id = make_id<AttemptId>(clock, entropy);
      add_attempt(id);
      write(id, {log.substr(0, 150'000), log.substr(150'000, 400'000), log.substr(550'000)});
      Failure failure{.at = at, .after = after};
      FailingDatabase failing_db(*db, failure);
      FailingBlobs failing_blobs(*blobs, failure);
      LogCompactor dying{failing_db, failing_blobs, clock, entropy};
      later();
      bool died = !loop.run(dying.sweep());
      ASSERT_TRUE(read(id) == log) << at;
      later();
      died = !loop.run(dying.sweep()) || died;
      ASSERT_TRUE(read(id) == log) << at;

      for (int i = 0; i < 3; ++i) later(), sweep();
      ASSERT_TRUE(read(id) == log) << at;
      ASSERT_EQ(number(count_chunks), 0) << at;
      ASSERT_EQ(number(count_untidy), 0) << at;
      ASSERT_EQ(kept(id), 1u) << at;
      if (!died) break;
      ++steps;
    }
  EXPECT_GT(steps, 30) << "the test reaches into the work";
}

}  // namespace
}  // namespace mayfly
