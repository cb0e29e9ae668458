"""The main job in containers of a Docker engine, with runc and with gVisor; and with server, runner and engine killed along the way."""

import os
import signal
import unittest

import test_acceptance
from docker_world import DockerServer, Engine
from world import TERMINAL, Forge, Repository, Watcher, until

STEADY = """\
version: 1
name: steady
on: {push: {branches: [main]}}
jobs:
  steady:
    run: |
      echo "begins as attempt $CI_ATTEMPT under $CI_ISOLATION"
      for i in $(seq 1 40); do echo "tick $i"; sleep 0.1; done
      echo kept > kept.txt
    artifacts: {paths: [kept.txt]}
"""

GVISOR = """\
version: 1
name: gvisor
on: {push: {branches: [main]}}
jobs:
  kernel:
    isolation: gvisor
    run: dmesg | head -n 5; echo "under $CI_ISOLATION"
  plain:
    run: echo "under $CI_ISOLATION"
"""

SERVICES = """\
version: 1
name: services
on: {push: {branches: [main]}}
jobs:
  uses:
    services:
      cache: {image: local/redis:1, ready: redis-cli ping}
    image: local/redis:1
    run: redis-cli -h cache set a 1; redis-cli -h cache get a
    checkout: false
  stands_without:
    services:
      db: {image: local/busybox:1, run: "echo no disk; exit 3", ready: "true"}
    run: echo never
"""


class OnDocker(unittest.TestCase):
    options = ()

    def setUp(self):
        self.engine = Engine()
        self.server = DockerServer(self.engine, *self.options).start()
        self.addCleanup(self.server.close)
        self.forge = Forge(self.server)

    def build(self, name, pipeline):
        repo = Repository(self.server.root, name, {".ci.yaml": pipeline, "README": "hi\n"})
        self.server.add_project(repo)
        return self.forge.push(repo)

    def job(self, build_id, name):
        return next(j for j in self.server.build(build_id)["jobs"] if j["name"] == name)

    def log(self, build_id, name):
        return self.server.job_log(self.job(build_id, name)["id"]).decode()

    def runs_a_step(self, build_id, name, after=0):
        """Waits for a step of a later attempt than `after`; returns which. An engine that was killed a moment ago may cost some on its own."""
        def look():
            job = self.job(build_id, name)
            self.assertNotIn(job["status"], TERMINAL, job)
            return job["attempt"] > after and job["steps"] and job["steps"][0]["status"] == "running" and job["attempt"]
        return until(f"an attempt of {name} after {after} runs its step", look)


class MainJob(OnDocker, test_acceptance.Acceptance):
    """tests/e2e/test_acceptance.py, in containers."""

    def setUp(self):
        OnDocker.setUp(self)
        self.repo = Repository(self.server.root, "web", {".ci.yaml": test_acceptance.PIPELINE, "README": "hi\n"})
        self.server.add_project(self.repo)

    def test_a_push_becomes_a_finished_build(self):
        super().test_a_push_becomes_a_finished_build()
        self.server.nothing_is_left()

    def test_the_same_while_the_server_is_killed_five_times(self):
        super().test_the_same_while_the_server_is_killed_five_times()
        self.server.nothing_is_left()


class MainJobUnderGvisor(MainJob):
    options = ("--docker-gvisor", "runsc", "--isolation-floor", "gvisor")

    def setUp(self):
        if not Engine().has_runtime("runsc"):
            self.skipTest("the engine has no runsc")
        super().setUp()

    test_the_same_while_the_server_is_killed_five_times = None  # once, with runc, is enough


class Killed(OnDocker):
    def test_runner_server_and_engine_one_after_another(self):
        build_id = self.build("steady", STEADY)
        watcher = Watcher(self.server, build_id)
        watcher.start()
        first = self.runs_a_step(build_id, "steady")
        self.server.kill()
        self.server.start()                    # the first attempt goes on meanwhile
        (attempt, runner), = self.server.runners().items()
        os.kill(runner, signal.SIGKILL)        # its container is nobody's now
        second = self.runs_a_step(build_id, "steady", after=first)
        until("the first attempt's container is removed", lambda: not self.engine.containers(f"mayfly.dev/attempt={attempt}"))
        self.engine.kill()
        self.addCleanup(self.engine.start)
        until("the second attempt is lost", lambda: self.job(build_id, "steady")["attempt"] > second or self.job(build_id, "steady")["status"] == "queued")
        self.engine.start()
        build = self.server.finished(build_id)
        self.assertEqual(build["status"], "succeeded", build)
        self.assertEqual(watcher.close(), [])
        self.assertGreater(self.job(build_id, "steady")["attempt"], second)
        log = self.log(build_id, "steady")
        self.assertIn(f"begins as attempt {self.job(build_id, 'steady')['attempt']} under runc\n", log)
        self.assertIn("".join(f"tick {i}\n" for i in range(1, 41)), log)
        self.assertEqual([a["path"] for a in self.server.get(f"/builds/{build_id}/artifacts")["items"]], ["kept.txt"])
        self.server.nothing_is_left()

    def test_the_machine_is_left_alone_with_a_running_job(self):
        """Server and runner killed at once: the next server finds the container without a runner."""
        build_id = self.build("steady", STEADY)
        first = self.runs_a_step(build_id, "steady")
        self.server.kill()
        for runner in self.server.runners().values():
            os.kill(runner, signal.SIGKILL)
        self.server.start()
        self.assertEqual(self.server.finished(build_id)["status"], "succeeded")
        self.assertGreater(self.job(build_id, "steady")["attempt"], first)
        self.server.nothing_is_left()


class Isolations(OnDocker):
    options = ("--docker-gvisor", "runsc")

    def test_a_job_has_the_isolation_it_asks_for(self):
        if not self.engine.has_runtime("runsc"):
            self.skipTest("the engine has no runsc")
        build_id = self.build("gvisor", GVISOR)
        self.assertEqual(self.server.finished(build_id)["status"], "succeeded")
        self.assertIn("gVisor", self.log(build_id, "kernel"))
        self.assertIn("under gvisor\n", self.log(build_id, "kernel"))
        self.assertIn("under runc\n", self.log(build_id, "plain"))
        self.server.nothing_is_left()

    def test_services_are_beside_the_job(self):
        build_id = self.build("services", SERVICES)
        self.server.finished(build_id)
        self.assertEqual(self.job(build_id, "uses")["status"], "succeeded", self.log(build_id, "uses"))
        self.assertEqual(self.log(build_id, "uses"), "OK\n1\n")
        failed = self.job(build_id, "stands_without")
        self.assertEqual((failed["status"], failed["reason"]), ("failed", "service"), failed)
        self.assertIn("no disk", self.log(build_id, "stands_without"))
        self.server.nothing_is_left()


if __name__ == "__main__":
    unittest.main()
