"""Kubelets of as many nodes as a test wants, in one asyncio program: they renew leases, take the pods the real scheduler binds to them, and tell
the real API server what would have become of those. No container runs; beside ends of every kind they can play a pod's runner against Mayfly (play).

What becomes of a pod is its Course. A test says so by a function of the pod, or the job's image does, as words between dots:
`simulated/exit-3.pull-200.run-500:1` is pulled for 200 ms, runs for 500 ms and ends with 3. Words: pull-MS run-MS exit-N oom evicted pull-fails stuck.
Its nodes carry the label `mayfly.dev/node=simulated` (or another name, which theirs begin with) and the taint of the same name, so that only pods that
ask for it come.

    simulated_kubelet.py --kubeconfig FILE [--nodes N] [--name NAME]      until SIGTERM; then its nodes are deleted
"""
import argparse
import asyncio
import collections
import contextlib
import dataclasses
import datetime
import json
import re
import signal
import time
import urllib.parse

from async_http import Broken, Client
from kubernetes_api import MERGE, credentials

LABEL = "mayfly.dev/node"
VALUE = "simulated"
SECONDS_BETWEEN_LEASES = 5
LEASE_SECONDS = 40
PAUSE = 0.2  # before what failed is tried again
CAPACITY = {"cpu": "256", "memory": "256Gi", "pods": "250", "ephemeral-storage": "1000Gi"}
GONE = 410


@dataclasses.dataclass
class Course:
    """What becomes of a pod. `ends`: exit, oom, evicted, pull-fails (it waits for ever), stuck (it runs until it is deleted)."""
    pull: float = 0.0
    run: float = 0.02
    exit_code: int = 0
    ends: str = "exit"
    play: bool = False  # what runs is the runner: it ends when that has

    @staticmethod
    def of_image(image):
        course = Course()
        name = image.rpartition("/")[2].partition(":")[0]
        if not re.search(r"(^|/)simulated/[^/]*$", image.partition("@")[0]):
            return course
        for word in name.split("."):
            key, _, number = word.partition("-")
            if key == "pull" and number.isdigit():
                course.pull = int(number) / 1000
            elif key == "run" and number.isdigit():
                course.run = int(number) / 1000
            elif key == "exit" and number.isdigit():
                course.exit_code = int(number)
            elif word in ("oom", "evicted", "pull-fails", "stuck"):
                course.ends = word
        return course


def toleration(name=VALUE):
    """What a pod must have to come to nodes of this name."""
    return {"key": LABEL, "operator": "Equal", "value": name, "effect": "NoSchedule"}


def job_container(pod):
    return next((c for c in pod["spec"]["containers"] if c["name"] == "job"), pod["spec"]["containers"][0])


def course_of(pod):
    return Course.of_image(job_container(pod)["image"])


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def second():
    return now()[:19] + "Z"


def ended(code, reason):
    at = second()
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": at, "finishedAt": at, "containerID": "simulated://0"}}


def statuses(containers, state, ready=False):
    return [{"name": c["name"], "image": c["image"], "imageID": "simulated", "containerID": "simulated://0", "ready": ready, "started": "running" in state, "restartCount": 0, "state": state}
            for c in containers]


def is_sidecar(container):
    return container.get("restartPolicy") == "Always"


def status(pod, phase, job, sidecars, **more):
    """A pod's status: what the job's containers are in, and the sidecars; init containers have succeeded."""
    spec = pod["spec"]
    running = phase == "Running"
    conditions = [{"type": kind, "status": "True" if yes else "False", "lastTransitionTime": second()}
                  for kind, yes in {"PodScheduled": True, "Initialized": phase != "Pending", "ContainersReady": running, "Ready": running}.items()]
    inits = [entry for c in spec.get("initContainers", [])
             for entry in statuses([c], sidecars if is_sidecar(c) else ended(0, "Completed"), running and is_sidecar(c))]
    return {"status": {"phase": phase, "conditions": conditions + more.pop("conditions", []), "hostIP": "10.0.0.1", "podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}],
                       "startTime": pod.get("status", {}).get("startTime") or second(), "initContainerStatuses": inits,
                       "containerStatuses": statuses(spec["containers"], job, running), **more}}


class SimulatedKubelet:
    """`course(pod)`: what becomes of it. `play(pod)`, a coroutine: the runner of a pod whose course says so; its answer is the exit code."""

    def __init__(self, kubeconfig, nodes=1, name=VALUE, course=course_of, play=None, width=48, lease_every=SECONDS_BETWEEN_LEASES):
        host, port, tls = credentials(kubeconfig)
        self.client = Client(host, port, tls, width)
        self.leases = Client(host, port, tls, 8)
        self.name, self.nodes = name, [f"{name}-{n}" for n in range(nodes)]
        self.known = frozenset(self.nodes)
        self.course, self.play, self.lease_every = course, play, lease_every
        self.lost = set()
        self.pods = {}                                # uid → pod, bound to a node of ours
        self.courses = {}                             # uid → task
        self.counts = collections.Counter()
        self.started_at = {}                          # (namespace, name) → time.time() of its container's start
        self.runners = []

    # The world calls these.

    async def start(self):
        """Returns when the nodes are there. Its work goes on until stop()."""
        await asyncio.gather(*(self._register(node) for node in self.nodes))
        self.runners = [asyncio.create_task(self._renew()), asyncio.create_task(self._follow())]

    async def stop(self):
        """Ends its work and takes the nodes out of the cluster."""
        for task in [*self.runners, *self.courses.values()]:
            task.cancel()
        await asyncio.gather(*self.runners, *self.courses.values(), return_exceptions=True)
        for node in self.nodes:
            with contextlib.suppress(Broken):
                await self.client.request("DELETE", f"/api/v1/nodes/{node}")
        self.client.close()
        self.leases.close()

    def lose(self, node):
        """From now on it says nothing and its pods get no further; the control plane notices by itself."""
        self.lost.add(node)
        for uid, pod in self.pods.items():
            if pod["spec"]["nodeName"] == node:
                self._cancel(uid)

    def find(self, node):
        """It is back, with none of its pods."""
        self.lost.discard(node)
        for uid in [uid for uid, pod in self.pods.items() if pod["spec"]["nodeName"] == node]:
            self.courses[uid] = asyncio.create_task(self._terminate(self.pods[uid], 137, "Error"))

    async def evict(self, namespace, name):
        for uid, pod in self.pods.items():
            if (pod["metadata"]["namespace"], pod["metadata"]["name"]) == (namespace, name):
                self._cancel(uid)
                await self._evict(pod)

    async def clone(self, namespace, name):
        """A second pod of the same Job or attempt, as a cluster may make one when it has lost sight of the first. Its name."""
        _, pod = await self.client.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        meta, spec = pod["metadata"], dict(pod["spec"])
        spec.pop("nodeName", None)
        again = f"{name[:240]}-again"
        kept = {key: meta[key] for key in ("labels", "annotations", "ownerReferences", "finalizers") if key in meta}
        code, said = await self.client.request("POST", f"/api/v1/namespaces/{namespace}/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": again, **kept}, "spec": spec})
        if code != 201:
            raise Broken(f"a second pod of {name}: {code} {said}")
        return again

    # Nodes.

    async def _register(self, name):
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": second(), "lastTransitionTime": second()}]
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {LABEL: self.name, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
                "spec": {"taints": [{"key": LABEL, "value": self.name, "effect": "NoSchedule"}]},
                "status": {"capacity": CAPACITY, "allocatable": CAPACITY, "conditions": conditions, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                           "nodeInfo": {"architecture": "amd64", "bootID": "", "containerRuntimeVersion": "simulated://1", "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "v1.35.4",
                                        "machineID": "", "operatingSystem": "linux", "osImage": "simulated", "systemUUID": ""}}}
        code, said = await self.client.request("POST", "/api/v1/nodes", node)
        if code == 409:
            code, said = await self.client.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": node["status"]}, MERGE)
        if code >= 300:
            raise Broken(f"node {name}: {code} {said}")
        await self._lease(name)

    async def _lease(self, node):
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": node, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now()}
        code, said = await self.leases.request("PATCH", f"{path}/{node}", {"spec": spec}, MERGE)
        if code == 404:
            code, said = await self.leases.request("POST", path, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node}, "spec": spec})
        if code >= 300:
            self.counts["leases refused"] += 1

    async def _renew(self):
        while True:
            began = time.monotonic()
            for node in self.nodes:
                if node not in self.lost:
                    with contextlib.suppress(Broken):
                        await self._lease(node)
            await asyncio.sleep(max(0.1, self.lease_every - (time.monotonic() - began)))

    # Pods.

    async def _follow(self):
        version = ""
        while True:
            try:
                version = version or await self._list()
                version = await self._watch(version)
            except (Broken, OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
                self.counts["watches broken"] += 1
                await asyncio.sleep(PAUSE)

    async def _list(self):
        there, version, more = set(), "", ""
        while True:
            code, said = await self.client.request("GET", f"/api/v1/pods?fieldSelector={urllib.parse.quote('spec.nodeName!=')}&limit=500&continue={urllib.parse.quote(more)}")
            if code != 200:
                raise Broken(f"pods: {code}")
            for pod in said["items"]:
                there.add(pod["metadata"]["uid"])
                self._see(pod)
            version, more = said["metadata"]["resourceVersion"], said["metadata"].get("continue", "")
            if not more:
                break
        for uid in self.pods.keys() - there:
            self._forget(uid)
        return version

    async def _watch(self, version):
        """The version to go on from; empty: all has to be listed again."""
        path = f"/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion={version}&fieldSelector={urllib.parse.quote('spec.nodeName!=')}"
        async with self.client.lines(path) as (code, lines):
            if code == GONE:
                return ""
            if code != 200:
                raise Broken(f"watch: {code}")
            async for line in lines:
                event = json.loads(line)
                kind, pod = event["type"], event["object"]
                if kind == "ERROR":
                    return ""
                version = pod["metadata"]["resourceVersion"]
                if kind == "DELETED":
                    self._forget(pod["metadata"]["uid"])
                elif kind != "BOOKMARK":
                    self._see(pod)
        return version

    def _see(self, pod):
        node, uid = pod["spec"].get("nodeName"), pod["metadata"]["uid"]
        if node not in self.known or node in self.lost:
            return
        before = self.pods.get(uid)
        self.pods[uid] = pod
        if pod["metadata"].get("deletionTimestamp"):
            if before is None or not before["metadata"].get("deletionTimestamp"):
                self._cancel(uid)
                self.courses[uid] = asyncio.create_task(self._terminate(pod, 143, "Error"))
        elif before is None and pod.get("status", {}).get("phase", "Pending") == "Pending":
            self.counts["seen"] += 1
            self.courses[uid] = asyncio.create_task(self._run(pod))

    def _forget(self, uid):
        self._cancel(uid)
        self.pods.pop(uid, None)

    def _cancel(self, uid):
        task = self.courses.pop(uid, None)
        if task:
            task.cancel()

    async def _tell(self, pod, what):
        """The status to the API server, until it takes it or the pod is gone."""
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
        what["metadata"] = {"uid": pod["metadata"]["uid"]}
        while True:
            try:
                code, said = await self.client.request("PATCH", path, what, MERGE)
            except Broken:
                code = 0
            if code == 200:
                return True
            if code in (404, 409, 422):
                return False
            self.counts["told again"] += 1
            await asyncio.sleep(PAUSE)

    async def _run(self, pod):
        course = self.course(pod)
        if course.pull:
            await self._tell(pod, status(pod, "Pending", {"waiting": {"reason": "ContainerCreating"}}, {"waiting": {"reason": "PodInitializing"}}))
            await asyncio.sleep(course.pull)
        if course.ends == "pull-fails":
            return await self._fail_pull(pod)
        running = {"running": {"startedAt": second()}}
        if not await self._tell(pod, status(pod, "Running", running, running)):
            return
        self.started_at[pod["metadata"]["namespace"], pod["metadata"]["name"]] = time.time()
        self.counts["running"] += 1
        deadline = pod["spec"].get("activeDeadlineSeconds")
        try:
            async with asyncio.timeout(deadline):
                code = await self._work(pod, course)
        except asyncio.TimeoutError:
            await self._tell(pod, status(pod, "Failed", ended(137, "Error"), ended(0, "Completed"), reason="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline"))
            return
        if course.ends == "evicted":
            await self._evict(pod)
        elif course.ends == "oom":
            await self._tell(pod, status(pod, "Failed", ended(137, "OOMKilled"), ended(0, "Completed")))
        else:
            await self._tell(pod, status(pod, "Succeeded" if code == 0 else "Failed", ended(code, "Completed" if code == 0 else "Error"), ended(0, "Completed")))
        self.counts["ended"] += 1

    async def _work(self, pod, course):
        if course.play and self.play:
            return await self.play(pod)
        if course.ends == "stuck":
            await asyncio.Event().wait()
        await asyncio.sleep(course.run)
        return course.exit_code

    async def _fail_pull(self, pod):
        image = job_container(pod)["image"]
        for reason in ["ErrImagePull", "ImagePullBackOff"]:
            waiting = {"waiting": {"reason": reason, "message": f'Back-off pulling image "{image}": not found'}}
            await self._tell(pod, status(pod, "Pending", waiting, {"running": {"startedAt": second()}}))
            await asyncio.sleep(0.2)
        await asyncio.Event().wait()

    async def _evict(self, pod):
        why = "The node was low on resource: memory."
        await self._tell(pod, status(pod, "Failed", ended(137, "Error"), ended(0, "Completed"), reason="Evicted", message=why, conditions=[
            {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": why, "lastTransitionTime": second()}]))

    async def _terminate(self, pod, code, reason):
        """A pod somebody deleted: its containers end, and then it may go."""
        phase = pod.get("status", {}).get("phase")
        if phase not in ("Succeeded", "Failed"):
            await self._tell(pod, status(pod, "Failed", ended(code, reason), ended(0, "Completed")))
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        while True:
            with contextlib.suppress(Broken):
                done, _ = await self.client.request("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}})
                if done in (200, 404, 409):
                    return
            await asyncio.sleep(PAUSE)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--name", default=VALUE)
    options = parser.parse_args()
    end = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, end.set)
    kubelet = SimulatedKubelet(options.kubeconfig, options.nodes, options.name)
    await kubelet.start()
    print(f"{options.nodes} nodes", flush=True)
    await end.wait()
    await kubelet.stop()


if __name__ == "__main__":
    asyncio.run(main())
