#pragma once
// What a command sees of the process it runs in: its terminal, standard input and environment. Tests hand in their own.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/result.h"

namespace mayfly::cli {

/// Standard output and standard error. Commands write whole lines; what only a person wants (colour, lines that are
/// drawn again) depends on the two flags.
class Console {
 public:
  virtual ~Console() = default;
  virtual void out(std::string_view text) = 0;
  virtual void err(std::string_view text) = 0;
  virtual bool colour() const = 0;    // standard output is a terminal, and NO_COLOR is not set
  virtual bool terminal() const = 0;  // standard output can be drawn again
  virtual int width() const = 0;      // columns; 80 where nobody knows
  virtual int height() const = 0;     // rows; 24 where nobody knows
};

class Terminal;  // terminal.h

using Environment = std::function<std::optional<std::string>(std::string_view name)>;

struct World {
  Console& console;
  Environment environment;
  std::string directory;  // where relative paths begin
  /// All of standard input, without echo when it is a terminal. Errc::too_large past `max_bytes`.
  std::function<Result<std::string>(std::string_view prompt, std::size_t max_bytes)> read_input;
  /// For commands that hand every key to somebody else.
  std::function<std::unique_ptr<Terminal>(Loop)> make_terminal;
};

}  // namespace mayfly::cli
