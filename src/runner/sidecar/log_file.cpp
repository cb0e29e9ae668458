#include "runner/sidecar/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace mayfly {
namespace {

std::unexpected<Error> tampered(std::string_view how) { return fail(Errc::corrupt, "the log file is not as mayfly-init writes it: " + std::string(how)); }

}  // namespace

Result<LogFile> LogFile::create(const std::string& path) {
  UniqueFd append(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
  if (!append) return fail(errno == EEXIST ? Errc::conflict : Errc::unavailable, "cannot make the log file '" + path + "': " + std::strerror(errno));
  UniqueFd read(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!read) return fail(Errc::unavailable, "cannot read the log file '" + path + "': " + std::strerror(errno));
  return LogFile(std::move(append), std::move(read));
}

Result<LogFile> LogFile::open(const std::string& path) {
  UniqueFd append(::open(path.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC));
  if (!append) return fail(errno == ENOENT ? Errc::not_found : Errc::unavailable, "cannot open the log file '" + path + "': " + std::strerror(errno));
  UniqueFd read(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!read) return fail(Errc::unavailable, "cannot read the log file '" + path + "': " + std::strerror(errno));
  return LogFile(std::move(append), std::move(read));
}

Result<LogBatch> LogFile::next() {
  buffer_.resize(max_log_batch_bytes);
  auto n = ::pread(read_.get(), buffer_.data(), buffer_.size(), place_);
  if (n < 0) return fail(Errc::unavailable, std::string("cannot read the log file: ") + std::strerror(errno));
  std::string_view bytes(buffer_.data(), static_cast<std::size_t>(n));
  LogBatch batch{.frames = {}, .begin = at_, .end = at_};
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    auto got = decode_frame(bytes.substr(taken));
    bool good = got && (got->size == 0 || got->frame.offset == batch.end);
    if (!good && taken == 0) return tampered(got ? "an offset does not follow" : got.error().message);
    if (!good || got->size == 0) break;   // what is good goes first
    batch.end += static_cast<std::int64_t>(got->frame.text.size());
    taken += got->size;
  }
  if (taken == 0) return batch;
  batch.frames = bytes.substr(0, taken);
  if (marks_.empty() || marks_.back().offset < at_) marks_.push_back({at_, place_});
  at_ = batch.end;
  place_ += static_cast<std::int64_t>(taken);
  return batch;
}

Result<void> LogFile::rewind(std::int64_t offset) {
  while (!marks_.empty() && marks_.back().offset > offset) marks_.pop_back();
  if (marks_.empty()) return fail(Errc::invalid, "the server asks for log bytes at " + std::to_string(offset) + " that it has called durable");
  at_ = marks_.back().offset;
  place_ = marks_.back().place;
  return {};
}

void LogFile::forget(std::int64_t offset) {
  while (marks_.size() > 1 && marks_[1].offset <= offset) marks_.pop_front();
}

Result<void> LogFile::say(std::string_view text, Time now) {
  auto at = at_, place = place_;
  for (;;) {
    TRY_ASSIGN(auto batch, next());
    if (batch.frames.empty()) break;
  }
  if (::ftruncate(append_.get(), place_) != 0) return fail(Errc::unavailable, std::string("cannot cut the log file: ") + std::strerror(errno));
  auto line = "mayfly: " + std::string(text.substr(0, max_frame_text_bytes / 2)) + "\n";
  std::string frame;
  append_frame(frame, {.offset = at_, .time = now, .step = 0, .stream = LogStream::mayfly, .text = line});
  said_end_ = at_ + static_cast<std::int64_t>(line.size());
  at_ = at;
  place_ = place;
  if (::write(append_.get(), frame.data(), frame.size()) != static_cast<ssize_t>(frame.size()))
    return fail(Errc::unavailable, std::string("cannot write the log file: ") + std::strerror(errno));
  return {};
}

}  // namespace mayfly
