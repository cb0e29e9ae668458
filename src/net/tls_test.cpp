#include <gmock/gmock.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

#include "net/client.h"
#include "net/test_server.h"

namespace mayfly::http {
namespace {

using namespace testing_support;
using testing::HasSubstr;

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* p) const { Free(p); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  auto n = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(n)};
}

/// A certificate that signs itself, for these names: "IP:127.0.0.1,DNS:localhost".
ServerTls self_signed(const char* names, long valid_seconds = 3600) {
  Key key(EVP_EC_gen("P-256"));
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -7200);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), valid_seconds);
  X509_set_pubkey(certificate.get(), key.get());
  auto* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("mayfly test"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  for (auto [id, value] : {std::pair{NID_subject_alt_name, names}, {NID_basic_constraints, "critical,CA:TRUE"}}) {
    auto* extension = X509V3_EXT_conf_nid(nullptr, nullptr, id, value);
    X509_add_ext(certificate.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  Bio certificate_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_text.get(), certificate.get());
  PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(certificate_text.get()), text_of(key_text.get())};
}

struct Secured : testing::Test {
  Secured() {
    router.add("GET", "/hello", [](Request r) -> Task<Response> { co_return text_response(200, "hello " + r.peer); });
    router.add("POST", "/echo", [](Request r) -> Task<Response> { co_return text_response(200, r.body); },
               {.max_body_bytes = 10'000'000});
  }
  Result<ClientResponse> get(TestServer& server, ClientTls tls, std::string host = "127.0.0.1") {
    Client client(loop.get_executor(), {.tls = std::move(tls)});
    return await(loop, client.send({.url = "https://" + host + server.address().substr(server.address().rfind(':')) + "/hello"}));
  }

  ServerTls identity = self_signed("IP:127.0.0.1,DNS:localhost");
  Router router;
  boost::asio::io_context loop;
};

TEST_F(Secured, AKnownServerIsTalkedTo) {
  TestServer server(router, {.tls = identity});
  for (auto host : {"127.0.0.1", "localhost"}) {
    auto response = get(server, {.ca = identity.certificate_chain}, host);
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_THAT(response->body, HasSubstr("hello 127.0.0.1:"));
  }
}

TEST_F(Secured, LargeBodiesAndKeptConnectionsWork) {
  TestServer server(router, {.tls = identity});
  Client client(loop.get_executor(), {.tls = {.ca = identity.certificate_chain}});
  std::string large;
  for (int i = 0; i < 300'000; ++i) large += std::to_string(i);
  for (int round = 0; round < 3; ++round) {
    auto response = await(loop, client.send({.method = "POST", .url = "https://" + server.address() + "/echo", .body = large}));
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->body, large);
    EXPECT_EQ(client.idle_connections(), 1u);
  }
  EXPECT_EQ(server.connections(), 1u);
}

TEST_F(Secured, AStrangerIsRefusedByDefault) {
  TestServer server(router, {.tls = identity});
  auto response = get(server, {});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Errc::unavailable);
  EXPECT_THAT(response.error().message, HasSubstr("certificate verify failed"));
  EXPECT_TRUE(get(server, {.verify = false}));
}

TEST_F(Secured, SoIsAnotherNameAndAnExpiredCertificate) {
  auto other = self_signed("DNS:elsewhere.example,IP:127.0.0.2");
  {
    TestServer server(router, {.tls = other});
    EXPECT_FALSE(get(server, {.ca = other.certificate_chain}));
    EXPECT_FALSE(get(server, {.ca = other.certificate_chain}, "localhost"));
  }
  auto expired = self_signed("IP:127.0.0.1", -3600);
  TestServer server(router, {.tls = expired});
  EXPECT_FALSE(get(server, {.ca = expired.certificate_chain}));
}

TEST_F(Secured, PlainBytesToATlsPortEndQuietly) {
  TestServer server(router, {.tls = identity});
  RawPeer plain(server.address());
  plain.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(plain.receive_all().find("HTTP/"), std::string::npos);
  EXPECT_TRUE(get(server, {.ca = identity.certificate_chain}));
}

TEST_F(Secured, AHandshakeThatStallsIsCutOff) {
  TestServer server(router, {.header_timeout = std::chrono::milliseconds(60), .tls = identity});
  RawPeer silent(server.address());
  EXPECT_TRUE(silent.ended());
}

TEST_F(Secured, KeysThatAreNoneAreRefusedWhenListening) {
  Server server(loop.get_executor(), router, {.tls = ServerTls{"not a certificate", identity.private_key}});
  EXPECT_EQ(server.listen("127.0.0.1:0").error().code, Errc::invalid);
  Server mismatched(loop.get_executor(), router, {.tls = ServerTls{identity.certificate_chain, self_signed("DNS:x").private_key}});
  EXPECT_EQ(mismatched.listen("127.0.0.1:0").error().code, Errc::invalid);
}

}  // namespace
}  // namespace mayfly::http
