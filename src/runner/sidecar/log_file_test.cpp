#include "runner/sidecar/log_file.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using testing::HasSubstr;

class LogFileTest : public testing::Test {
 protected:
  LogFileTest() : file_(*LogFile::create(path())) {}
  std::string path() const { return directory_.file("log"); }

  /// As mayfly-init would.
  void write(std::string_view text) {
    std::string frame;
    append_frame(frame, {.offset = length_, .time = {}, .step = 1, .stream = LogStream::out, .text = text});
    length_ += static_cast<std::int64_t>(text.size());
    write_raw(frame);
  }
  void write_raw(std::string_view bytes) { ASSERT_EQ(::write(file_.append_fd(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size())); }

  std::string next_text() {
    auto batch = file_.next();
    if (!batch) return "error: " + batch.error().message;
    std::string out;
    for (std::string_view rest = batch->frames; !rest.empty();) {
      auto got = decode_frame(rest);
      out += got->frame.text;
      rest.remove_prefix(got->size);
    }
    EXPECT_EQ(batch->end - batch->begin, static_cast<std::int64_t>(out.size()));
    return out;
  }

  TempDir directory_;
  LogFile file_;
  std::int64_t length_ = 0;
};

TEST_F(LogFileTest, IsNeverUsedTwice) {
  auto again = LogFile::create(path());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict);
}

TEST_F(LogFileTest, GivesWholeFramesAsTheyCome) {
  EXPECT_EQ(next_text(), "");
  write("one ");
  write("two ");
  EXPECT_EQ(next_text(), "one two ");
  std::string frame;
  append_frame(frame, {.offset = length_, .time = {}, .step = 1, .stream = LogStream::out, .text = "three"});
  write_raw(frame.substr(0, 35));
  EXPECT_EQ(next_text(), "") << "half a frame is none yet";
  write_raw(frame.substr(35));
  EXPECT_EQ(next_text(), "three");
  EXPECT_EQ(file_.position(), 13);
}

TEST_F(LogFileTest, GivesAtMostABatch) {
  std::string text(max_frame_text_bytes, 'x');
  for (int i = 0; i < 20; ++i) write(text);
  auto batch = file_.next();
  ASSERT_TRUE(batch);
  EXPECT_LE(batch->frames.size(), max_log_batch_bytes);
  EXPECT_EQ(batch->end, static_cast<std::int64_t>(15 * max_frame_text_bytes));
}

TEST_F(LogFileTest, GoesBackToWhatTheServerWants) {
  for (auto word : {"one ", "two ", "three "}) {
    write(word);
    EXPECT_EQ(next_text(), word);
  }
  ASSERT_TRUE(file_.rewind(5));
  EXPECT_EQ(next_text(), "two three ") << "from the batch that holds it";
  ASSERT_TRUE(file_.rewind(0));
  EXPECT_EQ(next_text(), "one two three ");
}

TEST_F(LogFileTest, WhatIsDurableIsForgotten) {
  for (auto word : {"one ", "two ", "three "}) {
    write(word);
    next_text();
  }
  file_.forget(8);
  auto back = file_.rewind(3);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Errc::invalid);
}

TEST_F(LogFileTest, NoticesWhatInitWouldNotWrite) {
  write("good");
  write_raw("garbage that is longer than a header is");
  EXPECT_EQ(next_text(), "good") << "what is good goes first";
  EXPECT_THAT(next_text(), HasSubstr("not as mayfly-init writes it"));
}

TEST_F(LogFileTest, NoticesOffsetsThatDoNotFollow) {
  write("good");
  length_ = 100;
  write("elsewhere");
  EXPECT_EQ(next_text(), "good");
  EXPECT_THAT(next_text(), HasSubstr("an offset does not follow"));
}

TEST_F(LogFileTest, EndsWithLinesOfOursInPlaceOfAHalfFrame) {
  write("one\n");
  std::string frame;
  append_frame(frame, {.offset = length_, .time = {}, .step = 1, .stream = LogStream::out, .text = "never finished"});
  write_raw(frame.substr(0, 40));
  ASSERT_TRUE(file_.say("first note", Time{}));
  ASSERT_TRUE(file_.say("second note", Time{}));
  EXPECT_EQ(next_text(), "one\nmayfly: first note\nmayfly: second note\n");
}

TEST_F(LogFileTest, AWatchTellsOfWrites) {
  TestLoop loop;
  FileWatch watch(loop.loop(), path());
  write("one");
  loop.run(watch.changed());
  write("two");
  loop.run(watch.changed());
  SUCCEED() << "a missed write would make run() throw";
}

}  // namespace
}  // namespace mayfly
