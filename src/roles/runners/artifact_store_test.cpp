#include "roles/runners/artifact_store.h"

#include <gtest/gtest.h>

#include "adapters/files/blobs.h"
#include "async/offload.h"
#include "domain/runner/protocol.h"
#include "roles/schema.h"
#include "support/run.h"
#include "support/seeded_entropy.h"
#include "support/temp_dir.h"
#include "support/test_database.h"
#include "support/virtual_clock.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

struct Artifacts : testing::Test {
  TempDir dir;
  VirtualClock clock;
  SeededEntropy entropy{3};
  TestLoop loop{clock};
  std::unique_ptr<Offload> offload = make_inline_offload();
  std::unique_ptr<Database> db = make_test_database(schema());
  std::unique_ptr<Blobs> blobs = open_file_blobs((dir.path() / "blobs").string(), *offload).value();
  ArtifactStore store{*db, *blobs, clock, entropy};
  ArtifactOwner owner{make_id<BuildId>(clock, entropy), make_id<JobId>(clock, entropy), make_id<AttemptId>(clock, entropy)};

  Result<Artifact> put(std::string path, std::string bytes, std::optional<Time> expires = {}, std::optional<std::string> digest = {}) {
    auto upload = loop.run(store.begin(owner, "artifact", std::move(path), expires));
    if (!upload) return std::unexpected(upload.error());
    if (auto written = loop.run((*upload)->write(bytes)); !written) return std::unexpected(written.error());
    return loop.run((*upload)->finish(digest));
  }
  std::size_t kept() { return loop.run(blobs->list("", "", 100)).value().size(); }
};

TEST_F(Artifacts, AreKeptWithTheirDigestAndReadInParts) {
  auto made = put("out/app.bin", "hello world");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->sha256, to_hex(sha256("hello world")));
  auto found = loop.run(store.find(made->id));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size, 11);
  EXPECT_EQ(loop.run(store.read(*found, 6, 5)), "world");
}

TEST_F(Artifacts, SentTwiceAreOne) {
  auto first = put("a", "x"), second = put("a", "x");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->id, second->id);
  EXPECT_EQ(kept(), 1u);
}

TEST_F(Artifacts, ThatArriveDamagedAreRefusedAndLeaveNothing) {
  auto made = put("a", "x", {}, to_hex(sha256("y")));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::invalid);
  EXPECT_EQ(kept(), 0u);
}

TEST_F(Artifacts, GoWhenTheirTimeHasCome) {
  auto day = put("day", "1", clock.now() + 24h), ever = put("ever", "2");
  clock.advance(23h);
  EXPECT_EQ(loop.run(store.expire()), 0u);
  clock.advance(2h);
  EXPECT_EQ(loop.run(store.find(day->id)).error().code, Errc::not_found);
  EXPECT_EQ(loop.run(store.expire()), 1u);
  EXPECT_TRUE(loop.run(store.find(ever->id)));
  EXPECT_EQ(kept(), 1u);
}

TEST_F(Artifacts, PathsStayInTheWorkspace) {
  for (std::string path : {"", "/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a\nb"})
    EXPECT_FALSE(put(path, "x")) << path;
  EXPECT_FALSE(put(std::string(max_artifact_path_bytes + 1, 'a'), "x"));
  EXPECT_TRUE(put(std::string(max_artifact_path_bytes, 'a'), "x"));
  EXPECT_TRUE(put("a b/ü.txt", "x"));
}

/// A store that signs what it is asked for; the test brings the bytes.
class SigningBlobs final : public Blobs {
 public:
  explicit SigningBlobs(Blobs& under) : under_(under) {}
  Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view key) override { return under_.create(key); }
  Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) override { return under_.put(key, bytes); }
  Task<Result<std::string>> get(std::string_view key) override { return under_.get(key); }
  Task<Result<std::string>> get_range(std::string_view key, std::int64_t offset, std::int64_t length) override { return under_.get_range(key, offset, length); }
  Task<Result<std::optional<BlobInfo>>> head(std::string_view key) override { return under_.head(key); }
  Task<Result<std::vector<BlobInfo>>> list(std::string_view prefix, std::string_view after, std::size_t limit) override { return under_.list(prefix, after, limit); }
  Task<Result<void>> remove(std::string_view key) override { return under_.remove(key); }
  std::optional<std::string> signed_url(std::string_view key, Time, std::string_view name) override { return "get:" + std::string(key) + ":" + std::string(name); }
  std::optional<SignedPut> signed_put(std::string_view key, std::int64_t, const Sha256&, Time) override { return SignedPut{std::string(key), {{"a", "b"}}}; }

 private:
  Blobs& under_;
};

struct DirectArtifacts : Artifacts {
  SigningBlobs signing{*blobs};
  ArtifactStore direct{*db, signing, clock, entropy};

  DirectUpload prepare(std::string path, std::string_view bytes, std::optional<Time> expires = {}) {
    return loop.run(direct.prepare(owner, "artifact", std::move(path), std::int64_t(bytes.size()), to_hex(sha256(bytes)), expires)).value().value();
  }
  /// What the runner does between the two calls.
  void send(const DirectUpload& upload, std::string_view bytes) { ASSERT_TRUE(loop.run(blobs->put(upload.put.url, bytes))); }
  std::string commit(const DirectUpload& upload) {
    auto made = loop.run(direct.commit(owner, upload.id));
    return made ? made->id.str() : std::string(to_string(made.error().code));
  }
};

TEST_F(DirectArtifacts, AStoreThatSignsNothingPreparesNothing) {
  auto prepared = loop.run(store.prepare(owner, "artifact", "a", 1, to_hex(sha256("x")), {}));
  ASSERT_TRUE(prepared);
  EXPECT_FALSE(*prepared);
  EXPECT_FALSE(store.link(put("a", "x").value()));
}

TEST_F(DirectArtifacts, AreThereOnceTheirBytesAreAndTheyAreCommitted) {
  auto upload = prepare("out/app", "hello", clock.now() + 24h);
  EXPECT_EQ(loop.run(direct.find(upload.id)).error().code, Errc::not_found);
  EXPECT_EQ(commit(upload), "invalid") << "no bytes";
  send(upload, "hello");
  EXPECT_EQ(loop.run(direct.find(upload.id)).error().code, Errc::not_found) << "not yet";
  EXPECT_EQ(commit(upload), upload.id.str());
  EXPECT_EQ(commit(upload), upload.id.str()) << "who did not hear it asks again";
  auto made = loop.run(direct.find(upload.id)).value();
  EXPECT_EQ(made.path, "out/app");
  EXPECT_EQ(made.size, 5);
  EXPECT_EQ(made.expires_at, clock.now() + 24h);
  EXPECT_EQ(loop.run(direct.read(made, 0, 100)), "hello");
  EXPECT_EQ(direct.link(made), "get:" + made.blob_key + ":app");
}

TEST_F(DirectArtifacts, OtherBytesAreRefusedAndRemoved) {
  auto upload = prepare("a", "hello");
  send(upload, "hellO");
  EXPECT_EQ(commit(upload), "invalid");
  EXPECT_EQ(kept(), 0u);
  send(upload, "hello");
  EXPECT_EQ(commit(upload), upload.id.str()) << "the right ones may come yet";
}

TEST_F(DirectArtifacts, BelongToTheAttemptThatPreparedThem) {
  auto upload = prepare("a", "x");
  send(upload, "x");
  auto other = owner;
  other.attempt = make_id<AttemptId>(clock, entropy);
  EXPECT_EQ(loop.run(direct.commit(other, upload.id)).error().code, Errc::not_found);
  EXPECT_EQ(commit(upload), upload.id.str());
  EXPECT_EQ(loop.run(direct.commit(other, upload.id)).error().code, Errc::not_found);
}

TEST_F(DirectArtifacts, OfOneNameTheFirstStaysAndTheBytesOfOthersGo) {
  auto first = prepare("a", "x"), second = prepare("a", "x");
  send(first, "x");
  send(second, "x");
  EXPECT_EQ(commit(second), second.id.str());
  EXPECT_EQ(commit(first), second.id.str());
  EXPECT_EQ(commit(first), second.id.str());
  EXPECT_EQ(kept(), 2u);
  clock.advance(upload_life + 2h);
  EXPECT_EQ(loop.run(direct.expire()), 1u);
  EXPECT_EQ(kept(), 1u);
  EXPECT_EQ(loop.run(direct.read(loop.run(direct.find(second.id)).value(), 0, 1)), "x");
}

TEST_F(DirectArtifacts, ThatAreNeverCommittedAreGivenUp) {
  auto upload = prepare("a", "x"), unsent = prepare("b", "y");
  send(upload, "x");
  clock.advance(upload_life);
  EXPECT_EQ(commit(upload), "not_found") << "too late";
  EXPECT_EQ(loop.run(direct.expire()), 0u) << "another process may be just committing it";
  clock.advance(1h);
  EXPECT_EQ(loop.run(direct.expire()), 2u);
  EXPECT_EQ(kept(), 0u);
  EXPECT_EQ(loop.run(direct.expire()), 0u);
}

TEST_F(DirectArtifacts, WhatCannotBeAnArtifactIsNotPrepared) {
  auto code = [&](std::string kind, std::string path, std::int64_t size, std::string sha) {
    auto prepared = loop.run(direct.prepare(owner, kind, path, size, sha, {}));
    return prepared ? "" : std::string(to_string(prepared.error().code));
  };
  auto digest = to_hex(sha256("x"));
  EXPECT_EQ(code("artifact", "a", max_artifact_bytes, digest), "");
  EXPECT_EQ(code("artifact", "a", max_artifact_bytes + 1, digest), "too_large");
  EXPECT_EQ(code("artifact", "a", -1, digest), "invalid");
  EXPECT_EQ(code("artifact", "../a", 1, digest), "invalid");
  EXPECT_EQ(code("other", "a", 1, digest), "invalid");
  EXPECT_EQ(code("artifact", "a", 1, digest + "0"), "invalid");
  EXPECT_EQ(code("artifact", "a", 1, "x"), "invalid");
}

}  // namespace
}  // namespace mayfly
