#!/usr/bin/python3
"""Measures Mayfly on a Kubernetes cluster beside a bare client that creates the same objects, in one run; one JSON line a figure.

    MAYFLY_BIN=build/release/bin MAYFLY_BENCH_KUBERNETES_JOBS=5000 bench/kubernetes.py

The control plane is real, with a scheduler and a Job controller; the nodes are simulated (tests/servers/simulated_kubelet.py). Every Job's pod is held
until all of them run, then all may end. When the API server received a Job is read from its audit log, for both sides; when a pod runs is when its kubelet
has been heard saying so. Neither etcd nor anything else of the cluster syncs to a disk; Mayfly's PostgreSQL does.
"""

import collections
import concurrent.futures
import datetime
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests/e2e"), str(HERE.parent / "tests/servers")]
from kubernetes_world import Cluster, OnKubernetes, Simulation  # noqa: E402
from kubernetes import Kubernetes  # noqa: E402
from kubernetes_api import Api, resource  # noqa: E402
from simulated_kubelet import LABEL, toleration  # noqa: E402
from world import Forge, Repository, until  # noqa: E402

JOBS = int(os.environ.get("MAYFLY_BENCH_KUBERNETES_JOBS", "500"))
NODES = int(os.environ.get("MAYFLY_BENCH_KUBERNETES_NODES", "100"))
OBJECT = os.environ.get("MAYFLY_BENCH_KUBERNETES_OBJECT", "job")
WIDTH = 100          # jobs of a build
CONNECTIONS = 32     # of the bare client
CLIENTS = 2          # its processes
SECONDS = 1800       # for anything to become true
ATTEMPT_LABEL = "mayfly.dev/attempt"


def say(what, value, unit, **more):
    print(json.dumps({"what": what, "value": round(value, 3), "unit": unit, **more}), flush=True)


def tell(text):
    print(f"# {time.strftime('%H:%M:%S')} {text}", flush=True)


def quantile(samples, q):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class AuditedCluster(Cluster):
    """One of its own, so that what it holds is what this run made."""

    def __init__(self, state):  # pylint: disable=super-init-not-called
        self.servers = Kubernetes(state)
        self.servers.audited = True
        self.servers.start()
        self.kubeconfig, self.api, self.network = self.servers.kubeconfig(), self.servers.api(), self.servers.network

    def received(self, name_space):
        """name → seconds since the epoch at which the API server received the order to make it, from a client and not from its own controllers."""
        out = {}
        with open(self.servers.audit_log(), encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                at = event.get("objectRef", {})
                if at.get("namespace") != name_space or event["responseStatus"]["code"] != 201 or event["user"]["username"].startswith("system:serviceaccount:kube-system"):
                    continue
                out[at["name"]] = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00")).timestamp()
        return out


def owner(pod):
    """The name of what a client made: the pod's Job, or the pod."""
    return next((ref["name"] for ref in pod["metadata"].get("ownerReferences", []) if ref["kind"] == "Job"), pod["metadata"]["name"])


class Side:
    """What one of the two has reached."""

    def __init__(self, cluster, name_space, simulation):
        self.received = cluster.received(name_space)
        kubelet = simulation.kubelet
        self.started = {owner(pod): kubelet.started_at[name_space, pod["metadata"]["name"]] for pod in list(kubelet.pods.values())
                        if (name_space, pod["metadata"]["name"]) in kubelet.started_at}

    @property
    def rate(self):
        return len(self.started) / (max(self.started.values()) - min(self.received.values()))

    def say(self, who):
        waits = [(self.started[name] - self.received[name]) * 1000 for name in self.started]
        posts = sorted(self.received.values())
        say(f"{who}: Kubernetes objects made", len(posts) / (posts[-1] - posts[0]), "/s")
        say(f"{who}: Kubernetes pods started", self.rate, "/s", note=f"{len(self.started)} on {NODES} simulated nodes")
        say(f"{who}: Kubernetes object made to pod started p50", quantile(waits, 0.5), "ms")
        say(f"{who}: Kubernetes object made to pod started p99", quantile(waits, 0.99), "ms")


def template(found):
    """An object that Mayfly made, as it ordered it."""
    spec, labels = found["spec"], dict(found["metadata"]["labels"])
    spec.pop("nodeName", None)
    if found["kind"] == "Job":
        spec.pop("selector", None)
        for key in [key for key in spec["template"]["metadata"]["labels"] if "controller-uid" in key or "job-name" in key]:
            del spec["template"]["metadata"]["labels"][key]
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": {"labels": labels}, "spec": spec}


def create_bare(kubeconfig, path, made, names):
    api = Api(kubeconfig)
    text = json.dumps(made)

    def create(name):
        one = json.loads(text)
        one["metadata"]["name"] = name
        api.create(path, one)

    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS // CLIENTS) as pool:
        list(pool.map(create, names))


def bare(cluster, made):
    """A client that does nothing but create the objects."""
    kind = "jobs" if OBJECT == "job" else "pods"
    space = cluster.make_namespace()
    made["metadata"].pop("namespace", None)
    made["metadata"].pop("finalizers", None)
    at_home(made, space)
    with Simulation(cluster, space, NODES, held=True) as simulation:
        simulation.kubelet.play = lambda pod: held(simulation.hold)
        names = [f"bare-{n}" for n in range(JOBS)]
        clients = [multiprocessing.get_context("spawn").Process(target=create_bare, args=(cluster.kubeconfig, resource(kind, space), made, names[part::CLIENTS])) for part in range(CLIENTS)]
        for client in clients:
            client.start()
        all_run("bare client", simulation)
        for client in clients:
            client.join()
        side = Side(cluster, space, simulation)
        began = time.time()
        simulation.release()
        until("all have ended", lambda: simulation.kubelet.counts["ended"] >= JOBS, SECONDS)
        if OBJECT == "job":
            until("the Job controller has seen all end", lambda: completed(cluster, space) >= JOBS, SECONDS)
        say("bare client: Kubernetes runners ended", JOBS / (time.time() - began), "/s")
        cluster.api.delete(resource(kind, space), propagationPolicy="Background", gracePeriodSeconds=0)
        until("all are gone", lambda: not cluster.left(space), SECONDS)
    side.say("bare client")
    return side


def at_home(made, name_space):
    """For the nodes of this namespace."""
    spec = made["spec"]["template"]["spec"] if made["kind"] == "Job" else made["spec"]
    spec["nodeSelector"] = {LABEL: name_space}
    spec["tolerations"] = [toleration(name_space)]


async def held(event):
    await event.wait()
    return 0


def completed(cluster, space):
    time.sleep(1)
    return sum(job["status"].get("succeeded", 0) for job in cluster.api.list(resource("jobs", space)))


def all_run(who, simulation, count=None):
    shown = [time.monotonic()]

    def look():
        if time.monotonic() - shown[0] > 15:
            shown[0] = time.monotonic()
            tell(f"{who}: {simulation.kubelet.counts['running']} of {JOBS} run")
        return simulation.kubelet.counts["running"] >= (count or JOBS)
    until(f"{who}: all {JOBS} run", look, SECONDS)


def pipeline(width):
    return "version: 1\ndefaults: {resources: {cpu: 0.5, memory: 256Mi, disk: 256Mi}}\njobs:\n" + "".join(f"  j{n}:\n    run: echo {n}\n" for n in range(width))


class Memory(threading.Thread):
    """The most that the pool's keeper held."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.most, self.over = nodes, 0, threading.Event()

    def run(self):
        while not self.over.wait(1):
            for node in self.nodes:
                pid = node.process.pid()
                if pid:
                    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                        if line.startswith("VmRSS:"):
                            self.most = max(self.most, int(line.split()[1]) / 1024)


class MayflySide:
    def __init__(self, cluster):
        self.cluster, self.space = cluster, cluster.make_namespace()
        self.server = OnKubernetes(cluster, [cluster.pool(self.space, True, JOBS, runner_object=OBJECT, api_qps=1000, api_burst=2000)], copies=1)
        self.server.start()
        self.forge, self.taken = Forge(self.server), []

    def push(self, width, count):
        repo = Repository(self.server.root, f"bench{len(self.taken)}", {".ci.yaml": pipeline(width)})
        self.taken.append(repo)
        self.server.add_project(repo)
        payload = repo.push()
        chance = random.Random(width)

        def send(_):
            return self.forge.outcome(self.forge.send("push", {**payload, "before": "%040x" % chance.getrandbits(160)}))["build_id"]

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return list(pool.map(send, range(count)))

    def one_object(self):
        """What it makes for a job, to be made by the bare client."""
        kind = "jobs" if OBJECT == "job" else "pods"
        with Simulation(self.cluster, self.space, 1, held=True) as simulation:
            build = self.push(1, 1)[0]
            all_run("mayfly", simulation, 1)
            listed = self.cluster.api.list(resource(kind, self.space))[0]
            found = self.cluster.api.get(resource(kind, self.space, listed["metadata"]["name"]))
            simulation.release()
            self.server.finished(build)
            until("it is gone", lambda: not self.cluster.left(self.space), SECONDS)
        return template(found)

    def measure(self):
        memory = Memory(self.server.keepers)
        memory.start()
        with Simulation(self.cluster, self.space, NODES, held=True) as simulation:
            before = set(self.cluster.received(self.space))
            began = time.time()
            builds = self.push(WIDTH, JOBS // WIDTH)
            all_run("mayfly", simulation)
            until("all runners have started", lambda: len(simulation.runners.started) >= JOBS, SECONDS)
            side = Side(self.cluster, self.space, simulation)
            side.received = {name: at for name, at in side.received.items() if name not in before}
            side.say("mayfly")
            say("mayfly: webhooks to all Kubernetes runners started", time.time() - began, "s")
            ending = time.time()
            simulation.release()
            ended = [self.server.finished(build, SECONDS) for build in builds]
            say("mayfly: Kubernetes runners ended", JOBS / (time.time() - ending), "/s")
            until("nothing is left in the cluster", lambda: not self.cluster.left(self.space), SECONDS)
            self.check(ended, simulation, side)
        memory.over.set()
        say("mayfly: the pool's keeper, most resident", memory.most, "MB")
        return side

    @staticmethod
    def check(ended, simulation, side):
        statuses = collections.Counter(job["status"] for build in ended for job in build["jobs"])
        attempts = collections.Counter(job["attempt"] for build in ended for job in build["jobs"])
        twice = [attempt for attempt, times in simulation.runners.started.items() if len(times) > 1]
        say("mayfly: Kubernetes jobs lost", JOBS - statuses["succeeded"], "")
        say("mayfly: Kubernetes jobs doubled", len(twice) + len(side.received) - len(simulation.runners.started), "", note=f"attempts a job {dict(attempts)}")
        for what, count in simulation.runners.counts.items():
            if "refused" in what or "again" in what:
                tell(f"runners {what}: {count}")


def main():
    state = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-bench-"))
    state.chmod(0o755)
    cluster = mayfly = None
    try:
        cluster = AuditedCluster(state)
        mayfly = MayflySide(cluster)
        made = mayfly.one_object()
        floor = bare(cluster, made)
        side = mayfly.measure()
        say(f"Kubernetes {OBJECT}s started, of a bare client's rate", side.rate / floor.rate, "x", note=f"{JOBS} at once: {side.rate:.1f} beside {floor.rate:.1f} a second")
    finally:
        if mayfly:
            mayfly.server.close()
        Kubernetes(state).remove()
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    main()
