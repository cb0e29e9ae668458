#include "runner/sidecar/api.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/digest.h"
#include "net/redirect.h"

namespace mayfly {
namespace {

constexpr std::size_t block_bytes = 256 << 10;
constexpr std::int64_t min_direct_bytes = 256 << 10;   // below it one call to the server is less than three
constexpr int store_tries = 4;                         // then the server is asked to take the bytes

/// Worth another try: the server is not there, or says that it is not up to it now.
bool is_passing(Errc code) {
  return code == Errc::unavailable || code == Errc::timeout || code == Errc::rate_limited || code == Errc::internal || code == Errc::canceled;
}

/// No other way to do the same would help.
bool ends_all(Errc code) { return code == Errc::fenced || code == Errc::unauthenticated || code == Errc::timeout; }

Error error_in(const http::ClientResponse& answer) { return http::error_of(answer.status, answer.headers, answer.body); }

}  // namespace

RunnerApi::RunnerApi(http::Client& client, Clock& clock, Entropy& entropy, std::string_view urls, AttemptId attempt, RetryLimits limits)
    : client_(client), clock_(clock), entropy_(entropy), limits_(limits) {
  while (!urls.empty() || bases_.empty()) {
    auto end = std::min(urls.find(','), urls.size());
    std::string base(urls.substr(0, end));
    urls.remove_prefix(std::min(end + 1, urls.size()));
    while (base.ends_with('/')) base.pop_back();
    if (base.starts_with("unix:")) base += ":";
    bases_.push_back(base + "/runner/v1/attempts/" + attempt.str());
  }
}

/// After a gateway did not answer: true when there is another that has not failed since one last worked.
bool RunnerApi::try_next(std::size_t failed) {
  if (failed == current_) {
    current_ = (current_ + 1) % bases_.size();
    ++failed_in_a_row_;
  }
  if (failed_in_a_row_ < bases_.size()) return true;
  failed_in_a_row_ = 0;
  return false;
}

void RunnerApi::identify(std::string attempt_token, Fence fence) {
  token_ = std::move(attempt_token);
  fence_ = fence;
}

std::vector<std::string> RunnerApi::addresses() const {
  std::vector<std::string> out(bases_.begin() + static_cast<std::ptrdiff_t>(current_), bases_.end());
  out.insert(out.end(), bases_.begin(), bases_.begin() + static_cast<std::ptrdiff_t>(current_));
  return out;
}

http::ClientRequest RunnerApi::request(std::string method, std::string path, std::string body) const {
  http::ClientRequest r;
  r.method = std::move(method);
  r.url = bases_[current_] + path;
  r.deadline = clock_.now() + limits_.call_limit;
  r.headers.add("Content-Type", "application/json");
  if (!token_.empty()) {
    r.headers.add("Authorization", "Bearer " + token_);
    r.headers.add("Mayfly-Fence", std::to_string(fence_.value));
  }
  r.body = std::move(body);
  return r;
}

Task<Result<void>> RunnerApi::pause(int failures, Time give_up, const Error& last) {
  auto longest = std::min<Duration>(limits_.longest_pause, limits_.first_pause * (std::int64_t(1) << std::min(failures, 20)));
  std::array<std::uint8_t, 2> chance;
  entropy_.fill(chance);
  auto share = 0.5 + 0.5 * (chance[0] * 256 + chance[1]) / 65536;
  auto length = Duration(static_cast<std::int64_t>(static_cast<double>(longest.count()) * share));
  if (clock_.now() + length >= give_up)
    co_return fail(Errc::timeout, "the server did not answer for " + format_duration(limits_.give_up_after) + ": " + last.message);
  co_await sleep_for(clock_, length);
  co_return Result<void>{};
}

Task<Result<http::ClientResponse>> RunnerApi::call(MakeRequest make) {
  auto give_up = clock_.now() + limits_.give_up_after;
  for (int failures = 0;; ++failures) {
    auto asked = current_;
    auto answer = co_await client_.send(make());
    if (answer && answer->ok()) {
      failed_in_a_row_ = 0;
      co_return answer;
    }
    auto error = answer ? error_in(*answer) : answer.error();
    if (!is_passing(error.code)) co_return std::unexpected(error);
    bool another = try_next(asked);
    if (!answer && another) continue;
    CO_TRY(co_await pause(failures, give_up, error));
  }
}

Task<Result<StartAnswer>> RunnerApi::start(StartRequest start) {
  auto body = to_json(start);
  CO_TRY_ASSIGN(auto answer, co_await call([&] { return request("POST", "/start", body); }));
  co_return start_answer_from_json(answer.body);
}

Task<Result<HeartbeatAnswer>> RunnerApi::heartbeat(HeartbeatRequest beat) {
  auto what = request("POST", "/heartbeat", to_json(beat));
  what.deadline += std::chrono::milliseconds(beat.wait_ms);
  auto asked = current_;
  auto answer = co_await client_.send(std::move(what));
  if (!answer) {
    (void)try_next(asked);
    co_return fail(Errc::unavailable, answer.error().message);
  }
  if (!answer->ok()) {
    auto error = error_in(*answer);
    if (is_passing(error.code)) {
      (void)try_next(asked);
      error.code = Errc::unavailable;
    }
    co_return std::unexpected(error);
  }
  failed_in_a_row_ = 0;
  co_return heartbeat_answer_from_json(answer->body);
}

Task<Result<LogsAnswer>> RunnerApi::logs(std::string frames) {
  CO_TRY_ASSIGN(auto answer, co_await call([&] {
    auto r = request("POST", "/logs", frames);
    r.headers.set("Content-Type", "application/vnd.mayfly.log-frames");
    return r;
  }));
  co_return logs_answer_from_json(answer.body);
}

Task<Result<void>> RunnerApi::steps(StepsReport report) {
  auto body = to_json(report);
  CO_TRY(co_await call([&] { return request("POST", "/steps", body); }));
  co_return Result<void>{};
}

http::BodySource RunnerApi::bytes_of(int fd, std::int64_t size) const {
  auto write = [fd, size](http::BodyWriter& to) -> Task<Result<void>> {
    std::vector<char> block(block_bytes);
    for (std::int64_t at = 0; at < size;) {
      auto n = ::pread(fd, block.data(), std::min<std::size_t>(block.size(), static_cast<std::size_t>(size - at)), at);
      if (n <= 0) co_return fail(Errc::invalid, "the file became shorter while it was read");
      CO_TRY(co_await to.write({block.data(), static_cast<std::size_t>(n)}));
      at += n;
    }
    co_return Result<void>{};
  };
  return {.write = write, .length = static_cast<std::uint64_t>(size)};
}

Task<Result<void>> RunnerApi::upload(std::string kind, std::string path, int fd, std::int64_t size, Sha256 digest) {
  NewUpload upload{.kind = std::move(kind), .path = std::move(path), .size = size, .sha256 = to_hex(digest)};
  if (size >= min_direct_bytes && store_reached_) {
    CO_TRY_ASSIGN(auto done, co_await upload_direct(upload, fd));
    if (done) co_return Result<void>{};
  }
  co_return co_await upload_through(upload, fd);
}

/// False: the bytes have to go through the server.
Task<Result<bool>> RunnerApi::upload_direct(const NewUpload& upload, int fd) {
  auto body = to_json(upload);
  auto prepared = co_await call([&] { return request("POST", "/artifacts/prepare", body); });
  if (!prepared && ends_all(prepared.error().code)) co_return std::unexpected(prepared.error());
  if (!prepared) co_return false;   // the upload through the server will say why
  CO_TRY_ASSIGN(auto where, prepared_upload_from_json(prepared->body));
  if (where.url.empty()) co_return false;
  if (!co_await put_to_store(where, fd, upload.size)) co_return false;
  auto commit = to_json(UploadCommit{where.id});
  auto committed = co_await call([&] { return request("POST", "/artifacts/commit", commit); });
  if (!committed && ends_all(committed.error().code)) co_return std::unexpected(committed.error());
  co_return committed.has_value();
}

Task<bool> RunnerApi::put_to_store(const PreparedUpload& where, int fd, std::int64_t size) {
  auto give_up = clock_.now() + limits_.transfer_limit;
  for (int failures = 0; failures < store_tries; ++failures) {
    http::ClientRequest put{.method = "PUT", .url = where.url, .body = bytes_of(fd, size), .deadline = clock_.now() + limits_.transfer_limit};
    put.headers.fields = where.headers;
    auto answer = co_await client_.send(std::move(put));
    constexpr int there_already = 412;   // an earlier try came through unheard
    if (answer && (answer->ok() || answer->status == there_already)) co_return true;
    if (answer && answer->status < 500) co_return false;
    auto error = answer ? error_in(*answer) : answer.error();
    if (!co_await pause(failures, give_up, error)) co_return false;
  }
  store_reached_ = false;
  co_return false;
}

Task<Result<void>> RunnerApi::upload_through(const NewUpload& upload, int fd) {
  auto target = "/artifacts?kind=" + http::percent_encode(upload.kind) + "&path=" + http::percent_encode(upload.path);
  CO_TRY_ASSIGN(auto digest, from_hex(upload.sha256));
  CO_TRY(co_await call([&] {
    auto r = request("PUT", target, {});
    r.headers.set("Content-Type", "application/octet-stream");
    r.headers.add("Digest", "sha-256=" + to_base64(digest));
    r.deadline = clock_.now() + limits_.transfer_limit;
    r.body = bytes_of(fd, upload.size);
    return r;
  }));
  co_return Result<void>{};
}

Task<Result<void>> RunnerApi::download_once(const NeededArtifact& artifact, int fd, bool direct) {
  if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) co_return fail(Errc::invalid, "cannot empty the file for a download");
  auto what = request("GET", "/artifacts/" + http::percent_encode(artifact.id) + (direct ? "" : "?direct=no"), {});
  what.deadline = clock_.now() + limits_.transfer_limit;
  CO_TRY_ASSIGN(auto stream, co_await http::open_following(client_, std::move(what)));
  std::vector<char> block(block_bytes);
  Sha256Stream hash;
  std::string refusal;
  for (std::int64_t total = 0;;) {
    CO_TRY_ASSIGN(auto n, co_await stream->read(block));
    if (n == 0) break;
    std::string_view bytes(block.data(), n);
    if (stream->status() != 200) {
      refusal.append(bytes.substr(0, block_bytes - std::min(block_bytes, refusal.size())));
      continue;
    }
    total += static_cast<std::int64_t>(n);
    if (total > artifact.size) co_return fail(Errc::corrupt, "'" + artifact.path + "' is longer than it was when it was stored");
    hash.update(bytes);
    for (std::size_t at = 0; at < n;) {
      auto written = ::write(fd, bytes.data() + at, n - at);
      if (written <= 0) co_return fail(Errc::too_large, "there is no room for '" + artifact.path + "'");
      at += static_cast<std::size_t>(written);
    }
  }
  if (stream->status() != 200) co_return std::unexpected(http::error_of(stream->status(), stream->headers(), refusal));
  if (to_hex(hash.digest()) != artifact.sha256) co_return fail(Errc::corrupt, "'" + artifact.path + "' is not what was stored: its digest differs");
  co_return Result<void>{};
}

Task<Result<void>> RunnerApi::download(NeededArtifact artifact, int fd) {
  auto give_up = clock_.now() + limits_.give_up_after;
  for (int failures = 0;; ++failures) {
    // Every other try goes through the server: the store may be out of reach from here, or the link too old.
    bool direct = failures % 2 == 0;
    auto asked = current_;
    auto done = co_await download_once(artifact, fd, direct);
    if (done || (!is_passing(done.error().code) && !direct)) co_return done;
    (void)try_next(asked);
    CO_TRY(co_await pause(failures, give_up, done.error()));
  }
}

Task<Result<void>> RunnerApi::shell(std::string shell, http::WebSocketUse use) {
  constexpr int tries = 10;
  auto give_up = clock_.now() + limits_.give_up_after;
  bool begun = false;
  auto once = [&begun, &use](http::WebSocket& socket) {
    begun = true;
    return use(socket);
  };
  for (int failures = 0;; ++failures) {
    auto asked = current_;
    auto used = co_await client_.websocket(request("GET", "/shells/" + http::percent_encode(shell), {}), once);
    if (used || begun || !is_passing(used.error().code) || failures + 1 == tries) co_return used;
    (void)try_next(asked);
    CO_TRY(co_await pause(failures, give_up, used.error()));
  }
}

Task<Result<void>> RunnerApi::shell_ended(std::string shell, ShellReport report) {
  auto body = to_json(report);
  auto path = "/shells/" + http::percent_encode(shell) + "/ended";
  CO_TRY(co_await call([&] { return request("POST", path, body); }));
  co_return Result<void>{};
}

Task<Result<void>> RunnerApi::finish(FinishReport report) {
  auto body = to_json(report);
  CO_TRY(co_await call([&] { return request("POST", "/finish", body); }));
  co_return Result<void>{};
}

}  // namespace mayfly
