"""The main job, as a user would check it: a pipeline with everything in it, pushed, built, and right in every place."""

import hashlib
import threading
import time
import unittest
import uuid

from world import TERMINAL, Forge, Repository, Server, Tail, Watcher, until

PIPELINE = """\
version: 1
name: acceptance
on: {push: {branches: [main]}}
env: {GREETING: hello}
jobs:
  lint:
    run: echo "$GREETING from lint"
  build:
    needs: [lint]
    steps:
      - name: compile
        run: |
          mkdir -p out
          head -c 300000 /dev/zero | tr '\\0' 'x' > out/app.bin
          echo built > out/note.txt
      - name: describe
        run: |
          echo "version=1.2.3" >> "$CI_OUTPUT"
          echo "FLAVOUR=mint" >> "$CI_ENV"
      - name: check the environment of later steps
        run: test "$FLAVOUR" = mint
    artifacts: {paths: [out/app.bin, out/note.txt], expire: 1d}
    outputs: [out/]
  left:
    needs: [build]
    run: test "$(wc -c < out/app.bin)" = 300000 && sleep 1
  right:
    needs: [build]
    env: {VERSION: "${{ needs.build.outputs.version }}"}
    run: test "$VERSION" = 1.2.3 && sleep 1
  joined:
    needs: [left, right]
    run: cat out/note.txt 2>/dev/null || echo "only what is needed directly is handed over"
  matrix:
    needs: [lint]
    matrix: {os: [a, b], size: [1, 2], exclude: [{os: b, size: 2}], fail_fast: false}
    run: for i in $(seq 1 200); do echo "${{ matrix.os }}${{ matrix.size }} line $i"; done; sleep 0.5
  flaky:
    needs: [lint]
    retry: 1
    run: echo "attempt $CI_ATTEMPT"; test "$CI_ATTEMPT" = 2
  tolerated:
    needs: [lint]
    allow_failure: true
    run: echo this fails; exit 7
  after_tolerated:
    needs: [tolerated]
    run: echo goes on
  slow:
    needs: [lint]
    timeout: 2s
    allow_failure: true
    run: echo waiting; sleep 60
"""

EXPECTED = {
    "lint": "succeeded", "build": "succeeded", "left": "succeeded", "right": "succeeded", "joined": "succeeded",
    "matrix (a, 1)": "succeeded", "matrix (a, 2)": "succeeded", "matrix (b, 1)": "succeeded",
    "flaky": "succeeded", "tolerated": "failed", "after_tolerated": "succeeded", "slow": "failed",
}


class Acceptance(unittest.TestCase):
    def setUp(self):
        self.server = Server(slots=4).start()
        self.addCleanup(self.server.close)
        self.repo = Repository(self.server.root, "web", {".ci.yaml": PIPELINE, "README": "hi\n"})
        self.server.add_project(self.repo)
        self.forge = Forge(self.server)

    def check(self, build_id, watcher, tails):
        build = self.server.finished(build_id)
        self.assertEqual({j["name"]: j["status"] for j in build["jobs"]}, EXPECTED)
        self.assertEqual(build["status"], "succeeded")
        jobs = {j["name"]: j for j in build["jobs"]}
        self.assertEqual(jobs["tolerated"]["exit_code"], 7)
        self.assertEqual(jobs["tolerated"]["reason"], "exit_code")
        self.assertEqual(jobs["slow"]["reason"], "timeout")
        self.assertEqual(jobs["build"]["outputs"], {"version": "1.2.3"})
        self.assertEqual([s["status"] for s in jobs["build"]["steps"]], ["succeeded"] * 3)
        self.assertEqual(watcher.close(), [])
        self.check_artifacts(build_id)
        for name, tail in tails.items():
            self.assertTrue(tail.ended.wait(30), name)
            self.assertEqual(tail.text, self.server.job_log(jobs[name]["id"]), name)
        self.check_build_log(build_id, jobs)
        return jobs

    def check_artifacts(self, build_id):
        artifacts = {a["path"]: a for a in self.server.get(f"/builds/{build_id}/artifacts")["items"]}
        self.assertEqual(set(artifacts), {"out/app.bin", "out/note.txt"})
        expected = {"out/app.bin": b"x" * 300000, "out/note.txt": b"built\n"}
        for path, content in expected.items():
            a = artifacts[path]
            self.assertEqual(self.server.get("/artifacts/" + a["id"], raw=True)[0], content)
            self.assertEqual((a["size"], a["sha256"]), (len(content), hashlib.sha256(content).hexdigest()))
        part, response = self.server.get("/artifacts/" + artifacts["out/app.bin"]["id"], raw=True, headers={"Range": "bytes=299990-"})
        self.assertEqual((response.status, part), (206, b"x" * 10))

    def check_build_log(self, build_id, jobs):
        whole = self.server.log(build_id)
        lines = [f"{o}{s} line {i}" for o, s in (("a", 1), ("a", 2), ("b", 1)) for i in range(1, 201)]
        for line in lines:
            self.assertIn(line.encode() + b"\n", whole)
        self.assertEqual(self.server.get(f"/builds/{build_id}/logs", raw=True, headers={"Range": "bytes=10-19"})[0], whole[10:20])
        self.assertIn(b"hello from lint\n", self.server.job_log(jobs["lint"]["id"]))

    def tails(self, build_id):
        """Follows some logs from their first byte."""
        jobs = {j["name"]: j["id"] for j in self.server.build(build_id)["jobs"]}
        out = {}
        for name in ("lint", "matrix (a, 1)", "slow"):
            until(f"{name} has started", lambda name=name: next(
                j for j in self.server.build(build_id)["jobs"] if j["name"] == name)["attempt"] > 0)
            out[name] = Tail(self.server, f"/jobs/{jobs[name]}/logs")
            out[name].start()
        return out

    def test_a_push_becomes_a_finished_build(self):
        build_id = self.forge.push(self.repo)
        watcher = Watcher(self.server, build_id)
        watcher.start()
        tails = self.tails(build_id)
        jobs = self.check(build_id, watcher, tails)
        self.assertEqual(jobs["flaky"]["attempt"], 2)
        self.assertIn("acceptance", self.server.build(build_id)["pipeline"])

    def test_the_same_while_the_server_is_killed_five_times(self):
        delivery = str(uuid.uuid4())
        payload = self.repo.push()
        taken = []
        sender = threading.Thread(target=lambda: taken.append(self.forge.send_until_taken("push", payload, delivery)))
        sender.start()
        time.sleep(0.01)
        self.server.kill()                     # 1: around the webhook
        self.server.start()
        sender.join()
        self.server.kill()                     # 2: acknowledged, perhaps not planned
        self.server.start()
        outcome = self.forge.outcome(taken[0])
        self.assertEqual(outcome["status"], "built")
        build_id = outcome["build_id"]
        watcher = Watcher(self.server, build_id)
        watcher.start()
        survivors = ("matrix (a, 1)", "slow", "left")
        for name in survivors:                 # 3, 4, 5: while a step of theirs is running
            until(f"{name} runs", lambda name=name: (j := self.job(build_id, name))["status"] in TERMINAL or j["steps"][0]["status"] == "running")
            self.server.kill()
            self.server.start()
        jobs = self.check(build_id, watcher, {})
        self.assertEqual(len(self.server.get("/builds?project=web")["items"]), 1)
        again = self.forge.outcome(self.forge.send("push", payload, delivery))
        self.assertEqual(again["build_id"], build_id)
        # A runner goes on without its server: what ran was not run again for that.
        self.assertEqual({n: jobs[n]["attempt"] for n in survivors}, {n: 1 for n in survivors})

    def job(self, build_id, name):
        return next(j for j in self.server.build(build_id)["jobs"] if j["name"] == name)


if __name__ == "__main__":
    unittest.main()
