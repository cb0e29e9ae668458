#include "roles/runners/artifact_store.h"

#include <gtest/gtest.h>

#include "adapters/files/blobs.h"
#include "async/offload.h"
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

}  // namespace
}  // namespace mayfly
