#include "adapters/files/blobs.h"

#include "adapters/files/store.h"

namespace mayfly {
namespace files {
namespace {

/// Small writes are gathered up to this before a thread is asked to write them.
constexpr std::size_t buffer_bytes = 256 << 10;

std::unexpected<Error> too_long(const Store& store, std::string_view key) {
  return fail(Errc::too_large,
              "blob " + std::string(key) + " passes " + std::to_string(store.options().max_blob_bytes) + " bytes");
}

class Writer final : public BlobWriter {
 public:
  Writer(Store& store, Offload& pool, TempFile temp, std::string key)
      : store_(store), pool_(pool), temp_(std::move(temp)), key_(std::move(key)) {}

  Task<Result<void>> write(std::string_view bytes) override {
    CO_TRY(check());
    if (std::int64_t(bytes.size()) > store_.options().max_blob_bytes - size_)
      co_return broken(too_long(store_, key_));
    size_ += std::int64_t(bytes.size());
    if (buffer_.size() + bytes.size() <= buffer_bytes) {
      buffer_ += bytes;
      co_return Result<void>{};
    }
    co_return broken(co_await offload(pool_, [&]() -> Result<void> {
      TRY(flush());
      return temp_->append(bytes);
    }));
  }

  Task<Result<BlobInfo>> finish() override {
    CO_TRY(check());
    auto placed = co_await offload(pool_, [&]() -> Result<BlobInfo> {
      TRY(flush());
      return store_.place(std::exchange(temp_, std::nullopt).value(), key_);
    });
    broken(fail(Errc::internal, "blob " + key_ + " is finished already"));
    co_return placed;
  }

 private:
  Result<void> check() const { return state_; }
  Result<void> broken(Result<void> with) {
    if (!with) state_ = with;
    return with;
  }
  Result<void> flush() {
    TRY(temp_->append(buffer_));
    buffer_.clear();
    return {};
  }

  Store& store_;
  Offload& pool_;
  std::optional<TempFile> temp_;
  std::string key_, buffer_;
  std::int64_t size_ = 0;
  Result<void> state_;
};

class FileBlobs final : public Blobs {
 public:
  FileBlobs(std::unique_ptr<Store> store, Offload& pool) : store_(std::move(store)), pool_(pool) {}

  Task<Result<std::unique_ptr<BlobWriter>>> create(std::string_view key) override {
    CO_TRY(check_blob_key(key));
    CO_TRY_ASSIGN(auto temp, co_await offload(pool_, [this] { return store_->make_temp(); }));
    co_return std::make_unique<Writer>(*store_, pool_, std::move(temp), std::string(key));
  }

  Task<Result<BlobInfo>> put(std::string_view key, std::string_view bytes) override {
    CO_TRY(check_blob_key(key));
    if (std::int64_t(bytes.size()) > store_->options().max_blob_bytes)
      co_return too_long(*store_, key);
    co_return co_await offload(pool_, [&]() -> Result<BlobInfo> {
      TRY_ASSIGN(auto temp, store_->make_temp());
      TRY(temp.append(bytes));
      return store_->place(std::move(temp), key);
    });
  }

  Task<Result<std::string>> get(std::string_view key) override {
    co_return co_await get_range(key, 0, std::numeric_limits<std::int64_t>::max());
  }

  Task<Result<std::string>> get_range(std::string_view key, std::int64_t offset, std::int64_t length) override {
    CO_TRY(check_blob_key(key));
    co_return co_await offload(pool_, [&] { return store_->read(key, offset, length); });
  }

  Task<Result<std::optional<BlobInfo>>> head(std::string_view key) override {
    CO_TRY(check_blob_key(key));
    co_return co_await offload(pool_, [&] { return store_->head(key); });
  }

  Task<Result<std::vector<BlobInfo>>> list(std::string_view prefix, std::string_view after, std::size_t limit) override {
    CO_TRY(check_blob_prefix(prefix));
    co_return co_await offload(pool_, [&] { return store_->list(prefix, std::string(after), limit); });
  }

  Task<Result<void>> remove(std::string_view key) override {
    CO_TRY(check_blob_key(key));
    co_return co_await offload(pool_, [&] { return store_->remove(key); });
  }

  std::optional<std::string> signed_url(std::string_view, Time, std::string_view) override { return std::nullopt; }
  std::optional<SignedPut> signed_put(std::string_view, std::int64_t, const Sha256&, Time) override { return std::nullopt; }

 private:
  std::unique_ptr<Store> store_;
  Offload& pool_;
};

}  // namespace
}  // namespace files

Result<std::unique_ptr<Blobs>> open_file_blobs(std::string folder, Offload& pool, FileBlobsOptions options) {
  TRY_ASSIGN(auto store, files::Store::open(std::move(folder), options));
  return std::make_unique<files::FileBlobs>(std::move(store), pool);
}

}  // namespace mayfly
