"""Stories of scripts/servers itself."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import installs  # noqa: E402
from processes import Process, started_at, wait_for  # noqa: E402
from s3 import signed_status  # noqa: E402
from story import SCRIPT, ServersStory  # noqa: E402


class Stories(ServersStory):
    def sql(self, text):
        return subprocess.run(["psql", "-tAqc", text, self.url("MAYFLY_TEST_POSTGRES")], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def test_a_killed_database_comes_back_on_its_port_with_what_was_committed(self):
        self.servers("up", "postgres")
        before = self.url("MAYFLY_TEST_POSTGRES")
        self.sql("create table kept (word text); insert into kept values ('durable')")
        self.servers("kill", "postgres")
        with self.assertRaises(subprocess.CalledProcessError):
            self.sql("select 1")
        self.servers("start", "postgres")
        self.assertEqual(self.url("MAYFLY_TEST_POSTGRES"), before)
        self.assertEqual(self.sql("select word from kept"), "durable")

    def test_a_killed_kafka_comes_back_on_its_port_with_what_it_acknowledged(self):
        self.servers("up", "kafka")
        broker = self.url("MAYFLY_TEST_KAFKA")
        subprocess.run(["kcat", "-P", "-b", broker, "-t", "kept", "-X", "acks=all"], input=b"durable\n", check=True)
        # Kafka leaves writing to the kernel: what it acknowledged outlives the process.
        self.servers("kill", "kafka")
        self.servers("start", "kafka")
        self.assertEqual(self.url("MAYFLY_TEST_KAFKA"), broker)
        got = subprocess.run(["kcat", "-C", "-b", broker, "-t", "kept", "-e", "-q", "-o", "beginning"], stdout=subprocess.PIPE, check=True, timeout=60).stdout
        self.assertEqual(got, b"durable\n")

    def test_redis_forgets_when_it_is_killed(self):
        self.servers("up", "redis")
        port = int(self.url("MAYFLY_TEST_REDIS").rpartition(":")[2])
        self.assertEqual(ask_redis(port, "SET word here"), "+OK")
        self.servers("kill", "redis")
        self.servers("start", "redis")
        self.assertEqual(ask_redis(port, "GET word"), "$-1")

    def test_the_s3_server_knows_one_key_and_nobody_without(self):
        self.servers("up", "s3")
        access, secret, port = re.fullmatch(r"http://(\w+):(\w+)@127\.0\.0\.1:(\d+)", self.url("MAYFLY_TEST_S3")).groups()
        self.assertEqual(signed_status(int(port), access, secret), 200)
        self.assertEqual(signed_status(int(port), access, secret[::-1]), 403)
        self.assertEqual(signed_status(int(port), "somebody", secret), 403)
        self.servers("kill", "s3")
        self.servers("start", "s3")
        self.assertEqual(signed_status(int(port), access, secret), 200)

    def test_down_leaves_nothing_running_and_nothing_behind(self):
        self.servers("up", "postgres", "redis")
        pids = [self.pid("postgres"), self.pid("redis")]
        self.assertTrue(all(pids), pids)
        self.servers("down")
        self.assertEqual([pid for pid in pids if started_at(pid)], [])
        self.assertFalse(self.state.exists())

    def test_up_again_changes_nothing(self):
        self.servers("up", "redis")
        pid = self.pid("redis")
        self.assertIn("was there", self.servers("up", "redis"))
        self.assertEqual(self.pid("redis"), pid)

    def test_a_process_that_only_has_the_number_of_a_server_is_not_touched(self):
        self.servers("up", "redis")
        self.servers("kill", "redis")
        stranger = subprocess.Popen(["sleep", "600"])
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        (self.state / "redis.process").write_text(f'{{"pid": {stranger.pid}, "started": "another boot/1"}}', encoding="utf-8")
        self.assertIn("stopped", self.servers("status"))
        self.servers("down")
        self.assertIsNone(stranger.poll())

    def test_status_tells_what_runs(self):
        self.servers("up", "redis")
        self.assertRegex(self.servers("status"), r"redis +up +127\.0\.0\.1:\d+ +process \d+")
        self.servers("stop", "redis")
        self.assertRegex(self.servers("status"), r"redis +stopped")
        self.assertRegex(self.servers("status"), r"kafka +not here")

    def test_a_server_that_this_machine_cannot_have_is_said_and_the_rest_goes_on(self):
        tools = self.state / "tools"
        tools.mkdir(parents=True)
        for tool in ["redis-server"]:
            (tools / tool).symlink_to(shutil.which(tool))
        # A PATH without kcat and java.
        done = subprocess.run([SCRIPT, "--dir", self.state, "up", "redis", "kafka"], env=dict(os.environ, PATH=str(tools)), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, 3, done.stdout)
        self.assertRegex(done.stdout, "WITHOUT kafka: needs Debian's package")
        self.assertRegex(done.stdout, r"redis .*answered")

    def test_what_is_no_name_or_no_verb_is_refused(self):
        self.assertIn("no server oracle", self.servers("up", "oracle", expect=2))
        self.assertIn("takes one name", self.servers("kill", expect=2))
        self.servers("explode", expect=2)


class Installs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = installs.CACHE
        installs.CACHE = pathlib.Path(folder.name)
        self.addCleanup(setattr, installs, "CACHE", self.cache)

    def test_an_install_that_broke_off_is_made_again(self):
        def breaks(folder, _log):
            (folder / "half").write_text("x", encoding="utf-8")
            raise installs.Failed("the network went away")

        with self.assertRaises(installs.Failed):
            installs.installed("thing", "1", "key", breaks)
        left = installs.CACHE / ".thing-killed"  # as a killed run leaves it
        left.mkdir()
        home = installs.installed("thing", "1", "key", lambda folder, _log: (folder / "whole").write_text("x", encoding="utf-8"))
        self.assertEqual([path.name for path in home.iterdir()], ["whole"])
        self.assertFalse(left.exists())

    def test_two_runs_make_one_install(self):
        made = []

        def make(_folder, _log):
            made.append(threading.current_thread())
            if threading.current_thread() is not other:
                other.start()
                other.join(0.3)  # it ends within it only when no lock keeps it out

        other = threading.Thread(target=installs.installed, args=("thing", "1", "key", make))
        home = installs.installed("thing", "1", "key", make)
        other.join()
        self.assertEqual(made, [threading.current_thread()])
        self.assertTrue(home.is_dir())

    def test_a_step_that_fails_shows_its_last_words(self):
        with self.assertRaisesRegex(installs.Failed, "(?s)thing 1: .* ended with 7.*no such jar"):
            installs.run(["sh", "-c", "echo no such jar; exit 7"], "thing 1", installs.CACHE, installs.CACHE / "log")


class Processes(unittest.TestCase):
    def test_what_does_not_stop_is_killed_with_its_children(self):
        with tempfile.TemporaryDirectory() as folder:
            process = Process(pathlib.Path(folder) / "process")
            starter = process.launch(["sh", "-c", "trap '' TERM; sleep 600 & echo $! > child; wait"], pathlib.Path(folder) / "log", directory=folder)
            child = pathlib.Path(folder) / "child"
            self.assertTrue(wait_for(lambda: child.exists() and child.read_text(encoding="ascii").endswith("\n"), 10))
            self.assertTrue(process.end(signal.SIGTERM, 0.3))
            starter.wait()
            self.assertIsNone(started_at(int(child.read_text(encoding="ascii"))))
            self.assertIsNone(process.pid())


def ask_redis(port, text):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(text.encode() + b"\r\n")
        return connection.makefile().readline().strip()


if __name__ == "__main__":
    unittest.main()
