#pragma once
// What every Blobs must do. To plug one in: link blobs_contract.cpp, and instantiate BlobsContract with a factory.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "ports/blobs.h"
#include "support/run.h"

namespace mayfly::contract {

/// An empty place for blobs.
class BlobsPlace {
 public:
  virtual ~BlobsPlace() = default;
  virtual Blobs& blobs() = 0;
  /// Opens it anew: nothing but what was stored is left.
  virtual void reopen() = 0;
  /// Changes a byte of the stored bytes behind the store's back; false where there is no way to.
  virtual bool damage(std::string_view key) = 0;
};

struct BlobsFactory {
  std::string name;
  std::function<std::unique_ptr<BlobsPlace>(TestLoop&)> make;

  friend void PrintTo(const BlobsFactory& f, std::ostream* out) { *out << f.name; }
};

class BlobsContract : public testing::TestWithParam<BlobsFactory> {
 protected:
  void SetUp() override { place = GetParam().make(loop); }

  Blobs& blobs() { return place->blobs(); }
  template <class T>
  T run(Task<T> task) {
    return loop.run(std::move(task));
  }
  void put(std::string_view key, std::string_view bytes);
  /// The bytes, or the error's code in angle brackets.
  std::string get(std::string_view key);
  std::string get_range(std::string_view key, std::int64_t offset, std::int64_t length);
  std::vector<std::string> list(std::string_view prefix, std::string_view after = {}, std::size_t limit = 1000);

  TestLoop loop;
  std::unique_ptr<BlobsPlace> place;
};

}  // namespace mayfly::contract
