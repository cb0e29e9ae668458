"""Runners as Jobs and Pods of a cluster: the API server, the scheduler and the Job controller are real; the nodes are simulated, so that they can be
lost, evict, and start a pod twice, or real (then the acceptance story of the main job is told, while what it runs on is killed)."""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import signal
import subprocess
import time
import unittest

import yaml

import test_acceptance
from kubernetes_world import Cluster, Course, OnKubernetes, Refused, Simulation, may_lower_oom_score, nothing_left, resource
from production import start_again
from world import TERMINAL, Forge, Repository, Watcher, until

JOBS = int(os.environ.get("MAYFLY_KUBERNETES_JOBS", "120"))
WIDTH = 40   # jobs of a build
SLOTS = 200
# Minutes of stories on a cluster that is killed and restarted under them.
WANTED = unittest.skipUnless(os.environ.get("MAYFLY_CLUSTER_STORIES"), "MAYFLY_CLUSTER_STORIES=1 tells the stories of jobs on a cluster, too")
MANIFESTS = pathlib.Path(__file__).resolve().parents[2] / "deploy/kubernetes"
SMALL = "defaults: {resources: {cpu: 0.1, memory: 128Mi, disk: 256Mi}}\n"   # a node reserves what is asked for


def wide(count):
    return "version: 1\n" + SMALL + "jobs:\n" + "".join(f"  j{n}:\n    run: echo {n}\n" for n in range(count))


def one(**job):
    lines = "".join(f"    {key}: {value}\n" for key, value in {"run": "echo one", **job}.items())
    return "version: 1\n" + SMALL + "jobs:\n  one:\n" + lines


class Simulated(unittest.TestCase):
    """All stories of a class share one Mayfly and one namespace."""

    options = {"runner_object": "job"}

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.space = cls.cluster.make_namespace()
        cls.addClassCleanup(cls.cluster.remove_namespace, cls.space)
        cls.server = OnKubernetes(cls.cluster, [cls.cluster.pool(cls.space, True, SLOTS, api_qps=200, api_burst=400, image_patience="2s", **cls.options)])
        cls.addClassCleanup(cls.server.close)
        cls.server.start()
        cls.forge = Forge(cls.server)

    def push(self, pipeline):
        repo = Repository(self.server.root, f"p{time.time_ns()}", {".ci.yaml": pipeline})
        self.server.add_project(repo)
        return self.forge.push(repo)

    def job(self, build):
        return self.server.build(build)["jobs"][0]

    def pods(self):
        return self.cluster.api.list(resource("pods", self.space))

    def attempt_runs(self, build, attempt=1):
        return until(f"attempt {attempt} runs", lambda: (j := self.job(build))["status"] == "running" and j["attempt"] == attempt and self.pods())

    def finished_without_a_trace(self, build, patience=None):
        build = self.server.finished(build, patience)
        nothing_left(self.cluster, self.space)
        return build

    def check_started_once(self, simulation):
        twice = {attempt: len(times) for attempt, times in simulation.runners.started.items() if len(times) > 1}
        self.assertEqual(twice, {})
        refused = {what: count for what, count in simulation.runners.counts.items() if "refused:" in what}
        self.assertEqual(refused, {})


@WANTED
class AsJobs(Simulated):
    def test_many_jobs_none_lost_none_doubled_while_their_keepers_are_killed(self):
        with Simulation(self.cluster, self.space, 10) as simulation:
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                builds = list(pool.map(lambda _: self.push(wide(WIDTH)), range(JOBS // WIDTH)))
                for keeper in self.server.keepers:
                    until("runners are on their way", lambda: len(simulation.runners.started) > 5)
                    keeper.stop(signal.SIGKILL)
                    start_again(keeper)
                ended = list(pool.map(self.server.finished, builds))
            self.check_started_once(simulation)
        self.assertEqual({build["status"] for build in ended}, {"succeeded"})
        attempts = collections.Counter(job["attempt"] for build in ended for job in build["jobs"])
        self.assertEqual(attempts, {1: JOBS // WIDTH * WIDTH})
        nothing_left(self.cluster, self.space)
        print(f"    {JOBS // WIDTH * WIDTH} jobs in {time.monotonic() - began:.0f} s", flush=True)

    def test_a_second_pod_of_an_attempt_is_turned_away(self):
        with Simulation(self.cluster, self.space, 2, held=True) as simulation:
            build = self.push(one())
            pod = self.attempt_runs(build)[0]
            again = simulation.call(lambda: simulation.kubelet.clone(self.space, pod["metadata"]["name"]))
            ended = until("the second pod has ended", lambda: next((p for p in self.pods() if p["metadata"]["name"] == again and p["status"].get("phase") == "Failed"), None))
            self.assertEqual(ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3)
            simulation.release()
            build = self.finished_without_a_trace(build)
            self.assertEqual((build["status"], build["jobs"][0]["attempt"]), ("succeeded", 1))
            self.assertEqual([len(times) for times in simulation.runners.started.values()], [1])

    def test_who_is_evicted_is_tried_again(self):
        evicted = set()

        def course(pod):
            first = not evicted
            evicted.add(pod["metadata"]["name"])
            return Course(ends="evicted", run=0.2) if first else Course(play=True)

        with Simulation(self.cluster, self.space, 2, course):
            build = self.finished_without_a_trace(self.push(one()))
        self.assertEqual((build["status"], build["jobs"][0]["attempt"]), ("succeeded", 2))

    def test_a_lost_node_costs_an_attempt_and_not_the_build(self):
        with Simulation(self.cluster, self.space, 2, held=True) as simulation:
            build = self.push(one())
            node = self.attempt_runs(build)[0]["spec"]["nodeName"]
            simulation.call(lambda: simulation.kubelet.lose(node))
            second = until("it runs elsewhere", lambda: next((p for p in self.pods() if p["spec"].get("nodeName") not in (None, node)), None))
            self.assertNotEqual(second["spec"]["nodeName"], node)
            self.attempt_runs(build, 2)
            simulation.release()
            ended = self.server.finished(build)
            simulation.call(lambda: simulation.kubelet.find(node))
            nothing_left(self.cluster, self.space)
        self.assertEqual((ended["status"], ended["jobs"][0]["attempt"]), ("succeeded", 2))

    def test_an_image_that_cannot_be_pulled_is_said_in_plain_words(self):
        with Simulation(self.cluster, self.space, 2, lambda pod: Course(ends="pull-fails")):
            build = self.finished_without_a_trace(self.push(one(image="local/nowhere:1")))
        job = build["jobs"][0]
        self.assertEqual((build["status"], job["reason"]), ("failed", "image_pull"), job)
        self.assertIn("local/nowhere:1", job["detail"])

    def test_out_of_memory_is_the_users_and_is_not_tried_again(self):
        with Simulation(self.cluster, self.space, 2, lambda pod: Course(ends="oom", run=0.2)):
            build = self.finished_without_a_trace(self.push(one()))
        job = build["jobs"][0]
        self.assertEqual((build["status"], job["reason"], job["attempt"]), ("failed", "oom", 1), job)

    def test_a_canceled_build_takes_its_pods_along(self):
        with Simulation(self.cluster, self.space, 2, held=True):
            build = self.push(one())
            self.attempt_runs(build)
            self.server.post(f"/builds/{build}/cancel")
            self.assertEqual(self.finished_without_a_trace(build)["status"], "canceled")

    def test_a_killed_api_server_is_waited_for(self):
        with Simulation(self.cluster, self.space, 4) as simulation:
            build = self.push(wide(20))
            until("some run", lambda: len(simulation.runners.started) > 2)
            self.cluster.servers.stop_part("kube-apiserver", signal.SIGKILL)
            start_again(self.cluster.servers)
            ended = self.finished_without_a_trace(build)
            self.check_started_once(simulation)
        self.assertEqual(ended["status"], "succeeded", [job for job in ended["jobs"] if job["status"] != "succeeded"])


@WANTED
class AsPods(Simulated):
    """The same guarantees without the Job controller."""

    options = {"runner_object": "pod"}

    test_a_second_pod_of_an_attempt_is_turned_away = AsJobs.test_a_second_pod_of_an_attempt_is_turned_away
    test_who_is_evicted_is_tried_again = AsJobs.test_who_is_evicted_is_tried_again

    def test_many_jobs_none_lost_none_doubled(self):
        with Simulation(self.cluster, self.space, 10) as simulation:
            ended = self.finished_without_a_trace(self.push(wide(WIDTH)))
            self.check_started_once(simulation)
        self.assertEqual({job["status"] for job in ended["jobs"]}, {"succeeded"})


@WANTED
class UnderGvisor(unittest.TestCase):
    """A job that asks for gVisor: the objects against the real API server, and the pod itself where a node can start it."""

    RUNTIME_CLASS = {"metadata": {"name": "gvisor-story"}, "handler": "runsc", "overhead": {"podFixed": {"cpu": "20m", "memory": "64Mi"}}}

    def setUp(self):
        self.cluster = Cluster()
        self.cluster.api.delete(resource("runtimeclasses", name="gvisor-story"))
        self.cluster.api.create(resource("runtimeclasses"), self.RUNTIME_CLASS)
        self.addCleanup(self.cluster.api.delete, resource("runtimeclasses", name="gvisor-story"))
        self.space = self.cluster.make_namespace()
        self.addCleanup(self.cluster.remove_namespace, self.space)

    def push(self, simulated):
        server = OnKubernetes(self.cluster, [self.cluster.pool(self.space, simulated, 4, runner_cpu="50m", runtime_classes={"gvisor": "gvisor-story"})], copies=1)
        self.addCleanup(server.close)
        server.start()
        repo = Repository(server.root, "web", {".ci.yaml": one(isolation="gvisor", run='test "$CI_ISOLATION" = gvisor && dmesg | head -1')})
        server.add_project(repo)
        return server, Forge(server).push(repo)

    def test_the_pod_has_the_runtime_class_and_its_overhead(self):
        with Simulation(self.cluster, self.space, 2, held=True) as simulation:
            server, build = self.push(simulated=True)
            pod = until("its pod is there", lambda: next(iter(self.cluster.api.list(resource("pods", self.space))), None))
            self.assertEqual((pod["spec"]["runtimeClassName"], pod["spec"]["overhead"]), ("gvisor-story", {"cpu": "20m", "memory": "64Mi"}))
            until("its runner has started", lambda: simulation.runners.started)
            simulation.release()
            ended = server.finished(build)
            nothing_left(self.cluster, self.space)
        self.assertEqual((ended["status"], ended["jobs"][0]["isolation"]), ("succeeded", "gvisor"), ended["jobs"])

    def test_it_runs_under_gvisor_on_a_node_that_can(self):
        self.cluster = Cluster(real=True)
        if not may_lower_oom_score():
            self.skipTest("gVisor's containerd shim lowers an oom_score_adj, which takes CAP_SYS_RESOURCE, and this machine's root has it not")
        self.cluster.give_runner_image()
        server, build = self.push(simulated=False)
        ended = server.finished(build)
        self.assertEqual((ended["status"], ended["jobs"][0]["isolation"]), ("succeeded", "gvisor"), ended["jobs"])
        self.assertIn(b"gVisor", server.log(build))
        nothing_left(self.cluster, self.space)


class Manifests(unittest.TestCase):
    def test_a_real_api_server_takes_what_is_shipped(self):
        cluster = Cluster()
        files = sorted(MANIFESTS.glob("*.yaml"))
        spaces = [found["metadata"]["name"] for file in files for found in yaml.safe_load_all(file.read_text()) if found and found["kind"] == "Namespace"]
        for space in spaces:
            with contextlib.suppress(Refused):
                cluster.api.create("/api/v1/namespaces", {"metadata": {"name": space}})
            self.addCleanup(cluster.api.delete, f"/api/v1/namespaces/{space}")
        for file in files:
            done = subprocess.run([cluster.servers.programs / "kubectl", "--kubeconfig", cluster.kubeconfig, "apply", "--dry-run=server", "--validate=strict", "-f", file],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(done.returncode, 0, f"{file.name}: {done.stdout}")


@WANTED
class AcceptanceOnANode(test_acceptance.Acceptance):
    """The story of the main job in pods of a real node: containerd, runc. In its second form the node's kubelet, the pools' keeper and the API server
    are killed along the way."""

    def setUp(self):
        self.cluster = Cluster(real=True)
        self.cluster.give_runner_image()
        self.space = self.cluster.make_namespace()
        self.addCleanup(self.cluster.remove_namespace, self.space)
        self.server = OnKubernetes(self.cluster, [self.cluster.pool(self.space, False, 4, runner_cpu="50m")])
        self.addCleanup(self.server.close)
        self.server.start()
        self.repo = Repository(self.server.root, "web", {".ci.yaml": test_acceptance.PIPELINE.replace("env:", SMALL + "env:", 1), "README": "hi\n"})
        self.server.add_project(self.repo)
        self.forge = Forge(self.server)

    def check(self, build_id, watcher, tails):
        jobs = super().check(build_id, watcher, tails)
        nothing_left(self.cluster, self.space)
        return jobs

    def test_the_same_while_the_server_is_killed_five_times(self):
        """Kills what is particular to a cluster instead; that of the server is told on the sandbox."""
        build_id = self.forge.push(self.repo)
        watcher = Watcher(self.server, build_id)
        watcher.start()
        survivors = ("matrix (a, 1)", "slow", "left")
        for name, kill in zip(survivors, (self.kill_kubelet, self.kill_keepers, self.kill_api_server)):
            until(f"{name} runs", lambda name=name: (j := self.job(build_id, name))["status"] in TERMINAL or j["steps"] and j["steps"][0]["status"] == "running")
            kill()
        jobs = self.check(build_id, watcher, {})
        self.assertEqual({n: jobs[n]["attempt"] for n in survivors}, {n: 1 for n in survivors})

    def kill_kubelet(self):
        self.cluster.node.stop_part("kubelet", signal.SIGKILL)
        start_again(self.cluster.node)

    def kill_keepers(self):
        for keeper in self.server.keepers:
            keeper.stop(signal.SIGKILL)
            start_again(keeper)

    def kill_api_server(self):
        self.cluster.servers.stop_part("kube-apiserver", signal.SIGKILL)
        start_again(self.cluster.servers)


if __name__ == "__main__":
    unittest.main()
