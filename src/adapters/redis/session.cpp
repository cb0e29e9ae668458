#include "adapters/redis/session.h"

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <random>
#include <utility>

#include "base/log.h"
#include "net/tls_name.h"

namespace mayfly {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Steady = std::chrono::steady_clock;
using State = RedisSession::State;

namespace {

constexpr std::size_t read_bytes = 64 * 1024;

/// One connection, from its look-up to its end. Its operations keep it alive; what they find after close() is dropped.
class Link final : public std::enable_shared_from_this<Link> {
 public:
  struct Owner {
    virtual ~Owner() = default;
    virtual void connected() = 0;
    virtual void received(RespValue value) = 0;
    virtual void broke(std::string why) = 0;
  };

  /// Without `tls` in the clear.
  Link(Loop loop, Owner& owner, asio::ssl::context* tls) : owner_(&owner), resolver_(loop), socket_(loop) {
    if (tls) secured_.emplace(socket_, *tls);
  }

  void connect(const RedisTarget& target) {
    host_ = target.host;
    error_code named;
    if (auto ip = asio::ip::make_address(target.host, named); !named)
      return connect_to(tcp::resolver::results_type::create(tcp::endpoint(ip, target.port), target.host, std::to_string(target.port)));
    auto looked_up = [self = shared_from_this()](error_code ec, tcp::resolver::results_type found) {
      if (ec) return self->fail("its name cannot be looked up: " + ec.message());
      if (self->owner_) self->connect_to(found);
    };
    resolver_.async_resolve(target.host, std::to_string(target.port), std::move(looked_up));
  }

  void send(std::string_view bytes) {
    unsent_ += bytes;
    if (sending_.empty()) write();
  }
  std::size_t unsent() const { return unsent_.size() + sending_.size(); }
  Steady::time_point heard() const { return heard_; }

  void close() {
    owner_ = nullptr;
    resolver_.cancel();
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  void connect_to(const tcp::resolver::results_type& found) {
    asio::async_connect(socket_, found, [self = shared_from_this()](error_code ec, const tcp::endpoint&) {
      if (ec) return self->fail("it cannot be connected to: " + ec.message());
      if (!self->owner_) return;
      error_code ignored;
      self->socket_.set_option(tcp::no_delay(true), ignored);
      if (self->secured_) self->shake_hands();
      else self->begin();
    });
  }

  void shake_hands() {
    if (!http::expect_host(secured_->native_handle(), host_)) return fail("no certificate can name '" + host_ + "'");
    secured_->async_handshake(asio::ssl::stream_base::client, [self = shared_from_this()](error_code ec) {
      if (ec) return self->fail("it cannot be trusted: " + ec.message());
      if (self->owner_) self->begin();
    });
  }

  void begin() {
    heard_ = Steady::now();
    read();
    owner_->connected();
  }

  void with_stream(auto use) {
    if (secured_) use(*secured_);
    else use(socket_);
  }

  /// One write at a time; what is sent meanwhile goes with the next.
  void write() {
    sending_ = std::exchange(unsent_, {});
    auto written = [self = shared_from_this()](error_code ec, std::size_t) {
      self->sending_.clear();
      if (ec) return self->fail("the connection broke: " + ec.message());
      if (self->owner_ && !self->unsent_.empty()) self->write();
    };
    with_stream([&](auto& stream) { asio::async_write(stream, asio::buffer(sending_), std::move(written)); });
  }

  void read() {
    auto done = [self = shared_from_this()](error_code ec, std::size_t size) {
      bool closed = ec == asio::error::eof || ec == asio::ssl::error::stream_truncated;
      if (ec) return self->fail(closed ? "it closed the connection" : "the connection broke: " + ec.message());
      self->take({self->incoming_.data(), size});
    };
    with_stream([&](auto& stream) { stream.async_read_some(asio::buffer(incoming_), std::move(done)); });
  }

  void take(std::string_view bytes) {
    heard_ = Steady::now();
    reader_.feed(bytes);
    while (owner_) {
      auto value = reader_.next();
      if (!value) return fail(value.error().message);
      if (!*value) return read();
      owner_->received(*std::move(*value));
    }
  }

  void fail(std::string why) {
    if (auto* owner = std::exchange(owner_, nullptr)) {
      close();
      owner->broke(std::move(why));
    }
  }

  Owner* owner_;
  tcp::resolver resolver_;
  tcp::socket socket_;
  std::optional<asio::ssl::stream<tcp::socket&>> secured_;
  std::string host_;
  RespReader reader_;
  std::array<char, read_bytes> incoming_;
  std::string unsent_, sending_;
  Steady::time_point heard_{};
};

}  // namespace

struct RedisSession::Impl final : Link::Owner, std::enable_shared_from_this<Impl> {
  Loop loop;
  RedisTarget target;
  RedisTimes times;
  RedisEvents events;
  State state = State::closed;
  std::string trouble;
  std::optional<asio::ssl::context> tls;
  std::shared_ptr<Link> link;
  std::size_t greetings_due = 0;      // answers that belong to the greeting
  asio::steady_timer timer;
  bool owed = false;
  Steady::time_point owed_since{};
  Duration pause{};
  std::minstd_rand chance{std::random_device{}()};

  Impl(Loop l, RedisTarget t, RedisTimes ti, RedisEvents e)
      : loop(l), target(std::move(t)), times(ti), events(std::move(e)), timer(l) {
    if (!target.tls) return;
    tls.emplace(asio::ssl::context::tls_client);
    SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
    tls->set_verify_mode(asio::ssl::verify_peer);
    error_code unread;  // then nobody vouches for any server
    if (target.authorities.empty()) tls->set_default_verify_paths(unread);
    else tls->add_certificate_authority(asio::buffer(target.authorities), unread);
  }

  /// Calls `then` at `at`, unless the timer is set anew or the session goes before.
  void set_timer(Steady::time_point at, void (Impl::*then)()) {
    timer.expires_at(at);
    timer.async_wait([weak = weak_from_this(), then](error_code ec) {
      if (auto self = weak.lock(); self && !ec && self->state != State::closed) (self.get()->*then)();
    });
  }

  void connect() {
    greetings_due = 0;
    link = std::make_shared<Link>(loop, *this, tls ? &*tls : nullptr);
    set_timer(Steady::now() + times.connect, &Impl::connect_took_too_long);
    link->connect(target);
  }

  void connect_took_too_long() { lose("it does not answer", false); }

  void connected() override {
    std::string greeting;
    auto say = [&](std::string command) {
      greeting += command;
      ++greetings_due;
    };
    if (!target.password.empty()) say(target.user.empty() ? resp_command({"AUTH", target.password}) : resp_command({"AUTH", target.user, target.password}));
    if (target.database != 0) say(resp_command({"SELECT", std::to_string(target.database)}));
    say(resp_command({"PING"}));
    link->send(greeting);
  }

  void received(RespValue value) override {
    if (state == State::up) return events.reply(std::move(value));
    if (greetings_due == 0) return lose("it speaks before it is asked", false);
    if (value.kind == RespValue::Kind::error) return lose("it refuses the connection: " + value.text, false);
    if (--greetings_due > 0) return;
    if (value != RespValue{.kind = RespValue::Kind::text, .text = "PONG"}) return lose("it does not answer like Redis", false);
    if (state == State::away) log_info("Redis is back", {{"server", target.name()}});
    state = State::up;
    owed = false;
    pause = Duration{0};
    set_timer(next_look(), &Impl::look);
    events.up();
  }

  void broke(std::string why) override { lose(std::move(why), true); }

  /// `brief`: it broke while it was up, which a new connection may mend at once.
  void lose(std::string why, bool brief) {
    auto was = state;
    if (link) link->close();
    link = nullptr;
    trouble = "Redis at " + target.name() + " is away: " + why;
    state = brief && was == State::up ? State::trying : State::away;
    if (state == State::away && was != State::away) log_warn("Redis is away", {{"server", target.name()}, {"why", why}});
    set_timer(Steady::now() + next_pause(), &Impl::connect);
    if (was != State::away) events.down();
  }

  Duration next_pause() {
    pause = pause == Duration{0} ? times.first_pause : std::min(pause * 2, times.last_pause);
    return pause / 2 + Duration(std::uniform_int_distribution<std::int64_t>(0, pause.count() / 2)(chance));
  }

  Steady::time_point silent_from() const { return std::max(link->heard(), owed_since); }

  Steady::time_point next_look() const { return owed ? silent_from() + times.answer : link->heard() + times.idle; }

  void look() {
    auto now = Steady::now();
    if (owed && now >= silent_from() + times.answer) return lose("it does not answer", false);
    if (!owed && now >= link->heard() + times.idle) events.idle();
    if (state == State::up) set_timer(next_look(), &Impl::look);
  }
};

RedisSession::RedisSession(Loop loop, RedisTarget target, RedisTimes times, RedisEvents events)
    : impl_(std::make_shared<Impl>(std::move(loop), std::move(target), times, std::move(events))) {}

RedisSession::~RedisSession() { close(); }

void RedisSession::open() {
  if (impl_->state != State::closed) return;
  impl_->state = State::trying;
  impl_->connect();
}

void RedisSession::close() {
  impl_->state = State::closed;
  impl_->timer.cancel();
  if (impl_->link) impl_->link->close();
  impl_->link = nullptr;
}

State RedisSession::state() const { return impl_->state; }
const std::string& RedisSession::trouble() const { return impl_->trouble; }
void RedisSession::send(std::string_view command) { impl_->link->send(command); }
std::size_t RedisSession::unsent_bytes() const { return impl_->link ? impl_->link->unsent() : 0; }
void RedisSession::renew(std::string why) {
  if (impl_->state == State::up) impl_->lose(std::move(why), true);
}

void RedisSession::owed(bool is) {
  if (impl_->owed == is || impl_->state != State::up) return;
  impl_->owed = is;
  if (!is) return;  // whoever looks earlier than need be looks again
  impl_->owed_since = Steady::now();
  if (auto at = impl_->next_look(); at < impl_->timer.expiry()) impl_->set_timer(at, &Impl::look);
}

}  // namespace mayfly
