"""Clients of two gateways of the production topology, while caches forget, processes die or stand still and links are cut.

MAYFLY_SEED replays the order of faults, MAYFLY_CONSISTENCY_SECONDS makes it longer.
"""
import os
import pathlib
import random
import shutil
import sys
import tempfile
import unittest
import warnings

import checker
import island
from driver import World
from faults import Nemesis
from production_links import Production

SECONDS = float(os.environ.get("MAYFLY_CONSISTENCY_SECONDS", "25"))


class Consistency(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore", ResourceWarning)  # servers outlive who starts them, on purpose

    def test_what_clients_see_never_goes_back(self):
        seed = int(os.environ.get("MAYFLY_SEED", random.randrange(1 << 30)))
        if why := island.possible():
            print(f"without partitions between network namespaces: {why}", file=sys.stderr)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-consistency-"))
        folder.chmod(0o755)
        production = Production(folder / "state")
        kept = False
        try:
            production.start()
            world = World(production.topology.gateways, production.topology.token, folder, seed, builds=int(SECONDS * 1.5), pause=1.5)
            nemesis = Nemesis(seed, production.faults())
            history = world.run(SECONDS, nemesis)
            violations = checker.check(history)
            kept = bool(violations)
            print(f"\nMAYFLY_SEED={seed}: {len(nemesis.log)} faults; {checker.summary(history)}", file=sys.stderr)
            if violations:
                self.fail(f"{len(violations)} violations, the first: " + "; ".join(map(str, violations[:5])) +
                          f"\nMAYFLY_SEED={seed}; the history is {world.path}; faults:\n" + "\n".join(nemesis.log))
            reads = [o for o in history if o["op"] == "read" and o["outcome"] == "ok"]
            self.assertGreater(len(reads), 100, "clients that read nothing show nothing")
        finally:
            production.close()
            if not kept:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    unittest.main()
