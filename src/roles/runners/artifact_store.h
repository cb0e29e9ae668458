#pragma once
// What attempts leave behind for people and for later jobs. An artifact is visible once its bytes are durable and its row
// says so; it is named by (attempt, kind, path), so a runner that sends it twice has made one.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "ports/blobs.h"
#include "ports/clock.h"
#include "ports/database.h"

namespace mayfly {

inline constexpr std::size_t max_artifact_path_bytes = 4096;

struct ArtifactOwner {
  BuildId build;
  JobId job;
  AttemptId attempt;
};

struct Artifact {
  ArtifactId id;
  ArtifactOwner owner;
  std::string kind;              // "artifact" or "outputs"
  std::string path;
  std::int64_t size = 0;
  std::string sha256;            // hex
  std::string blob_key;
  Time created_at{};
  std::optional<Time> expires_at;
};

/// What a runner sends to the blob store itself.
struct DirectUpload {
  ArtifactId id;
  SignedPut put;
};

inline constexpr Duration signed_transfer_life = std::chrono::hours(1);   // within which a transfer has to begin
inline constexpr Duration upload_life = std::chrono::hours(24);           // within which it has to be committed

class ArtifactUpload;

class ArtifactStore final {
 public:
  ArtifactStore(Database& db, Blobs& blobs, Clock& clock, Entropy& entropy) : db_(db), blobs_(blobs), clock_(clock), entropy_(entropy) {}

  /// Errc::invalid for a path that is absolute, has "..", control characters or is too long, or an unknown kind.
  Task<Result<std::unique_ptr<ArtifactUpload>>> begin(ArtifactOwner owner, std::string kind, std::string path, std::optional<Time> expires);

  Task<Result<Artifact>> find(ArtifactId id);                                     // Errc::not_found, also when expired
  Task<Result<std::vector<Artifact>>> of_build(BuildId build, std::optional<ArtifactId> after, std::int64_t limit);
  /// Of a job's attempt that succeeded last (or, with none, its last).
  Task<Result<std::vector<Artifact>>> of_job(JobId job);
  Task<Result<std::string>> read(const Artifact& artifact, std::int64_t offset, std::int64_t length);

  /// Where the store itself serves the bytes; nothing where it serves nobody.
  std::optional<std::string> link(const Artifact& artifact);

  /// Where the bytes may be sent to, past this server; nothing where they have to come through begin(). Errc::invalid as begin().
  Task<Result<std::optional<DirectUpload>>> prepare(ArtifactOwner owner, std::string kind, std::string path, std::int64_t size, std::string sha256,
                                                    std::optional<Time> expires);
  /// Makes an artifact of what was prepared, once its bytes are there; again for who asks again. Errc::invalid: they are not
  /// there, or are others. Errc::not_found: this attempt has prepared no such upload, or too long ago.
  Task<Result<Artifact>> commit(ArtifactOwner owner, ArtifactId id);

  /// Removes what has expired, and uploads that were never committed; how many. The row of an artifact goes first: nothing ever
  /// names bytes that are gone.
  Task<Result<std::size_t>> expire();

 private:
  friend class ArtifactUpload;
  Result<void> check(std::string_view kind, std::string_view path) const;
  Artifact make(ArtifactOwner owner, std::string kind, std::string path, std::optional<Time> expires);
  Task<Result<void>> check_arrived(const Artifact& upload);
  Task<Result<std::size_t>> give_up_uploads();

  Database& db_;
  Blobs& blobs_;
  Clock& clock_;
  Entropy& entropy_;
};

class ArtifactUpload final {
 public:
  ArtifactUpload(ArtifactStore& store, Artifact artifact, std::unique_ptr<BlobWriter> writer)
      : store_(store), artifact_(std::move(artifact)), writer_(std::move(writer)) {}
  /// Errc::too_large past max_artifact_bytes.
  Task<Result<void>> write(std::string_view bytes);
  /// Errc::invalid when `sha256` (hex) is given and is not what arrived.
  Task<Result<Artifact>> finish(std::optional<std::string> sha256);

 private:
  ArtifactStore& store_;
  Artifact artifact_;
  std::unique_ptr<BlobWriter> writer_;
  Sha256Stream hash_;
};

}  // namespace mayfly
