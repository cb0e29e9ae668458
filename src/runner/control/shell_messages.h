#pragma once
// What the halves of a runner say about shells: programs that somebody outside runs in the job's sandbox beside its steps. Each
// has a number, given by the sidecar. Both sides count the bytes that the other has taken, and nobody sends more than
// shell_window_bytes ahead of that: so shells never keep a step's state or a cancel waiting on the socket they share.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/runner/shell.h"

namespace mayfly {

// Down.
struct OpenShell {
  std::int64_t shell = 0;
  std::string who = {};                  // for the job's log
  ShellWish wish = {};
  bool operator==(const OpenShell&) const = default;
};
struct ShellInput {
  std::int64_t shell = 0;
  std::string bytes = {};
  bool end = false;                      // nothing follows
  bool operator==(const ShellInput&) const = default;
};
struct ShellResize {
  std::int64_t shell = 0;
  ShellSize size = {};
  bool operator==(const ShellResize&) const = default;
};
/// Whoever looked is gone.
struct CloseShell {
  std::int64_t shell = 0;
  bool operator==(const CloseShell&) const = default;
};
/// Both ways: of the other's bytes, this many have been taken since the shell was opened.
struct ShellTaken {
  std::int64_t shell = 0;
  std::int64_t bytes = 0;
  bool operator==(const ShellTaken&) const = default;
};
/// Ends a hold.
struct ReleaseHold {
  bool operator==(const ReleaseHold&) const = default;
};

// Up.
struct ShellOutput {
  std::int64_t shell = 0;
  ShellStream stream = ShellStream::out;
  std::string bytes = {};                // masked
  bool operator==(const ShellOutput&) const = default;
};
/// The last word about it: nothing of its session runs any more.
struct ShellEnded {
  std::int64_t shell = 0;
  std::optional<int> exit_code = {};     // of a program that ended by itself; 128 + signal
  std::string detail = {};               // why, if it did not
  bool operator==(const ShellEnded&) const = default;
};
/// The job waits for people until then, because a step failed; nothing: it goes on.
struct HoldChange {
  std::optional<Time> until = {};
  bool operator==(const HoldChange&) const = default;
};

}  // namespace mayfly
