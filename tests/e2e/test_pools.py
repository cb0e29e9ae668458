"""Pools as people see them: drained and resumed, and one whose machine dies while it has jobs."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import production
from topology import Node, Topology
from world import BIN, Forge, Problem, Repository, Server, until

SHORT = "version: 1\njobs:\n" + "".join(f"  short{n}:\n    run: echo short{n}\n" for n in range(6))
LONG = "version: 1\njobs:\n" + "".join(f"  long{n}:\n    run: sleep 4; echo done{n}\n" for n in range(4))


def chromium():
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Drained(unittest.TestCase):
    """One pool, one server."""

    def setUp(self):
        self.server = Server(slots=2).start()
        self.addCleanup(self.server.close)
        self.forge = Forge(self.server)
        until("the pool has made itself known", lambda: self.server.get("/pools")["items"])

    def project(self, text, name):
        repo = Repository(self.server.root, name, {".ci.yaml": text})
        self.server.add_project(repo)
        return repo

    def pool(self):
        return next(p for p in self.server.patient_get("/pools")["items"] if p["name"] == "local")

    def test_what_runs_may_end_and_nothing_new_starts_until_it_is_resumed(self):
        long = self.forge.push(self.project("version: 1\njobs:\n  long:\n    run: echo begun; sleep 3; echo over\n", "long"))
        until("the job runs", lambda: self.server.build(long)["jobs"][0]["status"] == "running")
        self.assertEqual(self.pool()["state"], "active")
        self.assertIn("1 job may end", self.server.cli("pool", "drain", "local").stdout)
        self.assertEqual(self.pool()["state"], "draining")
        self.assertEqual(self.pool()["drained_by"], "data directory")

        short = self.forge.push(self.project("version: 1\njobs:\n  short:\n    run: echo short\n", "short"))
        until("the job says why it waits", lambda: (self.server.build(short)["jobs"][0]["waiting_for"] or "").endswith("pool local is draining"))
        self.assertEqual(self.server.finished(long)["status"], "succeeded")
        until("nothing runs any more", lambda: self.pool()["state"] == "drained")

        self.server.kill()
        self.server.start()
        time.sleep(1)
        self.assertEqual(self.pool()["state"], "drained")
        self.assertEqual(self.server.build(short)["jobs"][0]["status"], "queued")
        self.assertIn("starts runners again", self.server.cli("pool", "resume", "local").stdout)
        self.assertEqual(self.server.finished(short)["status"], "succeeded")
        self.assertEqual(json.loads(self.server.cli("pool", "list", "--json").stdout)["items"][0]["state"], "active")
        self.assertRegex(self.server.cli("pool", "list").stdout, r"(?m)^local +active +sandbox +")

    def test_only_owners_drain_and_every_change_is_audited(self):
        for role in ("viewer", "developer", "maintainer"):
            token = self.server.post("/tokens", {"name": role, "role": role})["token"]
            with self.assertRaises(Problem) as refused:
                self.server.post("/pools/local/drain", headers={"Authorization": "Bearer " + token})
            self.assertEqual(refused.exception.status, 403)
            self.assertEqual(len(self.server.get("/pools", headers={"Authorization": "Bearer " + token})["items"]), 1)
        for call in ("drain", "drain", "resume", "resume"):
            self.server.post(f"/pools/local/{call}")
        with self.assertRaises(Problem) as missing:
            self.server.post("/pools/other/drain")
        self.assertEqual(missing.exception.status, 404)
        self.server.stop()
        import sqlite3  # pylint: disable=import-outside-toplevel
        with contextlib.closing(sqlite3.connect(self.server.data / "mayfly.db")) as db:
            told = db.execute("select actor, action, subject from audit where action like 'pool.%' order by id").fetchall()
        self.assertEqual(told, [("data directory", "pool.drain", "local"), ("data directory", "pool.resume", "local")])
        self.server.start()

    def test_metrics_tell_what_waits_for_which_pool(self):
        self.server.post("/pools/local/drain")
        self.forge.push(self.project("version: 1\njobs:\n  waits:\n    run: echo x\n", "waits"))

        def metrics():
            return self.server.get("/metrics", raw=True)[0].decode()
        until("it waits for no pool", lambda: 'mayfly_queue_depth{pool="",shape="1 cpu, 1 GiB"} 1' in metrics())
        self.assertIn('mayfly_pool_open{pool="local"} 0', metrics())
        self.assertIn('mayfly_pool_capacity{pool="local",resource="slots"} 2', metrics())
        self.server.post("/pools/local/resume")
        until("nothing waits", lambda: "mayfly_waiting_jobs 0" in metrics())

    def test_a_browser_sees_the_pool(self):
        if not chromium():
            self.skipTest("there is no browser: apt-get install chromium")
        self.server.post("/pools/local/drain")
        with tempfile.TemporaryDirectory() as profile:
            shown = subprocess.run([chromium(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom",
                                    f"{self.server.url}/pools#token={self.server.token}"], capture_output=True, text=True, timeout=60).stdout
        self.assertIn("local", shown)
        self.assertIn("drained", shown)
        self.assertIn("0 of 2", shown)
        self.assertIn("Resume", shown)
        self.assertNotIn(self.server.token, shown)


class Keeper(Node):
    """A process that keeps one pool, with a configuration of its own."""

    def __init__(self, topology, pool):
        super().__init__(topology, "runners", pool["name"])
        self.config = topology.state / f"{self.name}.yaml"
        self.folder_of_runners = pathlib.Path(pool["data_dir"]) / "runners"
        self.pool = pool

    def command(self):
        self.config.touch(0o600)
        self.config.write_text(json.dumps({**json.loads(self.topology.config.read_text()), "pools": [self.pool]}))
        arguments, environment = super().command()
        return [self.config if a == self.topology.config else a for a in arguments], environment

    def die(self):
        """The machine is gone: its keeper and all its runners, at once."""
        self.stop(signal.SIGKILL)
        for record in self.folder_of_runners.glob("*/process.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)


class DeadMachine(unittest.TestCase):
    """Two pools on two machines of many processes; one machine dies and comes back."""

    def setUp(self):
        self.server = production.Production()
        self.addCleanup(self.server.close)
        topology = self.server.topology = Topology(self.server.root / "topology", BIN, copies=1, slots=3)
        topology.pools = [topology._own_pool("left")]  # pylint: disable=protected-access
        self.right = Keeper(topology, topology._own_pool("right"))  # pylint: disable=protected-access
        self.server.start()
        self.right.start()
        self.addCleanup(self.right.remove)
        self.forge = Forge(self.server)

    def push(self, name, text):
        repo = Repository(self.server.root, name, {".ci.yaml": text})
        self.server.add_project(repo)
        return self.forge.push(repo)

    def pool(self, name):
        return next((p for p in self.server.get("/pools")["items"] if p["name"] == name), None)

    def test_its_jobs_are_done_elsewhere_and_once(self):
        until("both pools are kept", lambda: all((p := self.pool(n)) and p["state"] == "active" and p["keeper"] for n in ("left", "right")))
        long = self.push("long", LONG)
        until("both pools run something", lambda: all(self.pool(n)["running"] for n in ("left", "right")))
        self.right.die()
        short = self.push("short", SHORT)
        until("the pool is silent", lambda: self.pool("right")["state"] == "silent")
        self.assertRegex(self.server.topology and self.server.get("/pools", raw=True)[0].decode(), '"silent_since":"20')
        for build, word in ((short, "short"), (long, "done")):
            ended = self.server.finished(build)
            self.assertEqual(ended["status"], "succeeded")
            log = self.server.log(build).decode()
            for job in ended["jobs"]:
                number = job["name"][-1]
                self.assertEqual(self.server.job_log(job["id"]).decode().count(word + number), 1, log)
        attempts = {b: max(j["attempt"] for j in self.server.build(b)["jobs"]) for b in (long, short)}
        self.assertGreater(attempts[long], 1, "what ran there was tried again")
        self.assertGreater(attempts[short], 1, "what had not begun there was given to the other")
        self.right.start()
        until("it is kept again", lambda: (p := self.pool("right"))["state"] == "active" and p["keeper"])
        self.assertEqual(self.server.finished(self.push("again", SHORT))["status"], "succeeded")
        until("nothing is left over", lambda: not any(json.loads(p.read_text()) for p in self.right.folder_of_runners.glob("*/process.json")))


if __name__ == "__main__":
    unittest.main()
