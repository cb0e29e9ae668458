#include "domain/access/workload.h"

#include <gmock/gmock.h>

#include "base/json.h"
#include "domain/access/testing/workload_signer.h"

namespace mayfly {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

json::object object_of(const std::string& text) { return parse_json(text)->as_object(); }

class WorkloadToken : public testing::Test {
 protected:
  static const WorkloadSigner& rsa() {
    static const WorkloadSigner signer("r1", true);
    return signer;
  }
  static const WorkloadSigner& ec() {
    static const WorkloadSigner signer("e1", false);
    return signer;
  }

  static json::object said() {
    return {{"iss", "https://cluster"}, {"aud", json::array{"mayfly"}}, {"exp", 2000}, {"nbf", 1000}, {"iat", 1000},
            {"sub", "system:serviceaccount:ci:runner"},
            {"kubernetes.io", json::object{{"namespace", "ci"}, {"serviceaccount", json::object{{"name", "runner"}, {"uid", "s"}}},
                                           {"pod", json::object{{"name", "mayfly-a1-x7k2p"}, {"uid", "u1"}}}, {"node", json::object{{"name", "n1"}}}}}};
  }
  static std::string claims() { return json::serialize(said()); }
  static std::string with(const char* name, json::value value) {
    auto out = said();
    out[name] = std::move(value);
    return json::serialize(out);
  }
  static std::string with_platform(const char* name, json::value value) {
    auto out = said();
    out["kubernetes.io"].as_object()[name] = std::move(value);
    return json::serialize(out);
  }

  Result<Workload> check(const std::string& token, std::int64_t seconds = 1500) const { return verify_workload(token, keys_, rules_, from_micros(seconds * 1'000'000)); }
  void expect_refused(const std::string& token, std::string_view why) const {
    auto got = check(token);
    ASSERT_FALSE(got) << why;
    EXPECT_EQ(got.error().code, Errc::unauthenticated);
    EXPECT_THAT(got.error().message, HasSubstr(why));
  }

  std::vector<VerificationKey> keys_ = *verification_keys_from_jwks(jwks_of(rsa().jwk() + "," + ec().jwk()));
  WorkloadRules rules_{.issuer = "https://cluster", .audience = "mayfly", .name_space = "ci", .service_account = "runner", .pod = "mayfly-a1"};
};

TEST_F(WorkloadToken, NamesItsPodByEitherKindOfKey) {
  Workload expected{.pod = "mayfly-a1-x7k2p", .pod_uid = "u1", .node = "n1"};
  EXPECT_EQ(check(rsa().token(claims())), expected);
  EXPECT_EQ(check(ec().token(claims())), expected);
  EXPECT_EQ(check(ec().token(with("aud", "mayfly"))), expected) << "one audience needs no array";
  EXPECT_EQ(check(ec().token(with_platform("pod", json::object{{"name", "mayfly-a1"}, {"uid", "u1"}})))->pod, "mayfly-a1") << "a bare pod";
  EXPECT_EQ(check(ec().token(with_platform("node", nullptr)))->node, "") << "older clusters do not say";
}

TEST_F(WorkloadToken, IsRefusedWhenItsWordsAreNotOurs) {
  expect_refused(ec().token(with("iss", "https://another")), "another issuer");
  expect_refused(ec().token(with("iss", 7)), "another issuer");
  expect_refused(ec().token(with("aud", json::array{"https://kubernetes.default.svc"})), "somebody else");
  expect_refused(ec().token(with("aud", json::array{})), "somebody else");
  expect_refused(ec().token(with("aud", json::object{{"mayfly", true}})), "somebody else");
  expect_refused(ec().token(with("kubernetes.io", "ci")), "of no pod");
  expect_refused(ec().token(with_platform("namespace", "other")), "another namespace");
  expect_refused(ec().token(with_platform("serviceaccount", json::object{{"name", "default"}})), "another service account");
  for (auto* name : {"mayfly-a2", "mayfly-a1b", "mayfly", "", "x-mayfly-a1"})
    expect_refused(ec().token(with_platform("pod", json::object{{"name", name}, {"uid", "u1"}})), "another pod");
  expect_refused(ec().token(with_platform("pod", json::object{{"uid", "u1"}})), "another pod");
  expect_refused(ec().token(with_platform("pod", json::object{{"name", "mayfly-a1"}})), "which pod");
}

TEST_F(WorkloadToken, IsGoodForItsTimeAndNoLonger) {
  auto token = ec().token(claims());
  auto skew = workload_clock_skew / std::chrono::seconds(1);
  EXPECT_TRUE(check(token, 1000 - skew));
  EXPECT_FALSE(check(token, 1000 - skew - 1));
  EXPECT_TRUE(check(token, 2000 + skew - 1));
  EXPECT_FALSE(check(token, 2000 + skew));
  expect_refused(ec().token(with("exp", nullptr)), "when it expires");
  expect_refused(ec().token(with("exp", "2000")), "when it expires");
  expect_refused(ec().token(with("exp", 9.2e18)), "when it expires");
  expect_refused(ec().token(with("exp", std::int64_t(1) << 60)), "when it expires");
  expect_refused(ec().token(with("exp", -1)), "when it expires");
  expect_refused(ec().token(with("nbf", "never")), "not valid yet");
}

TEST_F(WorkloadToken, CannotChooseHowItIsChecked) {
  auto unsigned_text = to_base64url(R"({"alg":"none","kid":"e1"})") + "." + to_base64url(claims()) + ".";
  expect_refused(unsigned_text, "no such key for this algorithm");
  expect_refused(ec().token(R"({"alg":"RS256","kid":"e1"})", claims()), "no such key for this algorithm");
  expect_refused(rsa().token(R"({"alg":"ES256","kid":"r1"})", claims()), "no such key for this algorithm");
  expect_refused(rsa().token(R"({"alg":"ES256","kid":"e1"})", claims()), "signature does not fit");
  expect_refused(ec().token(R"({"alg":"ES256","kid":"e2"})", claims()), "no such key");
  expect_refused(ec().token(R"({"alg":"ES256"})", claims()), "names no algorithm, or no key");
  expect_refused(ec().token(R"({"alg":"ES256","kid":"e1","crit":["exp"]})", claims()), "critical");
  // HMAC with the public key as the secret.
  auto text = to_base64url(R"({"alg":"HS256","kid":"r1"})") + "." + to_base64url(claims());
  auto mac = hmac_sha256(rsa().jwk(), text);
  expect_refused(text + "." + to_base64url({reinterpret_cast<const char*>(mac.data()), mac.size()}), "no such key for this algorithm");
  // A key of its own, brought along.
  WorkloadSigner own("own", false);
  expect_refused(own.token(R"({"alg":"ES256","kid":"own","jwk":)" + own.jwk() + "}", claims()), "no such key");
  expect_refused(own.token(R"({"alg":"ES256","kid":"e1","jwk":)" + own.jwk() + "}", claims()), "signature does not fit");
}

TEST_F(WorkloadToken, IsRefusedWhenAByteOfItChanges) {
  for (auto* signer : {&rsa(), &ec()}) {
    auto token = signer->token(claims());
    for (std::size_t i = 0; i < token.size(); i += 7) {
      auto changed = token;
      changed[i] = changed[i] == 'A' ? 'B' : 'A';
      EXPECT_FALSE(check(changed)) << i;
    }
  }
  auto token = ec().token(claims());
  for (std::size_t cut : {std::size_t(0), std::size_t(1), token.find('.'), token.rfind('.'), token.rfind('.') + 1, token.size() - 1}) EXPECT_FALSE(check(token.substr(0, cut))) << cut;
}

TEST_F(WorkloadToken, IsRefusedWhenItIsNoToken) {
  for (auto* text : {"", ".", "..", "...", "a.b", "a.b.c.d", "e30.e30.A", "bnVsbA.e30.e30", "W10.W10.W10", "e30=.e30.e30"}) expect_refused(text, "no signed token");
  auto token = ec().token(claims());
  expect_refused(token + "=", "no signed token");
  expect_refused(token + "A", "signature does not fit");
  expect_refused(token + std::string("\0", 1), "no signed token");
  expect_refused(std::string(max_workload_token_bytes + 1, 'a'), "too long");
  expect_refused(std::string(max_workload_token_bytes, 'a'), "no signed token");
}

TEST(Jwks, KeysThatAreOfNoUseAreLeftOut) {
  WorkloadSigner rsa("r", true), small("s", true, 1024), ec("e", false);
  auto changed = [](json::object key, const char* name, json::value value) {
    key[name] = std::move(value);
    return key;
  };
  auto one = [](json::value key) { return *verification_keys_from_jwks(jwks_of(json::serialize(key))); };
  EXPECT_THAT(one(object_of(rsa.jwk())), SizeIs(1));
  EXPECT_THAT(one(object_of(ec.jwk())), SizeIs(1));
  EXPECT_THAT(one(changed(object_of(rsa.jwk()), "alg", nullptr)), SizeIs(1)) << "it may be left open";
  for (json::value bad : {json::value(object_of(small.jwk())), json::value(changed(object_of(rsa.jwk()), "use", "enc")), json::value(changed(object_of(rsa.jwk()), "alg", "PS256")), json::value(changed(object_of(rsa.jwk()), "alg", "HS256")),
                          json::value(changed(object_of(rsa.jwk()), "kid", "")), json::value(changed(object_of(rsa.jwk()), "kid", 1)), json::value(changed(object_of(rsa.jwk()), "n", "!")), json::value(changed(object_of(rsa.jwk()), "e", "")),
                          json::value(changed(object_of(rsa.jwk()), "e", "AQ")), json::value(changed(object_of(rsa.jwk()), "n", json::value(to_base64url(std::string(max_rsa_bits / 8 + 1, 'x'))))),
                          json::value(changed(object_of(ec.jwk()), "crv", "P-384")), json::value(changed(object_of(ec.jwk()), "x", "AAAA")), json::value(changed(object_of(ec.jwk()), "kty", "OKP")),
                          json::value(json::object{{"kty", "oct"}, {"kid", "o"}, {"k", "c2VjcmV0"}}), json::value("key"), json::value(nullptr)})
    EXPECT_THAT(one(bad), IsEmpty()) << bad;
}

TEST(Jwks, APointOffTheCurveVerifiesNothing) {
  WorkloadSigner ec("e", false);
  auto jwk = object_of(ec.jwk());
  jwk["y"] = to_base64url(std::string(32, '\1'));
  auto keys = *verification_keys_from_jwks(jwks_of(json::serialize(jwk)));
  auto got = verify_workload(ec.token("{}"), keys, {}, Time{});
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("signature does not fit"));
}

TEST(Jwks, HasItsLimits) {
  WorkloadSigner ec("e", false);
  std::string many = ec.jwk();
  for (std::size_t i = 0; i < max_verification_keys; ++i) many += "," + ec.jwk();
  EXPECT_THAT(*verification_keys_from_jwks(jwks_of(many)), SizeIs(max_verification_keys));
  auto text = jwks_of("");
  EXPECT_TRUE(verification_keys_from_jwks(text + std::string(max_jwks_bytes - text.size(), ' ')));
  EXPECT_FALSE(verification_keys_from_jwks(text + std::string(max_jwks_bytes - text.size() + 1, ' ')));
  for (auto* bad : {"", "[]", "{}", "{\"keys\":{}}", "null", "{\"keys\":[}"}) EXPECT_EQ(verification_keys_from_jwks(bad).error().code, Errc::invalid) << bad;
}

}  // namespace
}  // namespace mayfly
