"""Stories of the servers for containers: a registry, Docker's engine, gVisor's runsc."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import network  # noqa: E402
from docker_engine import ask  # noqa: E402
from processes import started_at  # noqa: E402
from story import ServersStory  # noqa: E402


def mounts_and_cgroups(number):
    words = [f"/run/mayfly-{number}/", f"mayfly-{number}-"]
    mounts = [line for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines() if any(word in line for word in words)]
    return mounts + [str(path) for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/mayfly-{number}-*")]


class Containers(ServersStory):
    def engine(self, method, target, body=None):
        path = self.url("MAYFLY_TEST_DOCKER").removeprefix("unix://")
        status, said = ask(path, method, target, json.dumps(body).encode() if body is not None else None, {"Content-Type": "application/json"})
        self.assertLess(status, 300, said)
        return json.loads(said) if said else None

    def run_container(self, image, command, **host):
        """Its exit code and what it said, frames left in."""
        path = self.url("MAYFLY_TEST_DOCKER").removeprefix("unix://")
        made = self.engine("POST", "/containers/create", {"Image": image, "Cmd": command, "HostConfig": host})["Id"]
        self.engine("POST", f"/containers/{made}/start")
        code = self.engine("POST", f"/containers/{made}/wait")["StatusCode"]
        return code, ask(path, "GET", f"/containers/{made}/logs?stdout=1&stderr=1")[1].decode(errors="replace")

    def test_the_engine_runs_our_images_by_runc_and_by_runsc(self):
        self.up("docker", "runsc")
        self.assertEqual(self.run_container("local/busybox:1", ["sh", "-c", "exit 7"])[0], 7)
        code, said = self.run_container("local/debian:1", ["bash", "-ec", "git init -q /tmp/there && git -C /tmp/there status && curl --version"])
        self.assertEqual(code, 0, said)
        self.assertIn("No commits yet", said)
        code, said = self.run_container("local/busybox:1", ["dmesg"], Runtime="runsc")
        self.assertEqual(code, 0, said)
        self.assertIn("gVisor", said)

    def test_the_registry_gives_the_engine_an_image_by_the_name_this_machine_knows(self):
        self.up("registry", "docker")
        image = self.url("MAYFLY_TEST_REGISTRY").removeprefix("http://") + "/local/busybox"
        self.engine("DELETE", "/images/local/busybox:1")
        path = self.url("MAYFLY_TEST_DOCKER").removeprefix("unix://")
        status, said = ask(path, "POST", f"/images/create?fromImage={image}&tag=1")
        self.assertEqual(status, 200, said)
        self.assertEqual(self.run_container(f"{image}:1", ["true"])[0], 0)
        looked = subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{image}:1"], stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(json.loads(looked)["Os"], "linux")

    def test_a_killed_engine_comes_back_at_its_socket_with_its_images(self):
        self.up("docker")
        made = self.engine("POST", "/containers/create", {"Image": "local/busybox:1", "Cmd": ["sleep", "600"]})["Id"]
        self.engine("POST", f"/containers/{made}/start")
        self.servers("kill", "docker")
        self.servers("start", "docker")
        self.assertEqual(self.engine("GET", f"/containers/{made}/json")["State"]["Running"], False)
        self.assertEqual(self.run_container("local/busybox:1", ["true"])[0], 0)

    def test_down_after_a_kill_leaves_no_container_mount_cgroup_or_network(self):
        self.up("docker")
        number = network.Network(self.state).number
        made = self.engine("POST", "/containers/create", {"Image": "local/busybox:1", "Cmd": ["sleep", "600"]})["Id"]
        self.engine("POST", f"/containers/{made}/start")
        inner = self.engine("GET", f"/containers/{made}/json")["State"]["Pid"]
        self.assertTrue(started_at(inner))
        self.assertNotEqual(mounts_and_cgroups(number), [])
        self.servers("kill", "docker")
        self.assertTrue(started_at(inner))  # as under a real engine
        self.servers("down")
        self.assertIsNone(started_at(inner))
        self.assertEqual(mounts_and_cgroups(number), [])
        self.assertFalse(pathlib.Path(f"/sys/class/net/mf{number}").exists())
        self.assertFalse(pathlib.Path(f"/run/mayfly-{number}").exists())

    def test_the_machine_keeps_its_own_firewall(self):
        rules = lambda: subprocess.run(["nft", "list", "ruleset"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
        self.up("registry")  # the network is there
        before = rules()
        self.up("docker")
        self.assertEqual(rules(), before)


@unittest.skipUnless(os.geteuid() == 0, "needs root: networks are made")
class Networks(ServersStory):
    def test_two_state_directories_have_networks_of_their_own(self):
        first, second = network.Network(self.state / "one"), network.Network(self.state / "two")
        for one in (first, second):
            one.join("docker")
            self.addCleanup(one.leave, "docker")
        self.assertNotEqual(first.number, second.number)
        self.assertNotEqual(first.here, second.here)

    def test_a_network_whose_state_was_deleted_goes_when_the_next_is_made(self):
        lost = network.Network(self.state / "lost")
        lost.join("docker")
        bridge, sockets = lost.bridge, lost.sockets
        lost.record.unlink()
        network.sweep()
        self.assertFalse(pathlib.Path(f"/sys/class/net/{bridge}").exists())
        self.assertFalse(sockets.exists())


if __name__ == "__main__":
    unittest.main()
