#pragma once
// The Blobs port in a map: for a world without disks.

#include <map>

#include "ports/blobs.h"

namespace mayfly::simulation {

class MemoryBlobs final : public Blobs {
 public:
  Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view key) override { co_return std::make_unique<Writer>(*this, std::string(key)); }
  Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) override {
    auto& kept = blobs_.try_emplace(std::string(key), bytes).first->second;
    co_return BlobInfo{std::string(key), std::int64_t(kept.size()), mayfly::sha256(kept)};
  }
  Task<Result<std::string>> get(std::string_view key) override { co_return co_await get_range(key, 0, INT64_MAX); }
  Task<Result<std::string>> get_range(std::string_view key, std::int64_t offset, std::int64_t length) override {
    auto at = blobs_.find(std::string(key));
    if (at == blobs_.end()) co_return fail(Errc::not_found, "no such blob");
    co_return at->second.substr(std::size_t(offset), std::size_t(length));
  }
  Task<Result<std::optional<BlobInfo>>> head(std::string_view key) override {
    auto at = blobs_.find(std::string(key));
    if (at == blobs_.end()) co_return std::optional<BlobInfo>{};
    co_return std::optional(BlobInfo{at->first, std::int64_t(at->second.size()), mayfly::sha256(at->second)});
  }
  Task<Result<std::vector<BlobInfo>>> list(std::string_view prefix, std::string_view after, std::size_t limit) override {
    std::vector<BlobInfo> out;
    for (auto at = blobs_.lower_bound(std::string(prefix)); at != blobs_.end() && at->first.starts_with(prefix) && out.size() < limit; ++at)
      if (at->first > after) out.push_back({at->first, std::int64_t(at->second.size()), mayfly::sha256(at->second)});
    co_return out;
  }
  Task<Result<void>> remove(std::string_view key) override {
    blobs_.erase(std::string(key));
    co_return Result<void>{};
  }
  std::optional<std::string> signed_url(std::string_view, Time, std::string_view) override { return std::nullopt; }
  std::optional<SignedPut> signed_put(std::string_view, std::int64_t, const Sha256&, Time) override { return std::nullopt; }

 private:
  class Writer final : public BlobWriter {
   public:
    Writer(MemoryBlobs& blobs, std::string key) : blobs_(blobs), key_(std::move(key)) {}
    Task<Result<void>> write(std::string_view bytes) override {
      bytes_ += bytes;
      co_return Result<void>{};
    }
    Task<Result<BlobInfo>> finish() override { return blobs_.put(key_, bytes_); }

   private:
    MemoryBlobs& blobs_;
    std::string key_, bytes_;
  };

  std::map<std::string, std::string> blobs_;
};

}  // namespace mayfly::simulation
