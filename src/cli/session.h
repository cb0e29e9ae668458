#pragma once
// What a command that talks to a server works with, and what the commands share: one function a command, each in its own
// file of commands/.

#include <string>
#include <string_view>

#include "cli/arguments.h"
#include "cli/client/api.h"
#include "cli/render/text.h"
#include "cli/world.h"
#include "ports/clock.h"

namespace mayfly::cli {

struct Session {
  World& world;
  Api& api;
  Clock& clock;
  Loop loop;
  bool json = false;

  Style style() const { return {.colour = world.console.colour(), .width = world.console.width()}; }
  void out(std::string_view text) const { world.console.out(text); }
  void line(std::string_view text) const { world.console.out(std::string(text) + "\n"); }
};

/// "mayfly: what happened" and, on a line of its own, what to do about it.
std::string error_text(const Error& error);

/// used_wrongly for what the caller can mend, unreachable when nobody answered, else said_no.
int exit_code_of(const Error& error);

/// The build somebody means: an id, PROJECT#NUMBER, or PROJECT for its latest. Errc::not_found says which there are.
Task<Result<Build>> find_build(Session& session, std::string text);

/// By name or id. Errc::not_found says which there are.
Result<const Job*> find_job(const Build& build, const std::string& name_or_id);

/// A project's name, for showing; its id if the server will not tell.
Task<std::string> project_name(Session& session, std::string project_id);

}  // namespace mayfly::cli
