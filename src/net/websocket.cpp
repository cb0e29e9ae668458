#include "net/websocket.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/bind_handler.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <algorithm>
#include <array>
#include <deque>

#include "async/scope.h"
#include "async/signal.h"
#include "async/system_timer.h"
#include "base/log.h"
#include "net/websocket_session.h"

namespace mayfly::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

/// What a message takes in a queue: empty ones are not free.
std::size_t cost(const WebSocketMessage& message) { return message.bytes.size() + 64; }

Time now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

/// A Stream as Beast wants one. Operations hold the stream, so one that Beast has started for itself may outlive the socket.
class Layer {  // not final: Asio asks by deriving from it whether it is an executor
 public:
  using executor_type = Loop;

  Layer(Loop loop, std::shared_ptr<Stream> stream, std::string early)
      : loop_(std::move(loop)), stream_(std::move(stream)), early_(std::move(early)) {}

  executor_type get_executor() const { return loop_; }
  void close() { stream_->close(); }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    auto into = first_of<asio::mutable_buffer>(buffers);
    return asio::async_initiate<Token, void(error_code, std::size_t)>(
        [this](auto handler, asio::mutable_buffer to) {
          start(std::move(handler), read(stream_, take_early(to), {static_cast<char*>(to.data()), to.size()}));
        },
        token, into);
  }

  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    Pieces pieces;
    for (auto at = asio::buffer_sequence_begin(buffers); at != asio::buffer_sequence_end(buffers) && pieces.count < Stream::kMaxPieces; ++at) {
      asio::const_buffer buffer = *at;
      if (buffer.size() > 0) pieces.views[pieces.count++] = {static_cast<const char*>(buffer.data()), buffer.size()};
    }
    return asio::async_initiate<Token, void(error_code, std::size_t)>(
        [this](auto handler, Pieces what) { start(std::move(handler), write(stream_, what)); }, token, pieces);
  }

 private:
  struct Pieces {
    std::array<std::string_view, Stream::kMaxPieces> views;
    std::size_t count = 0;
  };

  template <class Buffer, class Buffers>
  static Buffer first_of(const Buffers& buffers) {
    for (auto at = asio::buffer_sequence_begin(buffers); at != asio::buffer_sequence_end(buffers); ++at)
      if (Buffer buffer = *at; buffer.size() > 0) return buffer;
    return {};
  }

  std::size_t take_early(asio::mutable_buffer to) {
    auto n = asio::buffer_copy(to, asio::buffer(early_));
    early_.erase(0, n);
    return n;
  }

  static Task<Result<std::size_t>> read(std::shared_ptr<Stream> stream, std::size_t taken, std::span<char> into) {
    if (taken > 0 || into.empty()) co_return taken;
    co_return co_await stream->read_some(into);
  }

  static Task<Result<std::size_t>> write(std::shared_ptr<Stream> stream, Pieces pieces) {
    std::size_t total = 0;
    for (std::size_t i = 0; i < pieces.count; ++i) total += pieces.views[i].size();
    auto written = co_await stream->write(std::span(pieces.views).first(pieces.count));
    if (!written) co_return std::unexpected(written.error());
    co_return total;
  }

  template <class Handler>
  void start(Handler handler, Task<Result<std::size_t>> operation) {
    auto slot = asio::get_associated_cancellation_slot(handler);
    auto ended = [handler = std::move(handler)](std::exception_ptr canceled, Result<std::size_t> n) mutable {
      if (canceled) return std::move(handler)(error_code(asio::error::operation_aborted), 0);
      if (!n) {
        bool late = n.error().code == Errc::timeout;
        return std::move(handler)(late ? error_code(beast::error::timeout) : error_code(asio::error::connection_reset), 0);
      }
      std::move(handler)(*n == 0 ? error_code(asio::error::eof) : error_code(), *n);
    };
    asio::co_spawn(loop_, std::move(operation), asio::bind_cancellation_slot(slot, std::move(ended)));
  }

  Loop loop_;
  std::shared_ptr<Stream> stream_;
  std::string early_;
};

void beast_close_socket(Layer& layer) { layer.close(); }

template <class Handler>
void async_teardown(beast::role_type, Layer& layer, Handler&& handler) {
  layer.close();
  asio::post(layer.get_executor(), beast::bind_front_handler(std::forward<Handler>(handler), error_code()));
}

Error error_from(error_code ec, const WebSocketOptions& options) {
  namespace ws = beast::websocket;
  if (ec == ws::error::closed) return {Errc::unavailable, "the peer has closed the WebSocket", {}};
  if (ec == beast::error::timeout) return {Errc::timeout, "the WebSocket's peer has fallen silent", {}};
  if (ec == ws::error::message_too_big || ec == ws::error::buffer_overflow)
    return {Errc::too_large, "a WebSocket message is over the limit of " + std::to_string(options.max_message_bytes) + " bytes", {}};
  if (ec == ws::condition::protocol_violation) return {Errc::invalid, "not well-formed WebSocket: " + ec.message(), {}};
  return {Errc::unavailable, "the WebSocket's connection broke: " + ec.message(), {}};
}

class Session final : public WebSocket {
 public:
  Session(Loop loop, std::shared_ptr<Stream> stream, std::string early, WebSocketOptions options)
      : loop_(loop), timers_(make_system_timers(loop)), stream_(stream), options_(options), ws_(loop, std::move(stream), std::move(early)) {
    ws_.set_option(beast::websocket::stream_base::timeout{options.handshake_timeout, options.idle_timeout, true});
    ws_.read_message_max(options.max_message_bytes);
    ws_.auto_fragment(false);
  }

  Task<bool> accept(const Request& request) {
    beast::http::request<beast::http::empty_body> head{beast::http::verb::get, request.target, 11};
    for (auto& [name, value] : request.headers.fields) head.insert(name, value);
    ws_.set_option(beast::websocket::stream_base::decorator([](beast::websocket::response_type& answer) { answer.set(beast::http::field::server, "Mayfly"); }));
    auto [ec] = co_await ws_.async_accept(head, kAwait);
    co_await throw_if_canceled();
    co_return !ec;
  }

  Task<Result<void>> shake_hands(std::string host, std::string target, const Headers& headers) {
    ws_.set_option(beast::websocket::stream_base::decorator([headers](beast::websocket::request_type& head) {
      head.erase(beast::http::field::user_agent);
      for (auto& [name, value] : headers.fields) head.insert(name, value);
    }));
    beast::websocket::response_type answer;
    auto [ec] = co_await ws_.async_handshake(answer, host, target, kAwait);
    co_await throw_if_canceled();
    if (!ec) co_return Result<void>{};
    if (ec == beast::websocket::error::upgrade_declined) co_return std::unexpected(refusal(answer));
    co_return std::unexpected(error_from(ec, options_));
  }

  /// Until `use` has returned and goodbye was said.
  Task<void> run(const WebSocketUse& use, Scope*& slot) {
    Scope io(loop_);
    io.spawn(read_all());
    io.spawn(write_all());
    auto broken_off = co_await run_use(use, slot);
    ending_ = true;
    moved_.notify();
    if (!broken_off) co_await said_goodbye();
    stream_->close();
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await io.join();
    if (broken_off) std::rethrow_exception(broken_off);
  }

  Task<Result<WebSocketMessage>> receive() override {
    while (inbox_.empty()) {
      if (failure_) co_return std::unexpected(*failure_);
      co_await came_.wait(*timers_);
    }
    auto message = std::move(inbox_.front());
    inbox_.pop_front();
    inbox_bytes_ -= cost(message);
    moved_.notify();
    co_return message;
  }

  Task<Result<void>> send(WebSocketMessage message) override {
    while (!failure_ && outbox_bytes_ > options_.max_queued_bytes) co_await moved_.wait(*timers_);
    if (failure_) co_return std::unexpected(*failure_);
    outbox_bytes_ += cost(message);
    outbox_.push_back(std::move(message));
    moved_.notify();
    co_return Result<void>{};
  }

  void close_with(WebSocketClose close) override {
    goodbye_ = std::move(close);
    goodbye_.reason.resize(std::min(goodbye_.reason.size(), kMaxCloseReasonBytes));
  }
  std::optional<WebSocketClose> closed() const override { return closed_; }

 private:
  static Error refusal(const beast::websocket::response_type& answer) {
    Headers headers;
    for (auto& field : answer) headers.add({field.name_string().data(), field.name_string().size()}, {field.value().data(), field.value().size()});
    return error_of(answer.result_int(), headers, answer.body());
  }

  /// What broke it off, if the caller was canceled.
  Task<std::exception_ptr> run_use(const WebSocketUse& use, Scope*& slot) {
    Scope users(loop_);
    struct Guard {
      Scope*& slot;
      ~Guard() { slot = nullptr; }
    } guard{slot};
    slot = &users;
    users.spawn(use_it(use));
    try {
      co_await users.join();
    } catch (...) {
      co_return std::current_exception();
    }
    if (!used_up_) close_with({static_cast<std::uint16_t>(CloseCode::going_away), "the server stops"});
    co_return nullptr;
  }

  Task<void> use_it(const WebSocketUse& use) {
    std::string what;
    try {
      co_await use(*this);
      used_up_ = true;
      co_return;
    } catch (const std::exception& e) {
      what = e.what();
    }
    co_await throw_if_canceled();
    used_up_ = true;
    close_with({static_cast<std::uint16_t>(CloseCode::internal_error), "an error of the server"});
    log_error("what used a WebSocket threw", {{"what", what}});
  }

  Task<void> read_all() {
    while (!failure_) {
      WebSocketMessage message;
      auto buffer = asio::dynamic_buffer(message.bytes);
      auto [ec, n] = co_await ws_.async_read(buffer, kAwait);
      co_await throw_if_canceled();
      if (ec) co_return end(ec);
      message.text = ws_.got_text();
      inbox_bytes_ += cost(message);
      inbox_.push_back(std::move(message));
      came_.notify();
      while (inbox_bytes_ > options_.max_queued_bytes && !ending_) co_await moved_.wait(*timers_);
      if (ending_) drop_inbox();
    }
  }

  Task<void> write_all() {
    while (!failure_) {
      if (outbox_.empty()) {
        if (ending_) break;
        co_await moved_.wait(*timers_);
        continue;
      }
      auto message = std::move(outbox_.front());
      outbox_.pop_front();
      ws_.text(message.text);
      auto [ec, n] = co_await ws_.async_write(asio::buffer(message.bytes), kAwait);
      co_await throw_if_canceled();
      outbox_bytes_ -= cost(message);
      if (ec) end(ec);
      moved_.notify();
    }
    if (!failure_) (void)co_await ws_.async_close({beast::websocket::close_code(goodbye_.code), goodbye_.reason}, kAwait);
    co_await throw_if_canceled();
    goodbye_said_ = true;
    moved_.notify();
  }

  Task<void> said_goodbye() {
    auto until = now() + options_.close_timeout;
    while (!goodbye_said_ && now() < until) co_await moved_.wait(*timers_, until);
  }

  void end(error_code ec) {
    if (failure_) return;
    failure_ = error_from(ec, options_);
    if (ec == beast::websocket::error::closed) {
      auto& reason = ws_.reason();
      closed_ = WebSocketClose{reason.code, std::string(reason.reason.data(), reason.reason.size())};
    }
    came_.notify();
    moved_.notify();
  }

  void drop_inbox() {
    inbox_.clear();
    inbox_bytes_ = 0;
  }

  Loop loop_;
  std::unique_ptr<TimerSource> timers_;
  std::shared_ptr<Stream> stream_;
  WebSocketOptions options_;
  beast::websocket::stream<Layer, false> ws_;
  std::deque<WebSocketMessage> inbox_;
  std::deque<WebSocketMessage> outbox_;
  std::size_t inbox_bytes_ = 0;
  std::size_t outbox_bytes_ = 0;      // and of the message that is being written
  Signal came_;
  Signal moved_;
  std::optional<Error> failure_;
  std::optional<WebSocketClose> closed_;
  WebSocketClose goodbye_;
  bool used_up_ = false;
  bool ending_ = false;
  bool goodbye_said_ = false;
};

}  // namespace

Task<void> serve_websocket(Loop loop, std::shared_ptr<Stream> stream, std::string early, std::shared_ptr<const Upgrade> upgrade, Scope*& slot) {
  Session session(loop, std::move(stream), std::move(early), upgrade->options);
  if (co_await session.accept(upgrade->request)) co_await session.run(upgrade->use, slot);
}

Task<Result<void>> use_websocket(Loop loop, std::shared_ptr<Stream> stream, Url url, Headers headers, WebSocketOptions options, WebSocketUse use) {
  Session session(loop, stream, {}, options);
  CO_TRY(co_await session.shake_hands(host_field(url), url.target, headers));
  stream->set_deadline(Time::max());
  Scope* unused = nullptr;
  co_await session.run(use, unused);
  co_return Result<void>{};
}

Response websocket_response(Request request, WebSocketUse use, WebSocketOptions options) {
  bool upgrade = has_token(request.headers.get("Connection").value_or(""), "upgrade") && has_token(request.headers.get("Upgrade").value_or(""), "websocket");
  if (!upgrade || request.headers.get("Sec-WebSocket-Version") != "13" || !request.headers.has("Sec-WebSocket-Key")) {
    auto answer = problem(426, "Upgrade Required", "This path speaks WebSocket (RFC 6455), version 13.", "Ask with a WebSocket client.", "invalid");
    answer.headers.add("Upgrade", "websocket");
    answer.headers.add("Sec-WebSocket-Version", "13");
    return answer;
  }
  Response answer;
  answer.status = 101;
  answer.body = std::make_shared<const Upgrade>(Upgrade{std::move(request), options, std::move(use)});
  return answer;
}

}  // namespace mayfly::http
