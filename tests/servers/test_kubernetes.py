"""Stories of Kubernetes as a test server: the control plane, the real node, nodes without machines."""
import asyncio
import http.server
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from installs import Unavailable  # noqa: E402
from kubenode import NODE, SYSCTLS, KubeNode  # noqa: E402
from kubernetes import Kubernetes  # noqa: E402
from kubernetes_api import resource  # noqa: E402
from network import Network, in_namespace  # noqa: E402
from processes import started_at  # noqa: E402
from registry import Registry  # noqa: E402
from simulated_kubelet import SimulatedKubelet, toleration  # noqa: E402


def pod_spec(image, command=None, **spec):
    return {"restartPolicy": "Never", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "job", "image": image, "imagePullPolicy": "IfNotPresent", **({"command": command} if command else {})}], **spec}


def job(name, spec):
    """As Mayfly makes one: a single try, for it owns retries."""
    rules = [{"action": "FailJob", "onExitCodes": {"containerName": "job", "operator": "NotIn", "values": [0]}}, {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {
        "completions": 1, "parallelism": 1, "backoffLimit": 0, "podReplacementPolicy": "Failed", "podFailurePolicy": {"rules": rules}, "template": {"spec": spec}}}


def condition(found, kind):
    return next((entry for entry in (found or {}).get("status", {}).get("conditions", []) if entry["type"] == kind and entry["status"] == "True"), None)


def phase_is(*phases):
    return lambda found: found and found["status"].get("phase") in phases


class Cluster(unittest.TestCase):
    """One cluster for all stories of a class, a namespace for each."""

    @classmethod
    def setUpClass(cls):
        cls.state = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-servers-"))
        cls.addClassCleanup(shutil.rmtree, cls.state, ignore_errors=True)
        cls.cluster = Kubernetes(cls.state)
        try:
            cls.addClassCleanup(cls.cluster.remove)
            cls.cluster.start()
        except Unavailable as why:
            raise unittest.SkipTest(f"kubernetes: {why}") from None
        cls.api = cls.cluster.api()

    def setUp(self):
        self.space = "story-" + str(time.time_ns())
        self.api.create("/api/v1/namespaces", {"metadata": {"name": self.space}})
        self.addCleanup(self.api.delete, f"/api/v1/namespaces/{self.space}")
        self.api.wait(resource("serviceaccounts", self.space, "default"), bool)

    def pods(self):
        return self.api.list(resource("pods", self.space))


class ControlPlane(Cluster):
    def test_a_killed_api_server_comes_back_at_its_address_with_what_it_acknowledged(self):
        self.api.create(resource("configmaps", self.space), {"metadata": {"name": "kept"}, "data": {"word": "durable"}})
        self.assertTrue(self.cluster.stop_part("kube-apiserver", 9))
        with self.assertRaises(OSError):
            self.api.get("/readyz")
        self.assertGreater(self.cluster.start(), 0)
        self.assertEqual(self.api.get(resource("configmaps", self.space, "kept"))["data"], {"word": "durable"})

    def test_a_killed_control_plane_too(self):
        self.api.create(resource("configmaps", self.space), {"metadata": {"name": "kept"}, "data": {"word": "durable"}})
        pids = self.cluster.pids()
        self.assertEqual(len(pids), 4)
        self.cluster.stop(9)
        self.assertEqual([pid for pid in pids if started_at(pid)], [])
        self.cluster.start()
        self.assertEqual(self.api.get(resource("configmaps", self.space, "kept"))["data"], {"word": "durable"})

    def test_who_proves_nothing_may_do_nothing(self):
        asked = subprocess.run(["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", f"https://{self.cluster.where()}/api/v1/secrets"], stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(asked.stdout, "403")


class Simulated(Cluster):
    """The API server, the scheduler and the Job controller are real; the kubelets are ours."""

    def simulate(self, story, nodes=2, **options):
        async def told():
            kubelet = SimulatedKubelet(self.cluster.kubeconfig(), nodes, **options)
            await kubelet.start()
            try:
                return await story(kubelet)
            finally:
                await kubelet.stop()
        return asyncio.run(told())

    def run_job(self, words, **spec):
        name = words.replace(".", "-")
        self.api.create(resource("jobs", self.space), job(name, pod_spec(f"simulated/{words}:1", tolerations=[toleration()], **spec)))
        return name

    async def pod_of(self, name, condition, seconds=30):
        def look():
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                found = self.api.list(resource("pods", self.space), f"job-name={name}")
                if found and condition(found[0]):
                    return found[0]
                time.sleep(0.05)
            raise AssertionError(f"{name}: {found}")
        return await asyncio.to_thread(look)

    def test_jobs_end_as_their_course_says(self):
        async def story(_):
            names = {words: self.run_job(words) for words in ["run-20", "exit-3", "oom", "evicted", "pull-fails"]}
            done = await asyncio.to_thread(self.api.wait, resource("jobs", self.space, names["run-20"]), lambda found: condition(found, "Complete"))
            self.assertEqual(done["status"]["succeeded"], 1)
            for words, reason in {"exit-3": "PodFailurePolicy", "oom": "PodFailurePolicy", "evicted": "PodFailurePolicy"}.items():
                failed = await asyncio.to_thread(self.api.wait, resource("jobs", self.space, names[words]), lambda found: condition(found, "Failed"))
                self.assertEqual(condition(failed, "Failed")["reason"], reason, words)
            ended = {words: (await self.pod_of(names[words], lambda pod: pod["status"]["phase"] == "Failed"))["status"] for words in ["exit-3", "oom", "evicted"]}
            code = lambda words: ended[words]["containerStatuses"][0]["state"]["terminated"]
            self.assertEqual((code("exit-3")["exitCode"], code("oom")["reason"], ended["evicted"]["reason"]), (3, "OOMKilled", "Evicted"))
            waiting = lambda pod: pod["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}).get("reason") == "ImagePullBackOff"
            await self.pod_of(names["pull-fails"], waiting)
        self.simulate(story)

    def test_a_deleted_pod_ends_and_goes(self):
        async def story(_):
            name = self.run_job("stuck")
            pod = await self.pod_of(name, lambda pod: pod["status"]["phase"] == "Running")
            await asyncio.to_thread(self.api.delete, resource("jobs", self.space, name), propagationPolicy="Background")
            await asyncio.to_thread(self.api.wait, resource("pods", self.space, pod["metadata"]["name"]), lambda found: found is None)
        self.simulate(story)

    def test_a_node_that_falls_silent_loses_its_pods(self):
        async def story(kubelet):
            name = self.run_job("stuck")
            pod = await self.pod_of(name, lambda pod: pod["status"]["phase"] == "Running")
            kubelet.lose(pod["spec"]["nodeName"])
            lost = await self.pod_of(name, lambda pod: pod["metadata"].get("deletionTimestamp"), 60)
            self.assertEqual(condition(lost, "DisruptionTarget")["reason"], "DeletionByTaintManager")
            kubelet.find(pod["spec"]["nodeName"])
            await asyncio.to_thread(self.api.wait, resource("pods", self.space, pod["metadata"]["name"]), lambda found: found is None)
        self.simulate(story)

    def test_a_second_pod_of_a_job_can_be_made(self):
        async def story(kubelet):
            name = self.run_job("stuck")
            first = await self.pod_of(name, lambda pod: pod["status"]["phase"] == "Running")
            again = await kubelet.clone(self.space, first["metadata"]["name"])
            second = await asyncio.to_thread(self.api.wait, resource("pods", self.space, again), phase_is("Running", "Failed"))
            self.assertEqual(second["spec"]["containers"], first["spec"]["containers"])
        self.simulate(story)

    def test_pods_that_do_not_ask_for_simulated_nodes_get_none(self):
        async def story(_):
            self.api.create(resource("pods", self.space), {"metadata": {"name": "stranger"}, "spec": pod_spec("local/busybox:1")})
            told = await asyncio.to_thread(self.api.wait, resource("pods", self.space, "stranger"), lambda found: found["status"].get("conditions"))
            self.assertEqual(told["status"]["conditions"][0]["reason"], "Unschedulable")
        self.simulate(story)

    def test_its_nodes_go_with_it(self):
        async def story(_):
            return len(self.api.list("/api/v1/nodes"))
        self.assertEqual(self.simulate(story, nodes=3), 3)
        self.assertEqual(self.api.list("/api/v1/nodes"), [])


class RealNode(Cluster):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.before = sysctls()
        cls.node = KubeNode(cls.state)
        cls.registry = Registry(cls.state)
        try:
            for server in (cls.registry, cls.node):
                cls.addClassCleanup(server.remove)
                server.start()
        except Unavailable as why:
            raise unittest.SkipTest(f"kubenode: {why}") from None

    def run_pod(self, name, image, script, **spec):
        """What it said, once it has succeeded."""
        self.api.create(resource("pods", self.space), {"metadata": {"name": name}, "spec": pod_spec(image, ["sh", "-ec", script], **spec)})
        ended = self.api.wait(resource("pods", self.space, name), phase_is("Succeeded", "Failed"), 60)
        said = self.api.raw("GET", resource("pods", self.space, name, "log"))[1].decode()
        self.assertEqual(ended["status"]["phase"], "Succeeded", said)
        return said

    def test_a_job_runs_in_a_container(self):
        self.api.create(resource("jobs", self.space), job("real", pod_spec("local/debian:1", ["bash", "-ec", "git --version; exit 4"])))
        failed = self.api.wait(resource("jobs", self.space, "real"), lambda found: condition(found, "Failed"), 60)
        self.assertEqual(condition(failed, "Failed")["reason"], "PodFailurePolicy")
        pod = self.pods()[0]
        self.assertEqual(pod["spec"]["nodeName"], NODE)
        self.assertEqual(pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 4)
        self.assertIn(b"git version", self.api.raw("GET", resource("pods", self.space, pod["metadata"]["name"], "log"))[1])

    def test_a_pod_reaches_a_gateway_of_this_machine_and_is_reached(self):
        class Hello(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f"hello {self.client_address[0]}\n".encode())

            def log_message(self, *_):
                pass

        network = Network(self.state)
        gateway = http.server.ThreadingHTTPServer((network.here, 0), Hello)
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        self.addCleanup(gateway.server_close)
        self.addCleanup(gateway.shutdown)
        said = self.run_pod("caller", "local/busybox:1", f"wget -qO- http://{network.here}:{gateway.server_port}/")
        self.assertRegex(said, rf"hello 10\.214\.{network.number}\.\d+")

    def test_an_image_comes_from_the_registry(self):
        self.assertIn("ok", self.run_pod("pulled", f"{self.registry.where()}/local/busybox:1", "echo ok"))

    def test_a_sidecar_and_an_identity(self):
        """What Mayfly's pods are made of: a native sidecar, directories in common, a token for an audience."""
        volumes = [{"name": "both", "emptyDir": {}}, {"name": "identity", "projected": {"sources": [{"serviceAccountToken": {"audience": "mayfly", "path": "token", "expirationSeconds": 600}}]}}]
        mounts = [{"name": "both", "mountPath": "/both"}]
        sidecar = {"name": "runner", "image": "local/busybox:1", "restartPolicy": "Always", "volumeMounts": [*mounts, {"name": "identity", "mountPath": "/identity"}],
                   "command": ["sh", "-c", "trap 'exit 0' TERM; cut -d. -f1 /identity/token >/both/said; while :; do sleep 0.2; done"]}
        said = self.run_pod("pair", "local/busybox:1", "until [ -s /both/said ]; do sleep 0.1; done; cat /both/said; ! ls /identity",
                            volumes=volumes, initContainers=[sidecar], containers=[dict(pod_spec("local/busybox:1")["containers"][0], volumeMounts=mounts, command=[
                                "sh", "-c", "until [ -s /both/said ]; do sleep 0.1; done; cat /both/said; ! ls /identity"])])
        self.assertRegex(said, "eyJ")

    def test_down_after_a_kill_leaves_nothing_of_the_node(self):
        self.api.create(resource("pods", self.space), {"metadata": {"name": "left"}, "spec": pod_spec("local/busybox:1", ["sleep", "600"])})
        self.api.wait(resource("pods", self.space, "left"), phase_is("Running"), 60)
        network = Network(self.state)
        number, address = network.number, str(self.node.socket)
        shims = lambda: subprocess.run(["pgrep", "-f", f"containerd-shim.*{address}"], stdout=subprocess.PIPE, text=True, check=False).stdout.split()
        self.assertNotEqual(shims(), [])
        self.node.stop(9)
        self.assertNotEqual(shims(), [])  # as under a real kubelet
        self.node.remove()
        self.assertEqual(shims(), [])
        mounts = pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8")
        self.assertNotIn(str(self.node.folder), mounts)
        self.assertNotIn(f"/run/mayfly-{number}/containerd", mounts)
        self.assertEqual(list(pathlib.Path("/sys/fs/cgroup").glob(f"**/mayfly-{number}-node")), [])
        self.assertEqual(sysctls(), self.before)
        self.assertEqual(in_namespace(network.namespace("kubernetes")), sorted(self.cluster.pids()))
        self.node.start()  # the other stories go on


def sysctls():
    return {name: pathlib.Path(f"/proc/sys/{name}").read_text(encoding="ascii") for name in SYSCTLS}


if __name__ == "__main__":
    unittest.main()
