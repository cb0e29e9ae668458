"""What the stories on Kubernetes are told with: the cluster of scripts/servers, a namespace of it for a story, and a Mayfly of many processes in front.

The cluster is that of MAYFLY_TEST_KUBERNETES; what a story does to its servers (kill the kubelet, the API server) it does through their state directory.
"""

import asyncio
import contextlib
import os
import pathlib
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

import images  # noqa: E402
from kubenode import KubeNode, may_lower_oom_score  # noqa: E402
from kubernetes import Kubernetes  # noqa: E402
from kubernetes_api import Refused, resource  # noqa: E402
from network import Network  # noqa: E402
from production import Production  # noqa: E402
from simulated_kubelet import LABEL, Course, SimulatedKubelet, toleration  # noqa: E402
from simulated_runner import SimulatedRunners  # noqa: E402
from topology import Topology  # noqa: E402
from world import BIN, until  # noqa: E402

RUNNER_IMAGE = "local/mayfly:1"
PROGRAMS = ["mayfly", "mayfly-runner", "mayfly-init"]
ACCOUNT = "mayfly-runner"
POOL = "cluster"
SECONDS_TO_GO = 90   # until what was deleted is gone


class Cluster:
    """Raises SkipTest where there is none."""

    def __init__(self, real=False):
        kubeconfig = os.environ.get("MAYFLY_TEST_KUBERNETES")
        if not kubeconfig or real and not os.environ.get("MAYFLY_TEST_KUBENODE"):
            raise unittest.SkipTest(f"needs a cluster: scripts/servers up kubernetes{' kubenode' if real else ''}; eval \"$(scripts/servers env)\"")
        self.state = pathlib.Path(kubeconfig).parents[2]
        self.servers = Kubernetes(self.state)
        self.servers.install()
        self.node = KubeNode(self.state)
        self.network = Network(self.state)
        self.kubeconfig = kubeconfig
        self.api = self.servers.api()

    def make_namespace(self):
        """One that takes restricted pods only, with the account that runners have. Its name."""
        name = f"mayfly-story-{time.time_ns()}"
        self.api.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
        self.api.create(resource("serviceaccounts", name), {"metadata": {"name": ACCOUNT}, "automountServiceAccountToken": False})
        return name

    def remove_namespace(self, name):
        """Whatever is left in it goes by force: a story that failed must not keep the others waiting."""
        for pod in self.api.list(resource("pods", name)):
            with contextlib.suppress(Refused):
                self.api.patch(resource("pods", name, pod["metadata"]["name"]), {"metadata": {"finalizers": None}})
            self.api.delete(resource("pods", name, pod["metadata"]["name"]), gracePeriodSeconds=0)
        self.api.delete(f"/api/v1/namespaces/{name}")

    def left(self, name):
        """The Jobs and Pods that are in a namespace."""
        return sorted(f"{kind}/{found['metadata']['name']}" for kind in ("jobs", "pods") for found in self.api.list(resource(kind, name)))

    def give_runner_image(self):
        """The programs under test, as the image that a real node runs them from."""
        with tempfile.TemporaryDirectory() as folder:
            archive = pathlib.Path(folder) / "image.tar"
            images.write_runner_image(archive, RUNNER_IMAGE, [BIN / name for name in PROGRAMS])
            done = self.node.ctr("images", "import", archive)
            if done.returncode != 0:
                raise AssertionError(done.stdout)

    def pool(self, name_space, simulated, slots, **more):
        """A pool of Mayfly's configuration, on the real node or on simulated ones of the namespace's name."""
        where = {"node_selector": {LABEL: name_space}, "tolerations": [toleration(name_space)]} if simulated else {"node_selector": {LABEL: "real"}}
        return {"name": more.pop("name", POOL), "slots": slots, "kubernetes": {
            "kubeconfig": str(self.kubeconfig), "namespace": name_space, "runner_image": RUNNER_IMAGE, "default_image": "local/debian:1", "service_account": ACCOUNT, **where, **more}}


class OnKubernetes(Production):
    """Production mode whose only pools are these; its gateways listen where pods reach them."""

    def __init__(self, cluster, pools, copies=2):
        super().__init__()
        self.topology = Topology(self.root / "topology", BIN, copies=copies, pools=pools, host=cluster.network.here)

    @property
    def keepers(self):
        """The processes of which one keeps the pools."""
        return self.topology.of_role("runners")


class Simulation(threading.Thread):
    """A SimulatedKubelet for pods of a namespace and the runners on it, in a thread of their own. `course(pod)` as there; without it every pod's
    runner is played. `held`: runners that have said their line wait for release()."""

    def __init__(self, cluster, name_space, nodes, course=None, width=48, held=False, **options):
        super().__init__(daemon=True)
        self.loop = asyncio.new_event_loop()
        self.ready, self.wrong = threading.Event(), None
        self.kubelet = self.runners = self.over = self.hold = None
        self.course = course or (lambda pod: Course(play=True))
        self.make = lambda: SimulatedKubelet(cluster.kubeconfig, nodes, name_space, course=self.course, play=lambda pod: self.runners.play(pod), width=width, **options)
        self.held = held

    def __enter__(self):
        self.start()
        self.ready.wait(60)
        if self.wrong or not self.ready.is_set():
            raise AssertionError(f"the simulated nodes did not start: {self.wrong}")
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.over.set)
        self.join(60)

    def run(self):
        self.loop.run_until_complete(self._live())

    async def _live(self):
        self.over, self.hold = asyncio.Event(), asyncio.Event() if self.held else None
        try:
            self.kubelet = self.make()
            self.runners = SimulatedRunners(self.kubelet, hold=self.hold)
            await self.kubelet.start()
        except Exception as why:  # pylint: disable=broad-except
            self.wrong = why
            self.ready.set()
            return
        self.ready.set()
        await self.over.wait()
        await self.kubelet.stop()
        self.runners.close()

    def release(self):
        """Lets runners that are held end."""
        self.loop.call_soon_threadsafe(self.hold.set)

    def call(self, what):
        """Runs a coroutine of the kubelet's, or a function, where it lives."""
        async def do():
            found = what()
            return await found if asyncio.iscoroutine(found) else found
        return asyncio.run_coroutine_threadsafe(do(), self.loop).result(60)


def nothing_left(cluster, name_space):
    until(f"no Job and no Pod is left in {name_space}", lambda: not cluster.left(name_space), SECONDS_TO_GO)
