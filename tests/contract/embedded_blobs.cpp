#include <filesystem>
#include <fstream>

#include "adapters/files/blobs.h"
#include "contract/blobs_contract.h"
#include "support/temp_dir.h"

namespace mayfly::contract {
namespace {

class FilesPlace final : public BlobsPlace {
 public:
  explicit FilesPlace(std::unique_ptr<Offload> pool) : pool_(std::move(pool)) { reopen(); }
  Blobs& blobs() override { return *blobs_; }
  void reopen() override {
    blobs_.reset();
    blobs_ = open_file_blobs(dir_.file("store"), *pool_).value();
  }
  bool damage(std::string_view) override {
    for (auto& entry : std::filesystem::recursive_directory_iterator(dir_.path()))
      if (entry.is_regular_file()) {
        std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(100);
        auto c = char(file.get());
        file.seekp(100);
        file.put(char(c ^ 1));
        return true;
      }
    return false;
  }

 private:
  TempDir dir_;
  std::unique_ptr<Offload> pool_;
  std::unique_ptr<Blobs> blobs_;
};

const BlobsFactory threads{"FilesThreads", [](TestLoop&) { return std::make_unique<FilesPlace>(make_thread_offload(4)); }};
const BlobsFactory one_thread{"FilesInline", [](TestLoop&) { return std::make_unique<FilesPlace>(make_inline_offload()); }};

INSTANTIATE_TEST_SUITE_P(Embedded, BlobsContract, testing::Values(threads, one_thread),
                         [](auto& info) { return info.param.name; });

}  // namespace
}  // namespace mayfly::contract
