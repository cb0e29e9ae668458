#pragma once
// JSON forms of shell_messages.h. For .cpp files only: it brings Boost.JSON in.

#include "domain/runner/json_forms.h"
#include "runner/control/shell_messages.h"

namespace mayfly::forms {

json::value form(const OpenShell&);
json::value form(const ShellInput&);
json::value form(const ShellResize&);
json::value form(const CloseShell&);
json::value form(const ShellTaken&);
json::value form(const ReleaseHold&);
json::value form(const ShellOutput&);
json::value form(const ShellEnded&);
json::value form(const HoldChange&);

Result<OpenShell> open_shell(const json::value&);
Result<ShellInput> shell_input(const json::value&);
Result<ShellResize> shell_resize(const json::value&);
Result<CloseShell> close_shell(const json::value&);
Result<ShellTaken> shell_taken(const json::value&);
Result<ReleaseHold> release_hold(const json::value&);
Result<ShellOutput> shell_output(const json::value&);
Result<ShellEnded> shell_ended(const json::value&);
Result<HoldChange> hold_change(const json::value&);

}  // namespace mayfly::forms
