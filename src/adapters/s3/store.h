#pragma once
// Blobs as objects: one request each, or two where a blob came in parts. What the port's methods and its writers share.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/s3/calls.h"
#include "async/signal.h"

namespace mayfly::s3 {

struct FoundBlob {
  BlobInfo info = {};            // sha256 of zeros when the object has none: it is not ours, or damaged
  bool has_digest = false;
  std::string digest_id = {};    // where the blob came in parts
};

/// An upload in parts that nobody will finish.
struct Abandoned {
  std::string key = {};
  std::string upload = {};
  std::string digest_id = {};
};

inline constexpr std::size_t max_abandoned = 1000;   // remembered; the sweep finds others
inline constexpr std::string_view digest_header = "x-amz-meta-mayfly-sha256";
inline constexpr std::string_view digest_id_header = "x-amz-meta-mayfly-digest";
inline constexpr std::string_view checksum_header = "x-amz-checksum-sha256";   // checked by the server as the bytes arrive

std::string checksum_text(const Sha256& digest);

class Store final {
 public:
  Store(Loop loop, std::unique_ptr<Calls> calls);

  Calls& calls() { return *calls_; }
  const S3Options& options() const { return calls_->options(); }
  Loop loop() const { return loop_; }

  std::string object_of(std::string_view key) const;
  std::string digest_object(std::string_view key, std::string_view digest_id) const;
  const std::string& blobs_prefix() const { return blobs_; }
  const std::string& digests_prefix() const { return digests_; }

  Task<Result<std::optional<FoundBlob>>> find(std::string key);
  /// The digest that a blob's headers have, or name; nothing when there is none.
  Task<Result<std::optional<Sha256>>> digest_in(std::string key, const http::Headers& headers);

  /// As one object. If the key is taken the bytes there stay.
  Task<Result<BlobInfo>> put(std::string key, std::string_view bytes);
  /// What a conditional write found to be there. Errc::unavailable when it has vanished since.
  Task<Result<BlobInfo>> standing(std::string key);
  Task<Result<void>> remove(std::string key);
  Task<Result<void>> remove_object(std::string object);
  Task<Result<std::vector<BlobInfo>>> list(std::string prefix, std::string after, std::size_t limit);
  /// One page of the objects whose name begins with `prefix`.
  Task<Result<Listing>> objects(std::string prefix, std::string after, std::size_t limit);

  void abandon(Abandoned upload);
  Task<Result<void>> abort(Abandoned upload);
  Task<void> abort_abandoned();
  /// Returns when something was abandoned, or at `until`.
  Task<void> wait_for_abandoned(Time until);

  /// Whether writes say `If-None-Match: *`; if not, the store is asked before each.
  bool conditional() const { return conditional_; }
  void do_without_conditions();

 private:
  Task<Result<void>> describe(std::vector<std::string> keys, std::vector<BlobInfo>& into);

  Loop loop_;
  std::unique_ptr<Calls> calls_;
  std::string blobs_, digests_;
  std::vector<Abandoned> abandoned_;
  Signal abandoned_signal_;
  bool conditional_;
};

}  // namespace mayfly::s3
