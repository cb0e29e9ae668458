#pragma once
// Bytes on their way to S3: as one object while they fit into memory, in parts past that, a few at a time.

#include <memory>
#include <string>
#include <vector>

#include "adapters/s3/store.h"

namespace mayfly::s3 {

class Writer final : public BlobWriter {
 public:
  Writer(Store& store, std::string key) : store_(store), key_(std::move(key)) {}
  ~Writer() override;

  Task<Result<void>> write(std::string_view bytes) override;
  Task<Result<BlobInfo>> finish() override;

 private:
  struct Part {
    std::string etag;
    std::string checksum;
  };

  std::size_t room() const { return store_.options().part_bytes * store_.options().parts_at_once; }
  Task<Result<void>> take(std::string_view bytes);
  Task<Result<void>> begin();
  Task<Result<void>> send_parts();
  Task<Result<Part>> send_part(std::size_t number, std::string_view bytes);
  Task<Result<BlobInfo>> complete();
  Task<Result<BlobInfo>> give_way(Error refusal);
  Task<Result<http::ClientResponse>> ask_to_complete();
  Task<Result<void>> store_digest(const Sha256& digest);
  Task<void> give_up();

  Store& store_;
  const std::string key_;
  std::string buffer_;
  Sha256Stream hash_;
  std::int64_t size_ = 0;
  Abandoned upload_;               // under way once it has an id
  std::vector<Part> parts_;
  Result<void> state_;
};

}  // namespace mayfly::s3
