#pragma once
// For tests: SQLite's files with their fsyncs counted, and failing on demand.

#include <sqlite3.h>

#include <atomic>
#include <mutex>

namespace mayfly::sqlite {

/// While it lives, every database that is opened in this process goes through it. One at a time.
class WatchedDisk final {
 public:
  WatchedDisk() {
    vfs_.xOpen = open;
    vfs_.zName = "watched";
    vfs_.pNext = nullptr;
    sqlite3_vfs_register(&vfs_, 1);
    syncs = 0;
    fails = false;
  }
  ~WatchedDisk() { sqlite3_vfs_unregister(&vfs_); }
  WatchedDisk(const WatchedDisk&) = delete;
  WatchedDisk& operator=(const WatchedDisk&) = delete;

  inline static std::atomic<int> syncs;
  inline static std::atomic<bool> fails;

 private:
  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    int rc = real_->xOpen(real_, name, file, flags, out_flags);
    if (rc != SQLITE_OK || !file->pMethods) return rc;
    // Databases have one table of methods, all other files another; ours differ in their fsync.
    bool is_database = flags & SQLITE_OPEN_MAIN_DB;
    std::call_once(copied_[is_database], [&] {
      methods_[is_database] = *file->pMethods;
      methods_[is_database].xSync = sync;
      real_sync_[is_database] = file->pMethods->xSync;
    });
    file->pMethods = &methods_[is_database];
    return rc;
  }
  static int sync(sqlite3_file* file, int flags) {
    ++syncs;
    return fails ? SQLITE_IOERR_FSYNC : real_sync_[file->pMethods == &methods_[true]](file, flags);
  }

  inline static sqlite3_vfs* real_ = sqlite3_vfs_find(nullptr);
  inline static int (*real_sync_[2])(sqlite3_file*, int);
  inline static std::once_flag copied_[2];
  inline static sqlite3_io_methods methods_[2];
  inline static sqlite3_vfs vfs_ = *real_;  // databases opened through it may outlive the object
};

}  // namespace mayfly::sqlite
