#pragma once
// One function a command: options in, exit code out. An error is printed and turned into an exit code by the caller
// (cli.cpp).

#include "cli/session.h"

namespace mayfly::cli {

Task<Result<int>> execute(Session& session, ProjectAdd options);
Task<Result<int>> execute(Session& session, ProjectList options);
Task<Result<int>> execute(Session& session, Trigger options);
Task<Result<int>> execute(Session& session, Builds options);
Task<Result<int>> execute(Session& session, ShowBuild options);
Task<Result<int>> execute(Session& session, Logs options);
Task<Result<int>> execute(Session& session, Shell options);
Task<Result<int>> execute(Session& session, Cancel options);
Task<Result<int>> execute(Session& session, Retry options);
Task<Result<int>> execute(Session& session, ListArtifacts options);
Task<Result<int>> execute(Session& session, GetArtifact options);
Task<Result<int>> execute(Session& session, SecretSet options);
Task<Result<int>> execute(Session& session, SecretList options);
Task<Result<int>> execute(Session& session, SecretRemove options);
Task<Result<int>> execute(Session& session, PoolList options);
Task<Result<int>> execute(Session& session, PoolDrain options);
Task<Result<int>> execute(Session& session, PoolResume options);
Task<Result<int>> execute(Session& session, TokenCreate options);

// Without a server.
Result<int> execute(World& world, bool json, const Lint& options);
Result<int> execute(World& world, bool json, const ShowPlan& options);
Result<int> execute(World& world, bool json, const Programs& programs, const RunHere& options);

}  // namespace mayfly::cli
