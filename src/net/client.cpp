#include "net/client.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "net/parser.h"
#include "net/receive_buffer.h"
#include "net/stream.h"
#include "net/websocket_session.h"

namespace mayfly::http {
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kMaxInterimAnswers = 16;  // 1xx before the real one

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

bool is_idempotent(std::string_view method) {
  constexpr std::array<std::string_view, 6> kMethods{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
  return std::ranges::find(kMethods, method) != kMethods.end();
}

bool is_own(std::string_view name) {
  constexpr std::array<std::string_view, 4> kNames{"Host", "Content-Length", "Transfer-Encoding", "Connection"};
  return std::ranges::any_of(kNames, [&](auto own) { return equal_ignoring_case(name, own); });
}

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kOthers.contains(c);
  });
}

/// Errc::invalid for what would let one header become two.
Result<std::string> head_of(const ClientRequest& request, const Url& url, std::string_view upgrade = {}) {
  if (!is_token(request.method)) return fail(Errc::invalid, "not an HTTP method: '" + request.method + "'");
  auto out = request.method + " " + url.target + " HTTP/1.1\r\nHost: " + host_field(url) + "\r\n";
  for (auto& [name, value] : request.headers.fields) {
    if (is_own(name)) continue;
    if (!is_token(name) || value.find_first_of(std::string_view("\r\n\0", 3)) != value.npos)
      return fail(Errc::invalid, "the header '" + name + "' has characters a header cannot have");
    out.append(name).append(": ").append(value).append("\r\n");
  }
  if (!upgrade.empty()) out.append("Connection: Upgrade\r\nUpgrade: ").append(upgrade).append("\r\n");
  auto text = std::get_if<std::string>(&request.body);
  auto source = std::get_if<BodySource>(&request.body);
  auto length = text ? std::optional<std::uint64_t>(text->size()) : source->length;
  bool implied = text && text->empty() && (request.method == "GET" || request.method == "HEAD" || request.method == "DELETE");
  if (!length) out += "Transfer-Encoding: chunked\r\n";
  else if (!implied) out += "Content-Length: " + std::to_string(*length) + "\r\n";
  return out + "\r\n";
}

/// Puts a BodySource's bytes on the wire.
class SourceWriter final : public BodyWriter {
 public:
  SourceWriter(Stream& stream, std::optional<std::uint64_t> length) : stream_(stream), left_(length), chunked_(!length) {}

  Task<Result<void>> write(std::string_view bytes) override {
    if (bytes.empty()) co_return Result<void>{};
    if (left_ && bytes.size() > *left_) co_return fail(Errc::invalid, "the body has more bytes than were announced");
    if (left_) *left_ -= bytes.size();
    Result<void> written;
    if (chunked_) {
      std::array<char, 20> head;
      auto end = std::to_chars(head.data(), head.data() + head.size() - 2, bytes.size(), 16).ptr;
      *end++ = '\r';
      *end++ = '\n';
      std::array<std::string_view, 3> pieces{std::string_view(head.data(), end), bytes, "\r\n"};
      written = co_await stream_.write(pieces);
    } else {
      std::array<std::string_view, 1> pieces{bytes};
      written = co_await stream_.write(pieces);
    }
    broken_ = !written;
    co_return written;
  }

  Task<Result<void>> finish() {
    if (left_.value_or(0) > 0) co_return fail(Errc::invalid, "the body has fewer bytes than were announced");
    constexpr std::array<std::string_view, 1> kLastChunk{"0\r\n\r\n"};
    if (chunked_) co_return co_await stream_.write(kLastChunk);
    co_return Result<void>{};
  }

  bool broken() const { return broken_; }

 private:
  Stream& stream_;
  std::optional<std::uint64_t> left_;
  bool chunked_;
  bool broken_ = false;
};

/// Connections between requests, by scheme and authority.
class Pool final {
 public:
  explicit Pool(const ClientOptions& options) : options_(options) {}

  std::unique_ptr<Stream> take(const std::string& key) {
    auto& idle = idle_[key];
    while (!idle.empty()) {
      auto entry = std::move(idle.back());
      idle.pop_back();
      if (now() - entry.since <= options_.idle_timeout && entry.stream->is_quiet()) return std::move(entry.stream);
    }
    return nullptr;
  }

  void give_back(const std::string& key, std::unique_ptr<Stream> stream) {
    auto& idle = idle_[key];
    std::erase_if(idle, [&](auto& entry) { return now() - entry.since > options_.idle_timeout; });
    if (idle.size() >= options_.max_idle_per_endpoint) return;
    stream->set_deadline(Time::max());
    idle.push_back({std::move(stream), now()});
  }

  std::size_t size() const {
    std::size_t n = 0;
    for (auto& [key, idle] : idle_) n += idle.size();
    return n;
  }

 private:
  struct Entry {
    std::unique_ptr<Stream> stream;
    Time since;
  };
  ClientOptions options_;
  std::map<std::string, std::vector<Entry>> idle_;
};

/// One request and its answer on one connection.
class Exchange final : public ClientStream {
 public:
  Exchange(std::weak_ptr<Pool> pool, std::string key, std::unique_ptr<Stream> stream, std::size_t max_header_bytes)
      : pool_(std::move(pool)),
        key_(std::move(key)),
        stream_(std::move(stream)),
        parser_(MessageParser::Kind::response, max_header_bytes),
        max_header_bytes_(max_header_bytes) {}

  /// Sends the request and reads the answer's head.
  Task<Result<void>> start(const ClientRequest& request, std::string_view head) {
    stream_->set_deadline(request.deadline);
    auto sent = co_await send(request, head);
    if (!sent && !may_have_answer_) co_return sent;
    sent_whole_ = sent.has_value();
    // A server that refuses a body answers and stops reading; its answer says more than the broken pipe.
    auto answered = co_await read_head(request.method == "HEAD");
    if (!answered) co_return sent ? answered : sent;
    if (parser_.done() && head_.status != 101) release();
    co_return answered;
  }

  bool was_answered() const { return answered_; }
  int status() const override { return head_.status; }
  const Headers& headers() const override { return head_.headers; }
  Headers take_headers() { return std::move(head_.headers); }
  std::uint64_t announced_bytes() const { return announced_; }

  /// The whole answer, unless it is larger than `limit`.
  Task<Result<ClientResponse>> collect(std::size_t limit, std::string url) {
    auto too_large = fail(Errc::too_large, "the answer of " + url.substr(0, url.find('?')) + " is larger than " + std::to_string(limit) + " bytes");
    ClientResponse response{head_.status, std::move(head_.headers), {}};
    if (announced_ > limit) co_return too_large;
    std::array<char, kReadBytes> piece;
    while (true) {
      CO_TRY_ASSIGN(auto n, co_await read(piece));
      if (n == 0) co_return response;
      if (response.body.size() + n > limit) co_return too_large;
      response.body.append(piece.data(), n);
    }
  }

  /// The connection, and what of the other protocol has arrived behind the head. Only after a 101.
  std::pair<std::unique_ptr<Stream>, std::string> leave_http() { return {std::move(stream_), std::string(buffer_.pending())}; }

  Task<Result<std::size_t>> read(std::span<char> into) override {
    if (failure_) co_return std::unexpected(*failure_);
    if (!stream_ || into.empty()) co_return 0;
    auto n = co_await read_piece(into);
    if (!n) {
      failure_ = n.error();
      stream_.reset();
    } else if (parser_.done()) {
      release();
    }
    co_return n;
  }

  void set_deadline(Time deadline) override {
    if (stream_) stream_->set_deadline(deadline);
  }

 private:
  Task<Result<void>> send(const ClientRequest& request, std::string_view head) {
    auto text = std::get_if<std::string>(&request.body);
    std::array<std::string_view, 2> pieces{head, text ? std::string_view(*text) : std::string_view()};
    auto sent = co_await stream_->write(pieces);
    may_have_answer_ = !sent && sent.error().code == Errc::unavailable;
    if (!sent || text) co_return sent;
    auto& source = std::get<BodySource>(request.body);
    SourceWriter writer(*stream_, source.length);
    sent = co_await source.write(writer);
    if (sent) sent = co_await writer.finish();
    may_have_answer_ = !sent && writer.broken();
    co_return sent;
  }

  Task<Result<void>> read_head(bool answers_head) {
    for (std::size_t interim = 0; interim <= kMaxInterimAnswers; ++interim) {
      parser_.start(answers_head);
      while (!parser_.has_head()) {
        if (!buffer_.pending().empty()) {
          CO_TRY_ASSIGN(auto consumed, parser_.feed_head(buffer_.pending()));
          buffer_.consume(consumed);
          if (parser_.has_head()) break;
        }
        CO_TRY_ASSIGN(auto n, co_await buffer_.fill(*stream_));
        if (n == 0) co_return ended_early();
        answered_ = true;
      }
      head_ = std::move(parser_.head());
      if (head_.status >= 200 || head_.status == 101) {
        if (!parser_.done()) announced_ = parser_.content_length().value_or(0);
        co_return Result<void>{};
      }
    }
    co_return fail(Errc::invalid, stream_->peer() + ": more than " + std::to_string(kMaxInterimAnswers) + " interim answers");
  }

  Task<Result<std::size_t>> read_piece(std::span<char> into) {
    while (true) {
      auto bytes = buffer_.pending();
      CO_TRY_ASSIGN(auto progress, parser_.feed_body(bytes, into));
      buffer_.consume(progress.consumed);
      if (progress.produced > 0 || parser_.done()) co_return progress.produced;
      if (bytes.size() - progress.consumed >= max_header_bytes_)
        co_return fail(Errc::invalid, stream_->peer() + ": a chunk's header or the trailers are too long");
      CO_TRY_ASSIGN(auto n, co_await buffer_.fill(*stream_));
      if (n > 0) continue;
      if (!parser_.feed_end()) co_return ended_early();
      co_return 0;
    }
  }

  std::unexpected<Error> ended_early() const {
    return fail(Errc::unavailable, stream_->peer() + " ended the connection " +
                                       (answered_ ? "in the middle of its answer" : "without an answer"));
  }

  /// The answer is read to its end: the connection is good for another request if nothing is left on it.
  void release() {
    bool reusable = sent_whole_ && parser_.keep_alive() && buffer_.pending().empty() && head_.status != 101;
    auto pool = pool_.lock();
    if (reusable && pool) pool->give_back(key_, std::move(stream_));
    stream_.reset();
  }

  std::weak_ptr<Pool> pool_;
  std::string key_;
  std::unique_ptr<Stream> stream_;
  MessageParser parser_;
  ReceiveBuffer buffer_;
  std::size_t max_header_bytes_;
  MessageHead head_;
  std::uint64_t announced_ = 0;
  std::optional<Error> failure_;
  bool may_have_answer_ = false;
  bool sent_whole_ = false;
  bool answered_ = false;
};

class StreamTunnel final : public Tunnel {
 public:
  explicit StreamTunnel(std::pair<std::unique_ptr<Stream>, std::string> connection)
      : stream_(std::move(connection.first)), early_(std::move(connection.second)) {
    stream_->set_deadline(Time::max());
  }

  Task<Result<std::size_t>> read(std::span<char> into) override {
    if (early_.empty()) co_return co_await stream_->read_some(into);
    auto n = early_.copy(into.data(), into.size());
    early_.erase(0, n);
    co_return n;
  }
  Task<Result<void>> write(std::string_view bytes) override {
    std::array<std::string_view, 1> pieces{bytes};
    co_return co_await stream_->write(pieces);
  }
  void end_writing() override { stream_->end_writing(); }
  void set_deadline(Time at) override { stream_->set_deadline(at); }

 private:
  std::unique_ptr<Stream> stream_;
  std::string early_;
};

}  // namespace

struct Client::Impl {
  Task<Result<std::unique_ptr<Stream>>> connect(Url url, Time deadline);
  Task<Result<std::unique_ptr<Exchange>>> open(ClientRequest request);

  Loop loop;
  ClientOptions options;
  std::shared_ptr<Pool> pool;
  std::shared_ptr<TlsContext> tls = nullptr;
};

Client::Client(Loop loop, ClientOptions options)
    : impl_(std::make_shared<Impl>(Impl{std::move(loop), options, std::make_shared<Pool>(options)})) {}

Client::~Client() = default;

Task<Result<std::unique_ptr<Stream>>> Client::Impl::connect(Url url, Time deadline) {
  if (url.scheme == "https" && !tls) {
    CO_TRY_ASSIGN(tls, make_client_tls(options.tls));
  }
  auto context = url.scheme == "https" ? tls : nullptr;
  auto until = std::min(deadline, now() + options.connect_timeout);
  co_return co_await connect_to(loop, std::move(url), std::move(context), until);
}

Task<Result<std::unique_ptr<Exchange>>> Client::Impl::open(ClientRequest request) {
  CO_TRY_ASSIGN(auto url, parse_url(request.url));
  CO_TRY_ASSIGN(auto head, head_of(request, url));
  auto key = url.scheme + "://" + (url.scheme == "unix" ? url.socket_path : host_field(url));
  auto stream = pool->take(key);
  while (true) {
    bool was_idle = stream != nullptr;
    if (!stream) {
      CO_TRY_ASSIGN(stream, co_await connect(url, request.deadline));
    }
    auto exchange = std::make_unique<Exchange>(pool, key, std::move(stream), options.max_header_bytes);
    auto started = co_await exchange->start(request, head);
    if (started) co_return exchange;
    bool found_dead = was_idle && !exchange->was_answered() && started.error().code == Errc::unavailable;
    bool repeatable = is_idempotent(request.method) && std::holds_alternative<std::string>(request.body);
    if (!found_dead || !repeatable) co_return std::unexpected(started.error());
  }
}

Task<Result<std::unique_ptr<ClientStream>>> Client::open(ClientRequest request) {
  auto impl = impl_;
  CO_TRY_ASSIGN(auto exchange, co_await impl->open(std::move(request)));
  co_return exchange;
}

Task<Result<ClientResponse>> Client::send(ClientRequest request) {
  auto impl = impl_;
  auto limit = request.max_response_bytes;
  auto url = request.url;
  CO_TRY_ASSIGN(auto exchange, co_await impl->open(std::move(request)));
  co_return co_await exchange->collect(limit, std::move(url));
}

Task<Result<Upgraded>> Client::upgrade(ClientRequest request, std::string protocol) {
  auto impl = impl_;
  auto limit = request.max_response_bytes;
  CO_TRY_ASSIGN(auto url, parse_url(request.url));
  if (!is_token(protocol)) co_return fail(Errc::invalid, "not a protocol's name: '" + protocol + "'");
  CO_TRY_ASSIGN(auto head, head_of(request, url, protocol));
  CO_TRY_ASSIGN(auto stream, co_await impl->connect(url, request.deadline));
  Exchange exchange({}, {}, std::move(stream), impl->options.max_header_bytes);
  CO_TRY(co_await exchange.start(request, head));
  Upgraded out;
  if (exchange.status() == 101) {
    out.answer = {101, exchange.take_headers(), {}};
    out.tunnel = std::make_unique<StreamTunnel>(exchange.leave_http());
  } else {
    CO_TRY_ASSIGN(out.answer, co_await exchange.collect(limit, request.url));
  }
  co_return out;
}

Task<Result<void>> Client::websocket(ClientRequest request, WebSocketUse use, WebSocketOptions options) {
  auto impl = impl_;
  CO_TRY_ASSIGN(auto url, parse_url(request.url));
  CO_TRY(head_of(request, url));  // says what cannot be sent
  CO_TRY_ASSIGN(auto stream, co_await impl->connect(url, request.deadline));
  stream->set_deadline(request.deadline);
  co_return co_await use_websocket(impl->loop, std::move(stream), std::move(url), std::move(request.headers), options, std::move(use));
}

std::size_t Client::idle_connections() const { return impl_->pool->size(); }

}  // namespace mayfly::http
