#include "runner/sidecar/log_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "domain/logs/shipped.h"

namespace mayfly {

Result<LogLines> LogLines::create(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0640));
  if (!file) return fail(errno == EEXIST ? Errc::conflict : Errc::unavailable, "cannot make the log file '" + path + "': " + std::strerror(errno));
  return LogLines(std::move(file));
}

Result<void> LogLines::write(const LogBatch& batch) {
  std::string lines;
  for (std::string_view rest = batch.frames; !rest.empty();) {
    TRY_ASSIGN(auto decoded, decode_frame(rest));
    rest.remove_prefix(decoded.size);
    auto& frame = decoded.frame;
    if (frame.offset < end_) continue;   // init's frames never overlap
    append_shipped_lines(lines, frame.offset, frame.text);
    end_ = frame.offset + std::int64_t(frame.text.size());
  }
  for (std::string_view rest = lines; !rest.empty();) {
    auto n = ::write(file_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Errc::unavailable, std::string("cannot write the log's lines: ") + std::strerror(errno));
    rest.remove_prefix(std::size_t(n));
  }
  return {};
}

}  // namespace mayfly
