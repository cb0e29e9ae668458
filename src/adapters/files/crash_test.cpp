// A writer is killed at any moment; every blob it had acknowledged is there with its bytes, and none is half there.

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "adapters/files/blobs.h"
#include "async/scope.h"
#include "support/crash.h"
#include "support/run.h"
#include "support/temp_dir.h"

namespace mayfly {
namespace {

using namespace std::chrono_literals;

std::string bytes_of(const std::string& key) {
  std::string out;
  for (std::size_t i = 0, n = std::hash<std::string>{}(key) % 3000; i < n; ++i) out += key;
  return out;
}

Task<void> put_for_ever(Blobs& blobs, int round, int& next, const Acknowledge& acknowledge) {
  for (;;) {
    auto n = next++;
    // Folders come and go, some blobs are streamed, some are put twice.
    auto key = "logs/" + std::to_string(round) + "-" + std::to_string(n / 5) + "/" + std::to_string(n % 5);
    auto bytes = bytes_of(key);
    if (n % 3 == 0) {
      auto writer = (co_await blobs.create(key)).value();
      (void)co_await writer->write(bytes);
      if (co_await writer->finish()) acknowledge(key);
    } else if (co_await blobs.put(key, bytes)) {
      acknowledge(key);
      if (n % 7 == 0) (void)co_await blobs.put(key, "other bytes");
      (void)co_await blobs.remove("passing/" + std::to_string(n - 10));
      (void)co_await blobs.put("passing/" + std::to_string(n), "x");
    }
  }
}

void work(const std::string& folder, int round, const Acknowledge& acknowledge) {
  auto pool = make_thread_offload(4);
  auto blobs = open_file_blobs(folder, *pool).value();
  TestLoop loop;
  int next = 0;
  auto all = [&]() -> Task<void> {
    Scope scope(loop.loop());
    for (int i = 0; i < 8; ++i) scope.spawn(put_for_ever(*blobs, round, next, acknowledge));
    co_await scope.join();
  };
  loop.run(all());
}

TEST(FilesCrash, EveryAcknowledgedBlobSurvivesAndNoneIsHalfThere) {
  TempDir dir;
  auto folder = dir.file("store");
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 10; ++round) {
    auto moment = 1ms * (round * round * 3);
    for (auto& key : kill_during([&](const Acknowledge& acknowledge) { work(folder, round, acknowledge); }, moment))
      acknowledged.push_back(key);

    auto pool = make_inline_offload();
    auto blobs = open_file_blobs(folder, *pool).value();
    EXPECT_TRUE(std::filesystem::is_empty(folder + "/tmp")) << "what was half written is cleared away";
    for (auto& key : acknowledged) {
      auto got = run(blobs->get(key));
      ASSERT_TRUE(got) << key << ": " << got.error().message;
      ASSERT_TRUE(*got == bytes_of(key)) << key;
    }
    auto there = run(blobs->list("", "", 1'000'000));
    ASSERT_TRUE(there);
    for (auto& info : *there) ASSERT_TRUE(run(blobs->get(info.key))) << info.key;
  }
  EXPECT_GT(acknowledged.size(), 30u) << "the test killed nothing that worked";
}

}  // namespace
}  // namespace mayfly
