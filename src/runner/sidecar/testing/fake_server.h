#pragma once
// The server's side of the runner protocol, small enough to be wrong in every way a test wants: it can go away, forget what
// it has not made durable, refuse, cancel.

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "adapters/system/system_clock.h"
#include "base/digest.h"
#include "domain/logs/frame.h"
#include "domain/runner/protocol.h"
#include "net/test_server.h"

namespace mayfly {

class FakeServer final {
 public:
  struct Upload {
    std::string kind;
    std::string path;
    std::string bytes;
  };

  explicit FakeServer(RunnerJob job) : job_(std::move(job)) {
    add_routes();
    add_store_routes();
    up();
  }

  // What the test arranges.
  void up() { server_ = std::make_unique<http::testing_support::TestServer>(router_, http::ServerOptions{}, address_); address_ = server_->address(); }
  void down() { server_.reset(); }
  /// A second gateway to the same server.
  void second_up() { second_ = std::make_unique<http::testing_support::TestServer>(router_, http::ServerOptions{}, "127.0.0.1:0"); }
  void second_down() { second_.reset(); }
  /// Says of the log's end, once, that it has it, and loses it on the way to storage.
  void lose_when_silent() { with([&] { lose_ = true; }); }
  /// As a server that was killed: log bytes that were not durable are not there any more.
  void forget() { with([&] { log_.resize(static_cast<std::size_t>(durable_)); }); }
  void forget_at_finish() { with([&] { forget_at_finish_ = true; }); }
  void cancel(std::int64_t grace_ms) { with([&] { cancel_ = true; grace_ms_ = grace_ms; }); }
  void fence() { with([&] { fenced_ = true; }); }
  void refuse_start() { with([&] { refuse_start_ = true; }); }
  /// Log bytes become durable only with the attempt's end.
  void keep_in_memory() { with([&] { eager_ = false; }); }
  /// Answers 503 to so many calls.
  void stumble(int calls) { with([&] { stumbles_ = calls; }); }
  void provide(std::string id, std::string bytes) { with([&] { stored_[id] = std::move(bytes); }); }
  /// Says 503 to every download.
  void hold_downloads() { with([&] { hold_downloads_ = true; }); }
  /// Has a blob store of its own, at another address, where runners may send large files and fetch what they need.
  void keep_blobs_apart() { with([&] { apart_ = true; }); }
  /// The store answers so many PUTs and GETs with 503.
  void store_stumbles(int times) { with([&] { store_stumbles_ = times; }); }
  void refuse_uploads() { with([&] { refuse_uploads_ = true; }); }

  // What it has seen.
  std::string url() const { return "http://" + address_; }
  std::string second_url() const { return "http://" + second_->address(); }
  std::string log() { return with([&] { return log_; }); }
  std::optional<FinishReport> finished() { return with([&] { return finished_; }); }
  int finishes() { return with([&] { return finishes_; }); }
  int direct_uploads() { return with([&] { return direct_uploads_; }); }
  int direct_downloads() { return with([&] { return direct_downloads_; }); }
  std::vector<Upload> uploads() { return with([&] { return uploads_; }); }
  std::vector<StepsReport> reports() { return with([&] { return reports_; }); }
  std::string boot_token() { return with([&] { return boot_token_; }); }
  std::string identity() { return with([&] { return identity_; }); }
  std::string runner() { return with([&] { return runner_; }); }
  int downloads_asked() { return with([&] { return downloads_asked_; }); }
  int rewinds() { return with([&] { return rewinds_; }); }
  std::vector<std::string> breaches() { return with([&] { return breaches_; }); }

  void wait_for_log(std::string_view text) {
    for (int i = 0; i < 6000; ++i, ::usleep(5'000))
      if (log().find(text) != std::string::npos) return;
    ADD_FAILURE() << "the server never got '" << text << "' but: " << log();
  }

 private:
  template <class F>
  std::invoke_result_t<F> with(F f) {
    std::lock_guard lock(mutex_);
    return f();
  }

  using Answer = http::Response;
  static Answer refused(Errc code, std::string text) { return http::problem(Error{code, std::move(text), {}}); }

  /// What every call but start is checked for.
  std::optional<Answer> check(const http::Request& r) {
    if (stumbles_ > 0) {
      --stumbles_;
      return refused(Errc::unavailable, "stumbled");
    }
    if (fenced_) return refused(Errc::fenced, "another attempt is current");
    if (r.headers.get("Authorization") != "Bearer attempt-token" || r.headers.get("Mayfly-Fence") != "7") {
      breaches_.push_back("a call without its token: " + r.target);
      return refused(Errc::unauthenticated, "no token");
    }
    return std::nullopt;
  }

  void add_routes() {
    auto base = std::string("/runner/v1/attempts/{id}");
    router_.add("POST", base + "/start", [this](http::Request r) -> Task<Answer> { co_return with([&] { return start(r); }); });
    router_.add("POST", base + "/heartbeat", [this](http::Request r) -> Task<Answer> { return heartbeat(std::move(r)); });
    router_.add("POST", base + "/logs", [this](http::Request r) -> Task<Answer> { co_return with([&] { return logs(r); }); }, {.max_body_bytes = max_log_request_bytes});
    router_.add("POST", base + "/steps", [this](http::Request r) -> Task<Answer> { co_return with([&] { return steps(r); }); });
    router_.add("POST", base + "/finish", [this](http::Request r) -> Task<Answer> { co_return with([&] { return finish(r); }); }, {.max_body_bytes = 8 << 20});
    router_.add("PUT", base + "/artifacts", [this](http::Request r) -> Task<Answer> { co_return with([&] { return upload(r); }); }, {.max_body_bytes = 64 << 20});
    router_.add("POST", base + "/artifacts/prepare", [this](http::Request r) -> Task<Answer> { co_return with([&] { return prepare(r); }); });
    router_.add("POST", base + "/artifacts/commit", [this](http::Request r) -> Task<Answer> { co_return with([&] { return commit(r); }); });
    router_.add("GET", base + "/artifacts/{artifact}", [this](http::Request r) -> Task<Answer> { co_return with([&] { return download(r); }); });
  }

  void add_store_routes() {
    store_router_.add("PUT", "/bucket/{id}", [this](http::Request r) -> Task<Answer> { co_return with([&] { return store_put(r); }); }, {.max_body_bytes = 64 << 20});
    store_router_.add("GET", "/bucket/{id}", [this](http::Request r) -> Task<Answer> { co_return with([&] { return store_get(r); }); });
    store_ = std::make_unique<http::testing_support::TestServer>(store_router_);
  }

  std::optional<Answer> check_store(const http::Request& r) {
    if (r.headers.has("Authorization") || r.headers.has("Mayfly-Fence")) breaches_.push_back("the store was shown our token");
    if (store_stumbles_ == 0) return std::nullopt;
    --store_stumbles_;
    return refused(Errc::unavailable, "SlowDown");
  }

  Answer prepare(const http::Request& r) {
    if (auto no = check(r)) return *std::move(no);
    auto wanted = new_upload_from_json(r.body);
    if (!wanted) return refused(Errc::invalid, wanted.error().message);
    if (!apart_) return http::json_response(200, to_json(PreparedUpload{}));
    auto id = "u" + std::to_string(prepared_.size());
    prepared_[id] = *wanted;
    return http::json_response(200, to_json(PreparedUpload{id, store_->url("/bucket/" + id + "?signature=s"), {{"x-digest", wanted->sha256}}}));
  }

  Answer store_put(const http::Request& r) {
    if (auto no = check_store(r)) return *std::move(no);
    auto digest = to_hex(sha256(r.body));
    if (r.query.get("signature") != "s" || r.headers.get("x-digest") != digest) return refused(Errc::forbidden, "not as it was signed");
    stored_[*r.param("id")] = r.body;
    return {};
  }

  Answer commit(const http::Request& r) {
    if (auto no = check(r)) return *std::move(no);
    auto id = upload_commit_from_json(r.body)->id;
    if (!stored_.contains(id)) return refused(Errc::invalid, "the bytes have not arrived");
    ++direct_uploads_;
    uploads_.push_back({prepared_[id].kind, prepared_[id].path, stored_[id]});
    return http::json_response(200, R"({"id":"a","sha256":""})");
  }

  Answer store_get(const http::Request& r) {
    if (auto no = check_store(r)) return *std::move(no);
    ++direct_downloads_;
    return http::text_response(200, stored_[*r.param("id")], "application/octet-stream");
  }

  Answer start(const http::Request& r) {
    auto request = start_request_from_json(r.body);
    if (!request) return refused(Errc::invalid, request.error().message);
    if (stumbles_ > 0) {
      --stumbles_;
      return refused(Errc::unavailable, "stumbled");
    }
    if (refuse_start_ || (!runner_.empty() && runner_ != request->runner_id)) return refused(Errc::conflict, "another runner was first");
    runner_ = request->runner_id;
    boot_token_ = request->boot_token;
    identity_ = request->identity;
    return http::json_response(200, to_json(StartAnswer{"attempt-token", Fence{7}, job_}));
  }

  Task<Answer> heartbeat(http::Request r) {
    SystemClock clock(co_await boost::asio::this_coro::executor);
    auto until = clock.now() + std::chrono::milliseconds(heartbeat_request_from_json(r.body)->wait_ms);
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        if (auto no = check(r)) co_return *std::move(no);
        if (cancel_ || clock.now() >= until)
          co_return http::json_response(200, to_json(HeartbeatAnswer{.cancel = cancel_, .grace_ms = grace_ms_, .durable = durable_}));
      }
      co_await sleep_for(clock, std::chrono::milliseconds(5));
    }
  }

  Answer logs(const http::Request& r) {
    if (auto no = check(r)) return *std::move(no);
    for (std::string_view rest = r.body; !rest.empty();) {
      auto got = decode_frame(rest);
      if (!got || got->size == 0) {
        breaches_.push_back("frames that are none");
        return refused(Errc::invalid, "bad frame");
      }
      rest.remove_prefix(got->size);
      auto size = static_cast<std::int64_t>(log_.size()), begin = got->frame.offset, end = begin + static_cast<std::int64_t>(got->frame.text.size());
      if (begin > size) {
        ++rewinds_;
        break;
      }
      if (end > size) log_ += got->frame.text.substr(static_cast<std::size_t>(size - begin));
    }
    auto size = static_cast<std::int64_t>(log_.size());
    if (lose_ && size > 0 && !r.body.empty()) {
      lose_ = false;
      log_.clear();
      return http::json_response(200, to_json(LogsAnswer{.next = size, .durable = 0}));
    }
    if (eager_) durable_ = size;
    return http::json_response(200, to_json(LogsAnswer{.next = size, .durable = durable_}));
  }

  Answer steps(const http::Request& r) {
    if (auto no = check(r)) return *std::move(no);
    if (cancel_) return refused(Errc::fenced, "the job is canceled");
    reports_.push_back(*steps_report_from_json(r.body));
    return http::json_response(200, "{}");
  }

  Answer finish(const http::Request& r) {
    if (auto no = check(r)) return *std::move(no);
    auto report = finish_report_from_json(r.body);
    if (!report) return refused(Errc::invalid, report.error().message);
    if (forget_at_finish_) {
      forget_at_finish_ = false;
      log_.resize(static_cast<std::size_t>(durable_));
    }
    if (report->log_bytes != static_cast<std::int64_t>(log_.size())) return refused(Errc::invalid, "log_bytes: not all of the log has arrived");
    durable_ = report->log_bytes;
    finished_ = *std::move(report);
    ++finishes_;
    return http::json_response(200, "{}");
  }

  Answer upload(const http::Request& r) {
    if (auto no = check(r)) return *std::move(no);
    if (cancel_) {
      breaches_.push_back("an upload of a canceled job");
      return refused(Errc::fenced, "the job is canceled");
    }
    if (refuse_uploads_) return refused(Errc::too_large, "the project has no space left");
    auto digest = sha256(r.body);
    if (r.headers.get("Digest") != "sha-256=" + to_base64({reinterpret_cast<const char*>(digest.data()), digest.size()})) breaches_.push_back("a wrong digest");
    uploads_.push_back({std::string(*r.query.get("kind")), std::string(*r.query.get("path")), r.body});
    return http::json_response(200, R"({"id":"a","sha256":""})");
  }

  Answer download(const http::Request& r) {
    if (auto no = check(r)) return *std::move(no);
    ++downloads_asked_;
    if (apart_ && r.query.get("direct") != "no") return http::redirect(302, store_->url("/bucket/" + *r.param("artifact")));
    if (hold_downloads_) return refused(Errc::unavailable, "not now");
    auto found = stored_.find(*r.param("artifact"));
    if (found == stored_.end()) return refused(Errc::not_found, "no such artifact");
    return http::text_response(200, found->second, "application/octet-stream");
  }

  RunnerJob job_;
  http::Router router_, store_router_;
  std::string address_ = "127.0.0.1:0";
  std::unique_ptr<http::testing_support::TestServer> server_, second_, store_;

  std::mutex mutex_;
  bool cancel_ = false, fenced_ = false, refuse_start_ = false, eager_ = true, refuse_uploads_ = false, hold_downloads_ = false, forget_at_finish_ = false, lose_ = false;
  std::int64_t grace_ms_ = 0, durable_ = 0;
  bool apart_ = false;
  int store_stumbles_ = 0, direct_uploads_ = 0, direct_downloads_ = 0;
  std::map<std::string, NewUpload> prepared_;
  int stumbles_ = 0, finishes_ = 0, rewinds_ = 0, downloads_asked_ = 0;
  std::string runner_, boot_token_, identity_, log_;
  std::map<std::string, std::string> stored_;
  std::optional<FinishReport> finished_;
  std::vector<Upload> uploads_;
  std::vector<StepsReport> reports_;
  std::vector<std::string> breaches_;
};

}  // namespace mayfly
