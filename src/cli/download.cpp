#include "cli/download.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/digest.h"
#include "cli/persist.h"

namespace mayfly::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t read_buffer_bytes = 256 * 1024;

Error not_writable(const std::string& path) {
  return {Errc::invalid, "the file " + path + " cannot be written: " + std::strerror(errno), "choose another with -o"};
}

/// A partial file, and the digest of what is in it.
class PartialFile final {
 public:
  /// Continues what an earlier try left under this name.
  explicit PartialFile(std::string path) : path_(std::move(path)) {
    std::ifstream before(path_, std::ios::binary);
    std::string buffer(read_buffer_bytes, '\0');
    while (before.read(buffer.data(), std::streamsize(buffer.size())), before.gcount() > 0) {
      digest_.update(std::string_view(buffer).substr(0, std::size_t(before.gcount())));
      size_ += before.gcount();
    }
    file_.open(path_, std::ios::binary | std::ios::app);
  }

  bool good() const { return file_.good(); }
  std::int64_t size() const { return size_; }

  void append(std::string_view bytes) {
    file_.write(bytes.data(), std::streamsize(bytes.size()));
    digest_.update(bytes);
    size_ += std::int64_t(bytes.size());
  }

  /// Closes it; true if all was written.
  bool close() {
    file_.close();
    return file_.good();
  }
  std::string hex_digest() { return to_hex(digest_.digest()); }

 private:
  std::string path_;
  std::ofstream file_;
  Sha256Stream digest_;
  std::int64_t size_ = 0;
};

void show_progress(Session& session, std::int64_t size, std::int64_t whole) {
  if (session.world.console.terminal() && !session.json)
    session.world.console.err("\r\x1b[K" + format_bytes(size) + " of " + format_bytes(whole) + (size == whole ? "\n" : ""));
}

/// Reads from `position` to the artifact's end, over as many connections as it takes.
Task<Result<void>> read_rest(Session& session, const Artifact& artifact, std::int64_t position, Sink sink) {
  Persistence persistence(session.clock);
  while (position < artifact.size) {
    auto before = position;
    auto read = co_await session.api.artifact_bytes(artifact.id, position, [&](std::string_view bytes) {
      position += std::int64_t(bytes.size());
      sink(bytes);
    });
    if (position > before) persistence.progress();
    if (position >= artifact.size) break;
    auto error = read ? Error{Errc::unavailable, "the connection ended before the artifact did", {}} : std::move(read).error();
    CO_TRY(co_await persistence.after(std::move(error)));
  }
  co_return Result<void>();
}

Error wrong_digest(const Artifact& artifact, const std::string& got) {
  return {Errc::corrupt, "the bytes of " + artifact.path + " have the digest " + got + ", not " + artifact.sha256,
          "try again; if it stays so, the server's store is damaged"};
}

}  // namespace

Task<Result<void>> download(Session& session, Artifact artifact, std::string output) {
  auto partial_path = output + "." + artifact.sha256.substr(0, 12) + ".part";
  std::error_code ec;
  {
    auto left = fs::file_size(partial_path, ec);
    if (!ec && std::int64_t(left) > artifact.size) fs::remove(partial_path, ec);
  }
  PartialFile partial(partial_path);
  if (!partial.good()) co_return std::unexpected(not_writable(partial_path));
  CO_TRY(co_await read_rest(session, artifact, partial.size(), [&](std::string_view bytes) {
    partial.append(bytes);
    show_progress(session, partial.size(), artifact.size);
  }));
  if (!partial.close()) co_return std::unexpected(not_writable(partial_path));
  if (auto digest = partial.hex_digest(); digest != artifact.sha256) {
    fs::remove(partial_path, ec);
    co_return std::unexpected(wrong_digest(artifact, digest));
  }
  fs::rename(partial_path, output, ec);
  if (ec) co_return fail(Errc::invalid, "the file " + output + " cannot be written: " + ec.message(), "choose another with -o");
  co_return Result<void>();
}

Task<Result<void>> print_artifact(Session& session, Artifact artifact) {
  Sha256Stream stream;
  CO_TRY(co_await read_rest(session, artifact, 0, [&](std::string_view bytes) {
    stream.update(bytes);
    session.out(bytes);
  }));
  if (auto digest = to_hex(stream.digest()); digest != artifact.sha256) co_return std::unexpected(wrong_digest(artifact, digest));
  co_return Result<void>();
}

}  // namespace mayfly::cli
