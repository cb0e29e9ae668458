"""Clients against `mayfly up`, which is killed and started again while they work."""
import os
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from world import Server  # noqa: E402

import checker  # noqa: E402
from driver import World  # noqa: E402
from faults import Fault, Nemesis  # noqa: E402


class KillAndStart(Fault):
    name = "kill the server"

    def __init__(self, server):
        self.server = server

    def begin(self, chance):
        self.server.kill()

    def end(self):
        self.server.start()


class Up(unittest.TestCase):
    def test_a_server_that_is_killed_again_and_again(self):
        seed = int(os.environ.get("MAYFLY_SEED", random.randrange(1 << 30)))
        server = Server().start()
        try:
            world = World([server.url], server.token, server.root, seed, builds=40, pause=0.3)
            history = world.run(15, Nemesis(seed, [KillAndStart(server)], between=(1, 3), lasts=(0.1, 0.5)))
            violations = checker.check(history)
            self.assertEqual([], [str(v) for v in violations], f"MAYFLY_SEED={seed}: {checker.summary(history)}")
            reads = [o for o in history if o["op"] == "read" and o["outcome"] == "ok"]
            self.assertGreater(len(reads), 100, "clients that read nothing show nothing")
            self.assertEqual(1, len([o for o in history if o["op"] == "census"]))
        finally:
            server.close()


if __name__ == "__main__":
    unittest.main()
