#pragma once
// The Blobs port on Amazon S3 and what speaks like it. A blob is an object that carries the SHA-256 of its bytes as metadata;
// of one that was sent in parts, whose digest nobody knew at its beginning, the metadata names a small object that has it.

#include <memory>
#include <string>
#include <vector>

#include "net/client.h"
#include "ports/blobs.h"
#include "ports/clock.h"

namespace mayfly {

/// Blobs whose key begins with `prefix` go after so many days, by the server's own lifecycle, where it has one.
struct S3Expiry {
  std::string prefix = {};
  int days = 0;
};

struct S3Options {
  std::string endpoint = {};         // "https://s3.eu-central-1.amazonaws.com", "http://127.0.0.1:8333"
  std::string public_endpoint = {};  // as users of signed URLs reach it; empty: `endpoint`
  std::string region = "us-east-1";
  std::string bucket = {};
  std::string access_key = {};
  std::string secret_key = {};
  std::string session_token = {};
  std::string key_prefix = {};       // what the names of all our objects begin with: "mayfly/"
  bool virtual_host = false;         // bucket.host/key instead of host/bucket/key
  bool create_bucket = true;         // when it is missing
  bool conditional_writes = true;    // false for servers without If-None-Match: then a race may replace a blob by its equal
  bool sweep = true;                 // run() collects what crashed writers left: one process of many is enough

  std::size_t part_bytes = 8 << 20;  // 5 MiB to 5 GiB; up to parts_at_once of them are held in memory and sent as one object
  std::size_t parts_at_once = 4;
  std::int64_t max_blob_bytes = 64LL << 30;  // at most 10,000 parts

  Duration first_pause = std::chrono::milliseconds(50);
  Duration longest_pause = std::chrono::seconds(5);
  Duration give_up_after = std::chrono::seconds(60);  // no try begins after this
  Duration try_limit = std::chrono::seconds(20);      // of one try, and a second more for each megabyte
  Duration max_signed = std::chrono::hours(12);       // signed URLs end after this, whatever was asked for
  std::vector<S3Expiry> expiries = {};
};

inline constexpr std::int64_t max_s3_put = 5LL << 30;    // bytes of one PUT
inline constexpr std::size_t max_s3_parts = 10'000;

class S3Blobs : public Blobs {
 public:
  /// Gives up what writers abandoned, sets the bucket's lifecycle, and once in a while collects what crashed processes left.
  /// Until canceled. The store works without it, and leaves things lying about.
  virtual Task<void> run() = 0;
};

/// All of them outlive the store, and the store its writers. Errc::invalid for options that cannot be meant.
Result<std::unique_ptr<S3Blobs>> make_s3_blobs(Loop loop, http::Client& client, Clock& clock, Entropy& entropy, S3Options options);

}  // namespace mayfly
