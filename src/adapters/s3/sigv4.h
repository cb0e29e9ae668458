#pragma once
// AWS Signature Version 4, as Amazon S3 wants it: proof in a request's headers, or in a URL that anybody may use for a while.
// Pure: the time is given. (AWS, "Authenticating Requests (AWS Signature Version 4)", API version 2006-03-01.)

#include <cstdint>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/time.h"
#include "net/http.h"

namespace mayfly::s3 {

struct Credentials {
  std::string access_key = {};
  std::string secret_key = {};      // never leaves sigv4.cpp but as a MAC
  std::string session_token = {};   // of temporary credentials; may be empty
};

struct SigningScope {
  std::string region = "us-east-1";
  std::string service = "s3";
};

/// A request as it is signed and sent. All of `headers` is signed, and `host`.
struct SignedRequest {
  std::string method = "GET";
  std::string host = {};            // as the Host header has it
  std::string path = "/";           // not encoded
  http::Query query = {};           // not encoded
  http::Headers headers = {};
};

inline constexpr std::string_view unsigned_payload = "UNSIGNED-PAYLOAD";
inline constexpr Duration max_presigned = std::chrono::days(7);   // S3 refuses longer ones

/// Path and query as they travel, encoded the way they are signed.
std::string target_of(const SignedRequest& request);

/// The text whose hash is signed. `payload`: hex SHA-256 of the body, or unsigned_payload.
std::string canonical_request(const SignedRequest& request, std::string_view payload);

/// The value of Authorization for a request that has its X-Amz-Date header (as amz_date(now)) among its headers.
std::string authorization(const SignedRequest& request, std::string_view payload, const Credentials& who, const SigningScope& scope, Time now);

/// Adds X-Amz-Date, X-Amz-Content-Sha256, X-Amz-Security-Token where there is one, and Authorization.
void sign(SignedRequest& request, std::string_view payload, const Credentials& who, const SigningScope& scope, Time now);

/// Path and query that are good from `now` for `valid` (1 s to max_presigned, cut to that). Whoever uses them sends exactly the
/// request's headers; the body is not signed.
std::string presign(SignedRequest request, const Credentials& who, const SigningScope& scope, Time now, Duration valid);

std::string amz_date(Time at);   // "20130524T000000Z"

}  // namespace mayfly::s3
