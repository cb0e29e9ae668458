#pragma once
// One call to the S3 server: signed, sent, and repeated while it may help.

#include <optional>
#include <string>
#include <string_view>

#include "adapters/s3/blobs.h"
#include "adapters/s3/sigv4.h"
#include "adapters/s3/xml.h"

namespace mayfly::s3 {

struct Call {
  std::string method = "GET";
  std::string object = {};                   // its whole name; empty: the bucket itself
  http::Query query = {};
  http::Headers headers = {};
  std::string_view body = {};                // alive until the call is done
  std::optional<Sha256> body_digest = {};    // where it is known already
  std::size_t max_answer = max_xml_bytes;
  std::size_t expected_answer = 0;           // bytes; they are given the time to come
};

class Calls final {
 public:
  static Result<std::unique_ptr<Calls>> make(http::Client& client, Clock& clock, Entropy& entropy, S3Options options);

  /// The server's last word: success, or a refusal that will not change (4xx, 501). Server errors, timeouts and broken connections
  /// are met with another try, after growing pauses, until Errc::unavailable. Errc::too_large: max_answer. A missing bucket is made.
  Task<Result<http::ClientResponse>> send(Call call);

  /// What a refusal means to users of the port.
  Error refused(const Call& call, const http::ClientResponse& answer) const;
  /// send() where only success is expected.
  Task<Result<http::ClientResponse>> succeed(Call call);

  /// A URL of `method` on the object, signed with these headers.
  std::string signed_url(std::string method, std::string object, http::Query query, http::Headers headers, Time expires) const;

  /// The pause before try number `failures` + 2. Errc::unavailable when `give_up` would pass.
  Task<Result<void>> pause(int failures, Time give_up, const Error& last);

  const S3Options& options() const { return options_; }
  Clock& clock() { return clock_; }
  Entropy& entropy() { return entropy_; }

 private:
  struct Place {
    std::string scheme, host, path;   // of the bucket
  };

  Calls(http::Client& client, Clock& clock, Entropy& entropy, S3Options options) : client_(client), clock_(clock), entropy_(entropy), options_(std::move(options)) {}
  static Result<Place> place_of(const S3Options& options, const std::string& endpoint);
  SignedRequest request(const Place& place, const Call& call) const;
  Credentials who() const { return {options_.access_key, options_.secret_key, options_.session_token}; }
  Task<Result<http::ClientResponse>> once(const Call& call, std::string_view payload);
  Task<Result<void>> make_bucket();

  http::Client& client_;
  Clock& clock_;
  Entropy& entropy_;
  const S3Options options_;
  Place place_, public_place_;
};

}  // namespace mayfly::s3
