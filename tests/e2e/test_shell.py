"""A shell in a job: who may, what it sees, how it ends, and that nothing of it stays. Driven with the shipped program at a real terminal."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import tempfile
import termios
import unittest

from production import Production
from world import BIN, PATIENCE, Forge, Problem, Repository, Server, until

PIPELINE = """version: 1
jobs:
  wait:
    env: {OF_THE_JOB: here}
    secrets: [TOKEN]
    run: |
      echo content > file
      echo begun
      while [ ! -e go ]; do sleep 0.05; done
"""
FAILING = """version: 1
jobs:
  break:
    steps:
      - run: echo evidence > left; exit 5
      - name: clean
        if: always()
        run: echo cleaned
"""


class Typist:
    """The program at a terminal of its own, and somebody who types on it."""

    def __init__(self, arguments, environment, cwd=None, size=(101, 37)):
        self.master, slave = pty.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([BIN / "mayfly", *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=cwd, start_new_session=True,
                                        env={**os.environ, "TERM": "xterm-256color", **environment})
        self.screen = b""

    def type(self, text):
        os.write(self.master, text.encode())

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def read(self, patience=0.05):
        while select.select([self.master], [], [], patience)[0]:
            with contextlib.suppress(OSError):
                self.screen += os.read(self.master, 65536)

    def wait_for(self, text):
        def seen():
            self.read()
            return text.encode() in self.screen
        try:
            until(f"the screen shows {text!r}", seen, 60)
        except AssertionError:
            raise AssertionError(f"the screen never showed {text!r}: {self.screen[-3000:]!r}") from None

    def ended(self):
        """Its exit code; the terminal is as it was."""
        def over():
            self.read()
            return self.process.poll() is not None
        until("the program ends", over, 60)
        self.read()
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def runs(marker):
    """Processes of this machine whose command line holds the marker."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker.encode() in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                found.append(entry.parent.name)
    return found


class Shells(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(slots=3).start()
        cls.forge = Forge(cls.server)
        cls.repo = Repository(cls.server.root, "wait", {".ci.yaml": PIPELINE})
        cls.server.add_project(cls.repo)
        cls.server.cli("secret", "set", "wait", "TOKEN", stdin="hunter2-hunter2")
        cls.failing = Repository(cls.server.root, "failing", {".ci.yaml": FAILING})
        cls.server.add_project(cls.failing)
        cls.before = cls.server.finished(cls.forge.push(cls.failing))

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def environment(self, token=None):
        out = {"MAYFLY_SERVER": self.server.url, "MAYFLY_DATA": str(self.server.data)}
        return {**out, "MAYFLY_TOKEN": token} if token else out

    def typist(self, *arguments, token=None, **more):
        typist = Typist(arguments, self.environment(token), **more)
        self.addCleanup(typist.close)
        return typist

    def running(self, repo=None):
        """A build whose job has begun."""
        repo = repo or self.repo
        repo.commit({}, "again")
        build = self.forge.push(repo)
        self.addCleanup(lambda: self.server.post(f"/builds/{build}/cancel"))
        until("the job says something", lambda: b"begun" in self.server.log(build))
        return build, self.server.build(build)["jobs"][0]["id"]

    def shells(self, job):
        return self.server.get(f"/jobs/{job}/shells")["items"]

    def test_looks_into_a_running_job(self):
        build, job = self.running()
        typist = self.typist("shell", build, "wait")
        typist.type("PS1=; stty size; cat file; echo $OF_THE_JOB-$CI_JOB_NAME-$TERM\r")
        typist.wait_for("37 101\r\n")
        typist.wait_for("content\r\n")
        typist.wait_for("here-wait-xterm-256color\r\n")
        typist.resize(120, 40)
        typist.type("stty size; echo $TOKEN | tee copy; wc -c < copy\r")
        typist.wait_for("40 120\r\n")
        typist.wait_for("***\r\n16\r\n")
        self.assertNotIn(b"hunter2", typist.screen, "a secret is never on the screen")
        typist.type("exit 7\r")
        self.assertEqual(typist.ended(), 7)
        shell = until("its end is on record", lambda: (s := self.shells(job)[0])["closed_at"] and s)
        self.assertEqual((shell["who"], shell["exit_code"], shell["attempt"]), ("data directory", 7, 1))
        self.assertGreater(shell["seconds"], 0)
        self.server.cli("shell", job, "--", "sh", "-c", "touch go")
        self.assertEqual(self.server.finished(build)["status"], "succeeded")
        log = self.server.log(build).decode()
        self.assertIn("mayfly: a shell was opened by 'data directory'\n", log)
        self.assertIn("mayfly: the shell of 'data directory' was closed after ", log)

    def test_runs_a_command_with_streams_as_they_are(self):
        build, job = self.running()
        done = subprocess.run([BIN / "mayfly", "shell", job, "--", "sh", "-c", "cat; echo problem >&2; exit 3"], input=b"a\0b\xff\n" * 50_000, capture_output=True,
                              env={**os.environ, **self.environment()}, timeout=PATIENCE)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stdout, b"a\0b\xff\n" * 50_000)
        self.assertEqual(done.stderr, b"problem\n")
        with self.subTest("a reader that stops holds nothing up"):
            flood = subprocess.Popen([BIN / "mayfly", "shell", job, "--", "yes"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **self.environment()})
            flood.stdout.read(1)
            self.server.cli("shell", job, "--", "touch", "go")
            self.assertEqual(self.server.finished(build)["status"], "succeeded")
            flood.stdout.read()
            self.assertEqual(flood.wait(timeout=PATIENCE), 255)
            flood.stdout.close()

    def test_only_owners_and_only_into_what_runs(self):
        build, job = self.running()
        for role in ("viewer", "developer", "maintainer"):
            token = json.loads(self.server.cli("token", "create", role, "--role", role, "--json").stdout)["token"]
            refused = subprocess.run([BIN / "mayfly", "shell", job, "--", "true"], capture_output=True, text=True,
                                     env={**os.environ, **self.environment(token)}, timeout=PATIENCE)
            self.assertEqual(refused.returncode, 2)
            self.assertIn(f"a {role}'s token may not do this", refused.stderr)
            with self.assertRaises(Problem) as problem:
                self.server.post(f"/builds/{build}/retry", {"hold_minutes": 5}, headers={"Authorization": "Bearer " + token})
            self.assertEqual(problem.exception.status, 403)
        self.assertEqual(self.shells(job), [])
        self.server.post(f"/builds/{build}/cancel")
        ended = self.server.cli("shell", job, "--", "true", check=False)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("'wait' is canceled", ended.stderr)
        with self.assertRaises(Problem) as problem:
            self.server.get(f"/jobs/{job}/shell", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        self.assertEqual(problem.exception.status, 409)

    def test_ends_with_the_job(self):
        build, job = self.running()
        typist = self.typist("shell", build)
        typist.type("trap '' HUP TERM; sleep 314159 & echo rea''dy\r")
        typist.wait_for("ready\r\n")
        self.server.post(f"/builds/{build}/cancel")
        typist.wait_for("the shell ended: the job was canceled")
        self.assertEqual(typist.ended(), 255)
        until("nothing of it runs", lambda: not runs("sleep\0314159"))

    def test_a_tilde_and_a_dot_leave_one_that_does_not_answer(self):
        build, _ = self.running()
        typist = self.typist("shell", build)
        typist.type("PS1=; echo rea''dy; sleep 271828\r")
        typist.wait_for("ready\r\n")
        typist.type("\r~.")
        self.assertEqual(typist.ended(), 0)
        until("nothing of it runs", lambda: not runs("sleep\0271828"))

    def test_a_failed_job_waits_for_people_when_asked_to(self):
        self.assertEqual(self.before["status"], "failed")
        made = json.loads(self.server.cli("retry", self.before["id"], "--hold", "15m", "--json").stdout)["build"]

        def held():
            job = self.server.build(made)["jobs"][0]
            return job["held_until"] and job
        job = until("the job is held", held)
        self.assertEqual(job["status"], "running")
        self.assertRegex(job["detail"], r"held for a shell until \d{4}-")
        self.assertEqual(self.server.cli("shell", made, "--", "cat", "left").stdout, "evidence\n")
        typist = self.typist("shell", made, "break")
        typist.type("exit\r")
        typist.wait_for("let it go on: mayfly shell --release")
        self.assertEqual(typist.ended(), 0)
        self.server.cli("shell", "--release", made)
        build = self.server.finished(made, 60)
        self.assertEqual((build["status"], build["jobs"][0]["detail"], build["jobs"][0]["held_until"]), ("failed", "step 'echo evidence > left; exit 5' ended with exit code 5", None))
        log = self.server.log(made).decode()
        self.assertLess(log.index("is held for a shell"), log.index("cleaned"), "the hold comes before what cleans up")
        again = json.loads(self.server.cli("retry", made, "--json").stdout)["build"]
        self.assertEqual(self.server.finished(again, 60)["status"], "failed", "who does not ask is not held")

    def test_a_cancel_ends_a_hold_at_once(self):
        build = self.server.post("/projects/failing/builds", {"hold_minutes": 15})["id"]
        until("the job is held", lambda: self.server.build(build)["jobs"][0]["held_until"])
        self.server.post(f"/builds/{build}/cancel")
        self.assertEqual(self.server.finished(build, 30)["status"], "canceled")

    def test_a_server_that_is_killed_leaves_no_shell_behind(self):
        build, job = self.running()
        typist = self.typist("shell", job)
        typist.type("PS1=; echo rea''dy; sleep 161803\r")
        typist.wait_for("ready\r\n")
        self.server.kill()
        typist.wait_for("the shell ended")
        self.assertEqual(typist.ended(), 255)
        until("nothing of it runs", lambda: not runs("sleep\0161803"))
        self.server.start()
        self.assertEqual(self.server.cli("shell", job, "--", "touch", "go").returncode, 0, "the job is still there to look into")
        self.assertEqual(self.server.finished(build)["status"], "succeeded")
        self.assertTrue(all(s["closed_at"] for s in self.shells(job)), "the runner has said when it ended")

    def test_a_runner_that_is_killed_leaves_no_shell_behind(self):
        build, job = self.running()
        typist = self.typist("shell", job)
        typist.type("PS1=; echo rea''dy; sleep 141421\r")
        typist.wait_for("ready\r\n")
        runner = self.server.build(build)["jobs"][0]["log_path"]
        records = [json.loads(p.read_text())["pid"] for p in self.server.data.glob("runners/*/process.json") if (p.parent / "log").exists() and not (p.parent / "ended.json").exists()]
        self.assertTrue(records, runner)
        for pid in records:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        typist.wait_for("the shell ended")
        self.assertEqual(typist.ended(), 255)
        until("nothing of it runs", lambda: not runs("sleep\0141421"))


class TwoGateways(unittest.TestCase):
    """The runner dials the first gateway it knows; whoever looks asks the other."""

    def setUp(self):
        self.server = Production(slots=2)
        self.addCleanup(self.server.close)
        self.server.start()

    def test_the_two_ends_meet_across_gateways(self):
        repo = Repository(self.server.root, "wait", {".ci.yaml": PIPELINE.replace("    secrets: [TOKEN]\n", "")})
        self.server.add_project(repo)
        build = Forge(self.server).push(repo)
        job = self.server.build(build)["jobs"][0]["id"]
        until("the job says something", lambda: b"begun" in self.server.log(build))
        payload = os.urandom(300_000)
        for gateway in self.server.topology.gateways:
            with self.subTest(gateway=gateway):
                done = subprocess.run([BIN / "mayfly", "--server", gateway, "shell", job, "--", "sh", "-c", "tee copy; exit 9"], input=payload, capture_output=True,
                                      env={**os.environ, "MAYFLY_TOKEN": self.server.token}, timeout=PATIENCE)
                self.assertEqual((done.returncode, done.stdout == payload), (9, True), done.stderr)
        shells = until("both ends are on record", lambda: (s := self.server.get(f"/jobs/{job}/shells")["items"]) and all(x["closed_at"] for x in s) and s)
        self.assertEqual([s["exit_code"] for s in shells], [9, 9])
        self.server.post(f"/builds/{build}/cancel")
        self.server.finished(build)


class LocalRuns(unittest.TestCase):
    def test_a_step_that_fails_opens_a_shell_in_its_sandbox(self):
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0o755)
            repo = Repository(pathlib.Path(root), "local", {".ci.yaml": FAILING})
            typist = Typist(["run", "--shell-on-failure"], {}, cwd=repo.work)
            try:
                typist.wait_for("This is its sandbox; leave it with exit.")
                typist.type("PS1=; cat left; touch seen\r")
                typist.wait_for("evidence\r\n")
                typist.type("exit\r")
                typist.wait_for("cleaned")
                self.assertEqual(typist.ended(), 1)
            finally:
                typist.close()

    def test_needs_somebody_to_look(self):
        with tempfile.TemporaryDirectory() as root:
            repo = Repository(pathlib.Path(root), "local", {".ci.yaml": FAILING})
            done = subprocess.run([BIN / "mayfly", "run", "--shell-on-failure"], cwd=repo.work, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 2)
            self.assertIn("needs a terminal", done.stderr)


if __name__ == "__main__":
    unittest.main()
