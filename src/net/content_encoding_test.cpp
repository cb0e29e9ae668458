#include "net/content_encoding.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "net/test_server.h"

namespace mayfly::http {
namespace {

using namespace testing_support;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int gzip = 15 + 16;
constexpr int zlib = 15;
constexpr std::uint64_t limit = 100'000;

std::string packed(std::string_view text, int wrapper = gzip) {
  ::z_stream z{};
  ::deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, wrapper, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = uInt(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = uInt(out.size());
  ::deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  ::deflateEnd(&z);
  return out;
}

struct Encoded : testing::Test {
  Encoded() {
    auto echo = [](Request r) -> Task<Response> { co_return text_response(200, r.body); };
    router.add("POST", "/unpacks", echo, {.max_body_bytes = limit, .unpacks_body = true});
    router.add("POST", "/raw", echo, {.max_body_bytes = limit});
    router.add_stream("POST", "/streams", [](Request, BodyReader& body) -> Task<Response> {
      auto text = co_await read_all(body);
      co_return text ? text_response(200, *std::move(text)) : problem(text.error());
    }, {.max_body_bytes = limit, .unpacks_body = true});
  }

  std::string post(std::string_view path, std::string_view coding, std::string_view body) {
    TestServer server(router);
    RawPeer peer(server.address());
    peer.send("POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: " + std::string(coding) +
              "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
    return peer.receive_all();
  }

  std::string body_of(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

  Router router;
};

TEST_F(Encoded, ABodyComesAsWhatItWas) {
  std::string text = "what a shipper says\n";
  for (int i = 0; i < 12; ++i) text += text;
  EXPECT_EQ(body_of(post("/unpacks", "gzip", packed(text))), text);
  EXPECT_EQ(body_of(post("/unpacks", "X-GZIP", packed(text))), text);
  EXPECT_EQ(body_of(post("/unpacks", "deflate", packed(text, zlib))), text);
  EXPECT_EQ(body_of(post("/streams", "gzip", packed(text))), text);
  EXPECT_EQ(body_of(post("/unpacks", "identity", text)), text);
  EXPECT_EQ(body_of(post("/unpacks", "", text)), text);
  EXPECT_EQ(body_of(post("/unpacks", "gzip", packed(""))), "");
}

TEST_F(Encoded, AChunkedBodyToo) {
  TestServer server(router);
  RawPeer peer(server.address());
  auto body = packed("chunk by chunk");
  std::string chunks;
  for (char c : body) chunks += std::string("1\r\n") + c + "\r\n";
  peer.send("POST /unpacks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + "0\r\n\r\n");
  EXPECT_EQ(body_of(peer.receive_all()), "chunk by chunk");
}

TEST_F(Encoded, ARouteThatDoesNotAskForItGetsTheBytes) {
  auto body = packed("a signature may be over them");
  EXPECT_EQ(body_of(post("/raw", "gzip", body)), body);
}

TEST_F(Encoded, ABodyMayUnpackToTheRoutesLimitAndNotOneByteMore) {
  EXPECT_EQ(body_of(post("/unpacks", "gzip", packed(std::string(limit, 'x')))).size(), limit);
  EXPECT_THAT(post("/unpacks", "gzip", packed(std::string(limit + 1, 'x'))), StartsWith("HTTP/1.1 413"));
}

TEST_F(Encoded, ABombCostsNoMoreThanTheLimit) {
  auto bomb = packed(std::string(64 << 20, '\0'));
  ASSERT_LT(bomb.size(), limit);
  auto answer = post("/unpacks", "gzip", bomb);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(answer, HasSubstr("unpacks to more than 100000 bytes"));
}

TEST_F(Encoded, WhatIsNotOfTheCodingIsRefused) {
  auto whole = packed("a text that is long enough to be cut");
  EXPECT_THAT(post("/unpacks", "gzip", "plain"), HasSubstr("not what Content-Encoding says"));
  EXPECT_THAT(post("/unpacks", "gzip", whole.substr(0, whole.size() - 1)), HasSubstr("ends too early"));
  EXPECT_THAT(post("/unpacks", "gzip", whole + "x"), HasSubstr("bytes follow"));
  auto broken = whole;
  broken[broken.size() - 6] ^= 1;  // of its checksum
  EXPECT_THAT(post("/unpacks", "gzip", broken), StartsWith("HTTP/1.1 400"));
}

TEST_F(Encoded, ACodingThatCannotBeReadIsNamed) {
  auto answer = post("/unpacks", "br", "x");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 415"));
  EXPECT_THAT(answer, HasSubstr("gzip"));
  EXPECT_THAT(post("/unpacks", "gzip, gzip", "x"), StartsWith("HTTP/1.1 415")) << "packed twice is a bomb's way";
}

}  // namespace
}  // namespace mayfly::http
