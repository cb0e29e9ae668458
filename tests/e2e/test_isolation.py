"""What a job runs under is what it was promised, and is told as it is."""

import os
import pathlib
import unittest
import uuid

from world import Forge, Repository, Server, until

RUNSC = os.environ.get("MAYFLY_TEST_RUNSC")
PIPELINE = """version: 1
on: {push: , pull_request: {forks: trusted}}
jobs:
  nothing: {run: 'echo "under $CI_ISOLATION, kernel $(cut -d" " -f3 /proc/version)"'}
  weak: {isolation: sandbox, run: 'echo "under $CI_ISOLATION, kernel $(cut -d" " -f3 /proc/version)"'}
  strong: {isolation: gvisor, run: 'echo "under $CI_ISOLATION, kernel $(cut -d" " -f3 /proc/version)"'}
"""
HOST = pathlib.Path("/proc/version").read_text().split()[2]


class World(unittest.TestCase):
    def server(self, *options):
        server = Server(options=options)
        self.addCleanup(server.close)
        return server.start()

    def pushed(self, server, pipeline=PIPELINE):
        self.repo = Repository(server.root, "p-" + uuid.uuid4().hex[:8], {".ci.yaml": pipeline, "data.txt": "from the commit\n"})
        server.add_project(self.repo)
        self.payload = self.repo.push()
        return self.payload

    def build(self, server, payload, event="push"):
        forge = Forge(server)
        outcome = forge.outcome(forge.send(event, payload))
        self.assertTrue(outcome["build_id"], outcome)
        return outcome["build_id"]

    def truth(self, server, build):
        """For each job: what it asked for, what is told of it, and what it saw itself."""
        done = server.finished(build)
        self.assertEqual(done["status"], "succeeded", [(j["name"], j["detail"]) for j in done["jobs"]])
        out = {}
        for job in done["jobs"]:
            said = server.job_log(job["id"]).decode()
            kernel = said.rsplit(" ", 1)[1].strip()
            self.assertIn(f"under {job['isolation']}, ", said)
            out[job["name"]] = (job["isolation_asked"], job["isolation"], "host" if kernel == HOST else kernel.rsplit("-", 1)[-1])
        return out


@unittest.skipUnless(RUNSC, "gVisor's runsc is not here: scripts/servers up runsc; eval \"$(scripts/servers env)\"")
class Gvisor(World):
    def setUp(self):
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = f"{pathlib.Path(RUNSC).parent}:{path}"

    def test_every_job_says_what_it_truly_runs_under(self):
        server = self.server()
        build = self.build(server, self.pushed(server))
        self.assertEqual(self.truth(server, build), {
            "nothing": (None, "sandbox", "host"), "weak": ("sandbox", "sandbox", "host"), "strong": ("gvisor", "gvisor", "gvisor")})
        shown = server.cli("build", build).stdout
        self.assertIn("under gvisor", next(line for line in shown.splitlines() if "strong" in line))
        self.assertNotIn("under", next(line for line in shown.splitlines() if "weak" in line))

    def test_a_pool_with_a_floor_runs_all_above_it(self):
        server = self.server("--isolation-floor", "gvisor")
        build = self.build(server, self.pushed(server))
        self.assertEqual(self.truth(server, build), {
            "nothing": (None, "gvisor", "gvisor"), "weak": ("sandbox", "gvisor", "gvisor"), "strong": ("gvisor", "gvisor", "gvisor")})

    def test_a_forks_build_is_kept_above_the_floor_for_forks(self):
        server = self.server("--fork-isolation-floor", "gvisor")
        pushed = self.pushed(server)
        self.assertEqual(self.truth(server, self.build(server, pushed))["nothing"][1], "sandbox")
        pull = {"action": "opened", "number": 7, "repository": pushed["repository"], "sender": {"login": "eve"}, "pull_request": {
            "number": 7, "title": "x", "head": {"ref": "f", "sha": self.repo.sha, "repo": {"full_name": "eve/web", "clone_url": "https://forge.example/eve/web.git"}},
            "base": {"ref": "main", "sha": self.repo.sha, "repo": pushed["repository"]}, "user": {"login": "eve"}}}
        of_fork = self.truth(server, self.build(server, pull, "pull_request"))
        self.assertEqual({name: told[1] for name, told in of_fork.items()}, {"nothing": "gvisor", "weak": "gvisor", "strong": "gvisor"})

    def test_a_whole_job_works_under_it(self):
        server = self.server()
        build = server.finished(self.build(server, self.pushed(server, """version: 1
defaults: {isolation: gvisor}
jobs:
  make:
    steps:
      - run: cat data.txt; echo made > out.txt; echo VERSION=7 >> $CI_OUTPUT; echo LATER=yes >> $CI_ENV
      - run: echo "later $LATER"
    outputs: [out.txt]
    artifacts: {paths: [out.txt]}
  use:
    needs: [make]
    run: 'echo "version ${{ needs.make.outputs.VERSION }}"; cat out.txt'
  fails: {run: exit 3}
  slow: {run: 'echo begun; sleep 600', timeout: 5s}
""")))
        jobs = {job["name"]: job for job in build["jobs"]}
        self.assertEqual({name: (job["status"], job["reason"]) for name, job in jobs.items()}, {
            "make": ("succeeded", None), "use": ("succeeded", None), "fails": ("failed", "exit_code"), "slow": ("failed", "timeout")})
        self.assertEqual(server.job_log(jobs["make"]["id"]), b"from the commit\nlater yes\n")
        self.assertEqual(server.job_log(jobs["use"]["id"]), b"version 7\nmade\n")
        self.assertEqual(jobs["fails"]["exit_code"], 3)


class WithoutGvisor(World):
    def test_a_job_that_asks_for_it_waits_and_says_why(self):
        server = self.server()
        if any(os.access(os.path.join(folder, "runsc"), os.X_OK) for folder in os.environ["PATH"].split(":")):
            self.skipTest("this machine has runsc in PATH")
        build = self.build(server, self.pushed(server, "version: 1\njobs:\n  a: {isolation: gvisor, run: make}\n"))
        why = until("the job says why it waits", lambda: server.build(build)["jobs"][0]["waiting_for"])
        self.assertEqual(why, "no pool offers gvisor: there is sandbox")
        server.cli("cancel", build)
        self.assertIsNone(server.finished(build)["jobs"][0]["isolation"])


if __name__ == "__main__":
    unittest.main()
