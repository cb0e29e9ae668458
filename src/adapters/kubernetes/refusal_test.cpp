#include "adapters/kubernetes/refusal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mayfly::kubernetes {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

http::ClientResponse answer(int status, std::string body, http::Headers headers = {}) { return {status, std::move(headers), std::move(body)}; }
Errc code_of(int status, const std::string& message = "because") {
  return error_of(read_refusal(answer(status, R"({"kind": "Status", "reason": "R", "message": ")" + message + "\"}")), "it").code;
}

TEST(Refusals, HaveTheirKinds) {
  EXPECT_EQ(code_of(401), Errc::unauthenticated);
  EXPECT_EQ(code_of(404), Errc::not_found);
  EXPECT_EQ(code_of(409), Errc::conflict);
  EXPECT_EQ(code_of(422), Errc::unsupported);
  EXPECT_EQ(code_of(500), Errc::unavailable);
}

TEST(Refusals, OfPermissionQuotaAndPolicyAreToldApart) {
  EXPECT_EQ(code_of(403, "jobs.batch is forbidden: User x cannot create resource jobs in API group batch"), Errc::forbidden);
  EXPECT_EQ(code_of(403, "pods x is forbidden: exceeded quota: small, requested: pods=1"), Errc::rate_limited);
  EXPECT_EQ(code_of(403, "pods x is forbidden: violates PodSecurity restricted:latest: host namespaces"), Errc::unsupported);
  EXPECT_EQ(code_of(403, "admission webhook policy denied the request: no"), Errc::unsupported);
}

TEST(Refusals, SayWhatTheServerSaidAndNotMore) {
  auto refusal = read_refusal(answer(500, std::string(shown_message_bytes * 2, 'x')));
  EXPECT_LE(refusal.message.size(), shown_message_bytes + 3);
  EXPECT_THAT(error_of(read_refusal(answer(502, "<html>bad gateway")), "it").message, HasSubstr("it: 502: <html>bad gateway"));
  EXPECT_THAT(read_refusal(answer(500, "\xff")).message, "\xEF\xBF\xBD");
}

TEST(Refusals, AskForTimeWithinReason) {
  EXPECT_EQ(read_refusal(answer(429, "", {{{"Retry-After", "3"}}})).retry_after, 3s);
  EXPECT_EQ(read_refusal(answer(429, R"({"kind": "Status", "details": {"retryAfterSeconds": 2}})")).retry_after, 2s);
  EXPECT_EQ(read_refusal(answer(429, "", {{{"Retry-After", "86400"}}})).retry_after, max_retry_after);
  EXPECT_EQ(read_refusal(answer(429, "", {{{"Retry-After", "-5"}}})).retry_after, std::nullopt);
  EXPECT_EQ(read_refusal(answer(429, "", {{{"Retry-After", "soon"}}})).retry_after, std::nullopt);
}

}  // namespace
}  // namespace mayfly::kubernetes
