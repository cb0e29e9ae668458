"""Source over the wire: gateways with a disk of their own, and runners whose machine is another one."""

import os
import subprocess
import unittest

from production import Production
from topology import Node
from world import Forge, Repository

PIPELINE = """\
version: 1
on: {push: {branches: [main]}}
jobs:
  one:
    run: cat file; git rev-list --count HEAD; git status --porcelain
  history:
    needs: [one]
    checkout: {depth: 0}
    run: git rev-list --count HEAD
"""


def has_namespaces():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


class Elsewhere(Node):
    """A process of `runners` that sees nothing of what gateways and builds keep on their disks, as on a machine of its own."""

    def command(self):
        command, environment = super().command()
        hidden = [node.folder / "data" for node in self.topology.nodes.values() if node.role in ("gateway", "builds")]
        for folder in hidden:
            folder.mkdir(parents=True, exist_ok=True)
        mounts = " && ".join(f"mount -t tmpfs none '{folder}'" for folder in hidden)
        return ["unshare", "--mount", "sh", "-c", mounts + ' && exec "$@"', "sh", *command], environment


class SourceOverTheWire(unittest.TestCase):
    def setUp(self):
        if not has_namespaces():
            self.skipTest("hiding one machine's disk from another needs root and mount namespaces")
        self.server = Production(slots=2)
        self.addCleanup(self.server.close)
        topology = self.server.topology
        for name, node in list(topology.nodes.items()):
            if node.role == "runners":
                topology.nodes[name] = Elsewhere(topology, node.role, int(name.rpartition("-")[2]))
        self.server.start()

    def test_runners_fetch_from_gateways_whose_disks_they_do_not_see(self):
        repo = Repository(self.server.root, "web", {".ci.yaml": PIPELINE, "file": "first\n"})
        repo.commit({"file": "second\n"})
        self.server.add_project(repo)
        build_id = Forge(self.server).push(repo)
        build = self.server.finished(build_id)
        self.assertEqual(build["status"], "succeeded", self.server.log(build_id))
        logs = {job["name"]: self.server.job_log(job["id"]).decode() for job in build["jobs"]}
        self.assertEqual(logs["one"], "second\n1\n")
        self.assertEqual(logs["history"], "2\n")


if __name__ == "__main__":
    unittest.main()
