"""What stories of scripts/servers have in common: a state directory of their own, taken down afterwards."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from processes import Process

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/servers"
UNAVAILABLE = 3


class ServersStory(unittest.TestCase):
    def setUp(self):
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-servers-"))
        self.state.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.state, ignore_errors=True)
        self.addCleanup(self.servers, "down")

    def servers(self, *words, expect=0):
        done = subprocess.run([SCRIPT, "--dir", self.state, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(done.returncode, expect, done.stdout)
        return done.stdout

    def url(self, variable):
        return dict(line.split("=", 1) for line in (self.state / "env").read_text(encoding="utf-8").splitlines())[variable]

    def pid(self, name):
        return Process(self.state / f"{name}.process").pid()

    def up(self, *names):
        """Skips the story where this machine cannot have one of them."""
        done = subprocess.run([SCRIPT, "--dir", self.state, "up", *names], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode == UNAVAILABLE:
            self.skipTest(done.stdout.strip())
        self.assertEqual(done.returncode, 0, done.stdout)
