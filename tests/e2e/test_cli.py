"""The command line against a real server, and `mayfly run` on a checkout."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from world import BIN, Forge, Repository, Server, git, until

DIAMOND = """version: 1
jobs:
  build:
    run: |
      mkdir out; echo built > out/result; echo "who=$CI_PROJECT" >> "$CI_OUTPUT"
    outputs: [out/]
    artifacts: {paths: [out/result]}
  left:
    needs: [build]
    run: test "$(cat out/result)" = built
  right:
    needs: [build]
    run: for i in 1 2 3; do echo "right $i"; sleep 0.1; done
  join:
    needs: [left, right]
    run: echo joined
"""
BROKEN = """version: 1
jobs:
  breaks:
    run: |
      echo about to break
      exit 7
"""


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(slots=4).start()
        cls.forge = Forge(cls.server)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def mayfly(self, *arguments, code=0, stdin=None):
        environment = {"MAYFLY_SERVER": self.server.url, "MAYFLY_DATA": str(self.server.data), "PATH": os.environ["PATH"]}
        done = subprocess.run([BIN / "mayfly", *arguments], env=environment, input=stdin, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def project(self, name, pipeline):
        repository = Repository(self.server.root, name, {".ci.yaml": pipeline})
        self.server.add_project(repository)
        repository.push()
        return repository

    def test_a_build_is_triggered_followed_and_taken_home(self):
        self.project("home", DIAMOND)
        told = self.mayfly("trigger", "home", "--ref", "main", "--follow")
        self.assertIn("home#1 succeeded", told)
        self.assertIn("join: succeeded", told)
        self.assertEqual(self.mayfly("logs", "home#1", "right", "-f"), "right 1\nright 2\nright 3\n")
        self.assertIn("join  | joined\n", self.mayfly("logs", "home"))
        with tempfile.TemporaryDirectory() as folder:
            self.mayfly("artifacts", "get", "home", "out/result", "-o", f"{folder}/result")
            self.assertEqual(pathlib.Path(folder, "result").read_text(), "built\n")

    def test_a_failure_is_the_exit_code_and_its_log_is_shown(self):
        self.project("broken", BROKEN)
        told = self.mayfly("trigger", "broken", "--follow", code=1)
        self.assertIn("about to break", told)
        self.assertIn("exit code 7", told)
        self.assertIn("broken#1 failed", told)
        again = json.loads(self.mayfly("retry", "broken#1", "--json"))
        self.mayfly("build", again["build"], "--watch", code=1)
        self.assertEqual([b["number"] for b in json.loads(self.mayfly("builds", "broken", "--json"))["items"]], [2, 1])

    def test_a_canceled_build_ends_its_watchers(self):
        self.project("long", "version: 1\njobs:\n  long:\n    run: sleep 60\n")
        build = json.loads(self.mayfly("trigger", "long", "--json"))["id"]
        until("it runs", lambda: self.server.build(build)["status"] == "running")
        self.mayfly("cancel", "long")
        self.assertIn("canceled", self.mayfly("build", build, "--watch", code=1))

    def test_wrong_use_and_a_missing_server_have_their_own_exit_codes(self):
        self.mayfly("build", "nobody#1", code=2)
        self.mayfly("trigger", "nobody", code=2)
        self.mayfly("builds", "--server", "http://127.0.0.1:1", code=3)


class RunHere(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write(self, **files):
        for name, text in files.items():
            (self.folder / name.replace("_ci", ".ci").replace("_yaml", ".yaml")).write_text(text)

    def run_here(self, *arguments, code=0, **environment):
        done = subprocess.run([BIN / "mayfly", "run", *arguments], cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, code, f"{done.stdout}\n{done.stderr}")
        return done.stdout

    def test_the_working_tree_is_built_as_it_is_and_left_as_it_was(self):
        self.write(_ci_yaml="version: 1\njobs:\n  show:\n    run: cat tracked fresh; git log -1 --format=%s\n", tracked="old\n")
        git("init", "-q", "-b", "main", ".", cwd=self.folder)
        git("add", "-A", cwd=self.folder)
        git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "-m", "one", cwd=self.folder)
        self.write(tracked="new\n", fresh="fresh\n")
        before = git("status", "--porcelain", cwd=self.folder)
        told = self.run_here()
        self.assertIn("show | new\nshow | fresh\n", told)
        self.assertIn("local#1 succeeded", told)
        self.assertEqual(git("status", "--porcelain", cwd=self.folder), before)

    def test_jobs_hand_over_and_only_those_asked_for_run(self):
        self.write(_ci_yaml=DIAMOND)
        build = json.loads(self.run_here("left", "--json", "--artifacts", "kept"))
        self.assertEqual({j["name"]: j["status"] for j in build["jobs"]},
                         {"build": "succeeded", "left": "succeeded", "right": "skipped", "join": "skipped"})
        self.assertEqual((self.folder / "kept/out/result").read_text(), "built\n")

    def test_a_failing_job_is_the_exit_code(self):
        self.write(_ci_yaml=BROKEN)
        self.assertIn("breaks | about to break\n", self.run_here(code=1))

    def test_secrets_come_from_the_environment_by_name_and_are_masked(self):
        self.write(_ci_yaml="version: 1\njobs:\n  show:\n    secrets: [TOKEN]\n    run: echo \"$TOKEN and ${#TOKEN}\"\n")
        told = self.run_here("--secret", "TOKEN", TOKEN="hunter2-long")
        self.assertIn("and 12", told)
        self.assertNotIn("hunter2", told)
        self.run_here("--secret", "ABSENT", code=2)

    def test_an_interrupt_cancels_what_runs_and_leaves_nothing_behind(self):
        self.write(_ci_yaml="version: 1\njobs:\n  long:\n    run: echo begun; exec sleep 61\n")
        process = subprocess.Popen([BIN / "mayfly", "run"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                   env={**os.environ, "TMPDIR": str(self.folder)})
        with contextlib.closing(process.stdout):
            self.assertEqual(process.stdout.readline(), "long | begun\n")
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
        self.assertEqual(process.wait(60), 1, rest)
        self.assertIn("canceled", rest)
        self.assertEqual(list(self.folder.glob("mayfly-*")), [])


if __name__ == "__main__":
    unittest.main()
