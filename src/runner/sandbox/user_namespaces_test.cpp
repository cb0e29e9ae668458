// What a pool with user_namespaces opens to its jobs, and what stays closed.
#include "runner/sandbox/testing/sandbox_fixture.h"

namespace mayfly {
namespace {

using UserNamespaces = SandboxTest;

constexpr const char* attempts =
    "unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none /mnt && echo mounted' 2>/dev/null || echo refused;"
    "unshare --user --map-root-user --net true 2>/dev/null && echo a network || echo no network;"
    "grep CapEff /proc/self/status";

TEST_F(UserNamespaces, AreRefusedAnywhereElse) { EXPECT_EQ(run_job(attempts).output, "refused\nno network\nCapEff:\t0000000000000000\n"); }

TEST_F(UserNamespaces, AreThereForRootlessBuildersAndNoNetworkIs) {
  auto spec = make_spec();
  spec.user_namespaces = true;
  EXPECT_EQ(run_job(spec, attempts).output, "mounted\nno network\nCapEff:\t0000000000000000\n");
}

}  // namespace
}  // namespace mayfly
