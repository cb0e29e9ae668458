"""Production mode: the same promises with two processes of every role over real servers, whatever is killed."""

import collections
import concurrent.futures
import os
import random
import threading
import unittest
import uuid

import test_acceptance
from production import Chaos, Production
from world import Forge, Repository, Watcher

BUILDS = int(os.environ.get("MAYFLY_CHAOS_BUILDS", "100"))
SEED = int(os.environ.get("MAYFLY_CHAOS_SEED", "1"))
PROJECTS = 4
BUILDS_WHILE_ROLLING = 60
PATIENCE_FOR_ALL = 900   # seconds until the last build has ended
SENDERS = 8
WATCHED = 12
LINES = 300

PIPELINE = """\
version: 1
on: {push: {branches: [main]}}
jobs:
  say:
    run: for i in $(seq 1 %d); do echo "$CI_BUILD_ID line $i"; done
  then:
    needs: [say]
    run: echo "after $CI_BUILD_ID"
""" % LINES


class AcceptanceInProduction(test_acceptance.Acceptance):
    """The story of the main job; in its second form a process is killed at each of its five moments."""

    def setUp(self):
        self.server = Production(slots=4)
        self.addCleanup(self.server.close)
        self.server.start()
        self.repo = Repository(self.server.root, "web", {".ci.yaml": test_acceptance.PIPELINE, "README": "hi\n"})
        self.server.add_project(self.repo)
        self.forge = Forge(self.server)


class Many(unittest.TestCase):
    """Many builds at once, while something happens to what builds them."""

    def setUp(self):
        self.server = Production(slots=4)
        self.addCleanup(self.server.close)
        self.server.start()
        self.repos = [Repository(self.server.root, f"web{n}", {".ci.yaml": PIPELINE}) for n in range(PROJECTS)]
        for repo in self.repos:
            self.server.add_project(repo, organization=f"org{repo.name}")
        self.forge = Forge(self.server)

    def build(self, count, meanwhile):
        """`count` webhooks, some of them twice, built while `meanwhile(over)` runs. Returns the ended builds, all checked."""
        payloads = {repo.name: repo.push() for repo in self.repos}
        chance = random.Random(SEED)
        wanted = [(self.repos[n % PROJECTS].name, str(uuid.uuid4()), "%040x" % chance.getrandbits(160)) for n in range(count)]
        watchers, over = [], threading.Event()

        def send(project, delivery, before):
            taken = self.forge.send_until_taken("push", {**payloads[project], "before": before}, delivery)
            if chance.random() < 0.2:                                # a forge that did not hear the answer
                self.forge.send_until_taken("push", {**payloads[project], "before": before}, delivery)
            build = self.forge.outcome(taken)["build_id"]
            self.assertIsNotNone(build, (project, delivery))
            if len(watchers) < WATCHED:
                watchers.append(Watcher(self.server, build))
                watchers[-1].start()
            return project, build

        with concurrent.futures.ThreadPoolExecutor(SENDERS + 1) as pool:
            beside = pool.submit(meanwhile, over)
            try:
                made = list(pool.map(lambda one: send(*one), wanted))
                ended = list(pool.map(lambda one: self.server.finished(one[1], PATIENCE_FOR_ALL), made))
            finally:
                over.set()
            beside.result()
        self.assertEqual(len({build for _, build in made}), count, "one build a delivery")
        self.check_numbers(made)
        self.check_ends(ended)
        for watcher in watchers:
            self.assertEqual(watcher.close(), [])
        with concurrent.futures.ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(self.check_log, ended))
        return ended

    def check_numbers(self, made):
        """Numbered without a gap: none was made twice, or half."""
        counted = collections.Counter(project for project, _ in made)
        for project, count in counted.items():
            numbers, cursor = [], ""
            while cursor is not None:
                page = self.server.get(f"/builds?project={project}&limit=200" + (f"&cursor={cursor}" if cursor else ""))
                numbers += [build["number"] for build in page["items"]]
                cursor = page["next"]
            self.assertEqual(sorted(numbers), list(range(1, count + 1)), project)

    def check_ends(self, ended):
        reasons = collections.Counter((j["name"], j["status"], j["reason"], j["detail"]) for b in ended for j in b["jobs"] if j["status"] != "succeeded")
        self.assertEqual(reasons, collections.Counter())
        self.assertEqual({b["status"] for b in ended}, {"succeeded"})

    def check_log(self, build):
        said = "".join(f"{build['id']} line {i}\n" for i in range(1, LINES + 1)).encode()
        jobs = {j["name"]: j["id"] for j in build["jobs"]}
        self.assertTrue(self.server.job_log(jobs["say"]).endswith(said), build["id"])
        self.assertTrue(self.server.job_log(jobs["then"]).endswith(f"after {build['id']}\n".encode()), build["id"])


class UnderChaos(Many):
    def test_no_build_is_lost_doubled_or_goes_back_while_everything_is_killed(self):
        chaos = Chaos(self.server.topology, SEED)

        def disturb(over):
            chaos.start()
            over.wait()
            chaos.stop()

        ended = self.build(BUILDS, disturb)
        attempts = collections.Counter(job["attempt"] for build in ended for job in build["jobs"])
        print(f"    {BUILDS} builds, attempts a job {dict(attempts)}; {len(chaos.done)} disturbances: {dict(collections.Counter(chaos.done))}", flush=True)


class RollingRestart(Many):
    def test_every_process_is_replaced_under_load_and_no_job_runs_twice(self):
        restarted = []

        def restart_all(over):
            for node in self.server.topology.nodes.values():
                node.stop()
                node.start()
                restarted.append(node.name)
            over.wait()

        ended = self.build(BUILDS_WHILE_ROLLING, restart_all)
        self.assertEqual(len(restarted), len(self.server.topology.nodes))
        self.assertEqual({job["attempt"] for build in ended for job in build["jobs"]}, {1})


if __name__ == "__main__":
    unittest.main()
