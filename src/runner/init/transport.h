#pragma once
// How mayfly-init meets its sidecar: by descriptors it is born with, through a directory two containers share, or over its own
// standard input and output. Whichever it is, the rest of init sees one Channel. See ../README.md.

#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace mayfly {

inline constexpr const char* control_socket_name = "control.sock";   // in the shared directory
inline constexpr const char* standard_error_log = "-";               // as a log file: no step can open it, unlike one with a path
inline constexpr const char* installed_init_name = "mayfly-init";
inline constexpr Duration meeting_patience = std::chrono::minutes(2);  // for a sidecar to listen and to hand over

struct InitOptions {
  enum class Kind { descriptors, directory, standard, install };
  Kind kind = Kind::descriptors;
  int control = -1;                 // descriptors
  int log = -1;
  std::string directory = {};       // directory, install
  std::string log_file = {};        // standard
  std::string workspace = {};       // all but install
  Duration patience = meeting_patience;
  bool operator==(const InitOptions&) const = default;
};

inline constexpr const char* init_usage =
    "mayfly-init: started by Mayfly, with one of\n"
    "  --control-fd N --log-fd N --workspace DIR\n"
    "  --dir DIR --workspace DIR\n"
    "  --control-stdio --log FILE|- --workspace DIR\n"
    "  --install DIR\n"
    "  --service-fd N\n";

/// Nothing when the arguments are none of `init_usage` (--service-fd is service.h's).
std::optional<InitOptions> parse_init_options(int argc, const char* const* argv);

/// Close-on-exec, all of them. Bytes flow over in and out, which may be one socket.
struct Channel {
  int in = -1;
  int out = -1;
  int log = -1;        // to append to
  int lifeline = -1;   // to a sidecar in another container; its end is that of the sidecar. -1: `in` says as much
};

/// Errc::unavailable: no sidecar, or one that has no use for us. Errc::not_found: no log file. Errc::canceled: SIGTERM came.
Result<Channel> meet_sidecar(const InitOptions& options);

/// Takes away whatever else was left open by who started us.
void close_all_but(const Channel& channel);

/// Copies this program to `directory`, under installed_init_name: for everybody to execute and nobody to read, which makes what
/// it runs as undumpable. All of it or nothing; again and again.
Result<void> install_init(const std::string& directory);

}  // namespace mayfly
