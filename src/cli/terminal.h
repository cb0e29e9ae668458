#pragma once
// This process's own terminal and streams, for commands that hand every key to somebody else. Asio stays in terminal.cpp.

#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/result.h"
#include "domain/runner/shell.h"

namespace mayfly::cli {

class Terminal {
 public:
  virtual ~Terminal() = default;  // restores what raw() changed
  /// Standard input and output are both a terminal.
  virtual bool interactive() const = 0;
  virtual ShellSize size() const = 0;
  virtual std::string name() const = 0;   // $TERM
  /// Every key comes as it is, until this is destroyed or the process ends, by a signal too.
  virtual void raw() = 0;
  /// Some of standard input; empty at its end. One read at a time.
  virtual Task<std::string> read() = 0;
  /// To standard output or standard error. Errc::unavailable: nobody reads it any more.
  virtual Task<Result<void>> write(ShellStream stream, std::string bytes) = 0;
  /// Returns when the terminal has another size.
  virtual Task<void> resized() = 0;
  /// Returns the signal that asks this process to end.
  virtual Task<int> interrupted() = 0;
};

std::unique_ptr<Terminal> make_terminal(Loop loop);

}  // namespace mayfly::cli
