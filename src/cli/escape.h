#pragma once
// The way out of a shell that does not answer: `~.` at the beginning of a line, as ssh has it. `~~` is one `~`.

#include <string>
#include <string_view>

namespace mayfly::cli {

class EscapeFilter final {
 public:
  /// What of the keys is for the shell. Keys may come in any pieces; nothing after `~.` is handed on.
  std::string feed(std::string_view keys) {
    std::string out;
    for (char key : keys) {
      if (detached_) break;
      if (tilde_) {
        tilde_ = false;
        if (key == '.') {
          detached_ = true;
          break;
        }
        out += '~';
        if (key == '~') {
          line_begins_ = false;
          continue;
        }
      } else if (line_begins_ && key == '~') {
        tilde_ = true;
        continue;
      }
      out += key;
      line_begins_ = key == '\r' || key == '\n';
    }
    return out;
  }
  bool detached() const { return detached_; }

 private:
  bool line_begins_ = true;
  bool tilde_ = false;
  bool detached_ = false;
};

}  // namespace mayfly::cli
