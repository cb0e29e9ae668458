#include "runner/init/log_writer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

namespace mayfly {
namespace {

/// A log file in memory, read back as frames.
class LogFile final {
 public:
  LogFile() : fd_(::memfd_create("log", MFD_CLOEXEC)) {}
  ~LogFile() { ::close(fd_); }
  int fd() const { return fd_; }

  struct Frame {
    std::int64_t offset;
    int step;
    LogStream stream;
    std::string text;
  };
  std::vector<Frame> frames() const {
    std::string bytes(static_cast<std::size_t>(::lseek(fd_, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd_, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    std::vector<Frame> out;
    for (std::string_view rest = bytes; !rest.empty();) {
      auto got = decode_frame(rest);
      if (!got || got->size == 0) {
        ADD_FAILURE() << "not a whole frame";
        break;
      }
      out.push_back({got->frame.offset, got->frame.step, got->frame.stream, std::string(got->frame.text)});
      rest.remove_prefix(got->size);
    }
    return out;
  }
  std::string text() const {
    std::string out;
    for (auto& f : frames()) {
      EXPECT_EQ(f.offset, static_cast<std::int64_t>(out.size())) << "offsets have no gap";
      out += f.text;
    }
    return out;
  }

 private:
  int fd_;
};

std::shared_ptr<const MaskPatterns> secret() { return MaskPatterns::make({"hunter2"}); }
const Time start = from_micros(1'700'000'000'000'000);
constexpr std::int64_t no_limit = std::int64_t(1) << 40;
using std::chrono::milliseconds;

TEST(LogWriter, WritesTheFirstBytesAtOnceAndGathersThoseThatFollow) {
  LogFile file;
  LogWriter log(file.fd(), secret(), no_limit);
  log.write(1, LogStream::out, "x", start);
  EXPECT_EQ(file.text(), "x");
  log.write(1, LogStream::out, "y", start + milliseconds(1));
  log.write(1, LogStream::out, "z", start + milliseconds(2));
  EXPECT_EQ(file.text(), "x");
  EXPECT_EQ(log.due(), start + log_gather_time);
  log.tick(start + log_gather_time);
  EXPECT_EQ(file.text(), "xyz");
  EXPECT_EQ(file.frames().size(), 2u);
  EXPECT_EQ(log.due(), Time::max());
}

TEST(LogWriter, KeepsTheOrderOfOutputAndError) {
  LogFile file;
  LogWriter log(file.fd(), secret(), no_limit);
  log.write(1, LogStream::out, "one ", start);
  log.write(1, LogStream::err, "two ", start);
  log.write(1, LogStream::out, "three", start);
  log.finish(start);
  EXPECT_EQ(file.text(), "one two three");
  EXPECT_EQ(file.frames()[1].stream, LogStream::err);
}

TEST(LogWriter, HidesASecretThatComesInPieces) {
  LogFile file;
  LogWriter log(file.fd(), secret(), no_limit);
  log.write(1, LogStream::out, "x hunt", start);
  log.write(1, LogStream::err, "hunter", start);
  log.write(1, LogStream::out, "er2 y", start + milliseconds(500));
  log.end_stream(1, LogStream::err, start + milliseconds(500));
  log.finish(start + milliseconds(500));
  EXPECT_EQ(file.text(), "x *** yhunter");
}

TEST(LogWriter, SaysItsOwnOnALineOfItsOwn) {
  LogFile file;
  LogWriter log(file.fd(), secret(), no_limit);
  log.write(3, LogStream::out, "half a line", start);
  log.say(3, "step 'hunter2' timed out", start);
  log.say(3, "again", start);
  EXPECT_EQ(file.text(), "half a line\nmayfly: step '***' timed out\nmayfly: again\n");
  EXPECT_EQ(file.frames()[1].stream, LogStream::mayfly);
}

TEST(LogWriter, KeepsFramesUnderTheirLimit) {
  LogFile file;
  LogWriter log(file.fd(), secret(), no_limit);
  std::string big(3 * max_frame_text_bytes + 17, 'x');
  log.write(1, LogStream::out, big, start);
  EXPECT_EQ(file.text(), big);
  EXPECT_EQ(file.frames().size(), 4u);
}

TEST(LogWriter, CountsAndSaysWhatIsBeyondTheLimit) {
  LogFile file;
  const std::int64_t limit = log_reserve_bytes + 100;
  LogWriter log(file.fd(), secret(), limit);
  log.write(1, LogStream::out, std::string(100, 'a'), start);
  EXPECT_EQ(log.dropped(), 0) << "at the limit";
  log.write(1, LogStream::out, "b", start);
  log.write(1, LogStream::err, std::string(50, 'c'), start);
  EXPECT_EQ(log.dropped(), 51);
  log.finish(start);
  EXPECT_EQ(file.text(), std::string(100, 'a') + "\nmayfly: the log has reached its limit of " + std::to_string(limit) +
                             " bytes; further output is not kept\nmayfly: 51 bytes of output were not kept: the log's limit is " +
                             std::to_string(limit) + " bytes\n");
}

TEST(LogWriter, LimitsTheFileEvenIfEveryByteIsAFrame) {
  LogFile file;
  const std::int64_t limit = log_reserve_bytes + 8000;
  LogWriter log(file.fd(), secret(), limit);
  for (int i = 0; i < 8000; ++i) log.write(1, i % 2 ? LogStream::out : LogStream::err, "x", start);
  log.finish(start);
  EXPECT_GT(log.dropped(), 0);
  EXPECT_LE(::lseek(file.fd(), 0, SEEK_END), 2 * limit + 1000);
}

TEST(LogWriter, AFullDiskKeepsBytesWaitingAndLosesNone) {
  LogFile file;
  // A file sealed against growing is a disk that is full.
  int fd = ::memfd_create("full", MFD_ALLOW_SEALING);
  ASSERT_EQ(::ftruncate(fd, 0), 0);
  ASSERT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
  int slot = ::dup(fd);
  LogWriter log(slot, secret(), no_limit);
  std::string text(log_backlog_bytes, 'z');
  log.write(1, LogStream::out, text, start);
  EXPECT_TRUE(log.blocked());
  EXPECT_EQ(log.due(), start + milliseconds(100));
  ASSERT_EQ(::dup2(file.fd(), slot), slot);  // space again
  log.tick(log.due());
  EXPECT_FALSE(log.blocked());
  EXPECT_EQ(log.backlog(), 0u);
  EXPECT_EQ(file.text(), text);
  ::close(slot);
  ::close(fd);
}

TEST(LogWriter, KnowsWhichTextHoldsASecret) {
  LogFile file;
  LogWriter log(file.fd(), secret(), no_limit);
  EXPECT_TRUE(log.holds_secret("a hunter2 b"));
  EXPECT_TRUE(log.holds_secret("68756e74657232")) << "in hex";
  EXPECT_FALSE(log.holds_secret("hunter"));
}

}  // namespace
}  // namespace mayfly
