"""What mayfly-runner says to Mayfly from its pod, for pods without machines: it proves who it is, is given the job, heartbeats, says a line, and ends
with success. `play` of a SimulatedKubelet.

The course is that of domain/runner/protocol.h and domain/runner/pod.h; the log's frame is that of domain/logs/frame.h.
"""
import asyncio
import collections
import contextlib
import json
import struct
import time
import urllib.parse

from async_http import Broken, Client

TOKEN_SECONDS = 600  # the least that Kubernetes gives
HEARTBEAT_SECONDS = 12
PAUSE = 0.3
SECONDS_TO_BE_HEARD = 120
SECOND_RUNNER = 3  # the exit code of a job whose runner was not the first


def castagnoli_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = castagnoli_table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xFFFFFFFF


def frame(text, offset=0):
    return struct.pack("<2sBBHHIIQq", b"MF", 1, 1, 0, 0, len(text), crc32c(text), offset, time.time_ns() // 1000) + text


class SimulatedRunners:
    """The runners of all pods of one kubelet. `hold`: an asyncio.Event that all wait for before they end."""

    def __init__(self, kubelet, width=32, hold=None, say=lambda attempt: f"simulated {attempt}\n"):
        self.kubelet, self.width, self.hold, self.say = kubelet, width, hold, say
        self.clients = {}
        self.counts = collections.Counter()
        self.started = {}                        # attempt → [time.time() of an accepted start]

    def client(self, url):
        parts = urllib.parse.urlsplit(url)
        key = parts.hostname, parts.port
        if key not in self.clients:
            self.clients[key] = Client(parts.hostname, parts.port, width=self.width)
        return self.clients[key]

    async def ask(self, urls, method, path, body, token="", fence=""):
        """The server's last word; what passes is asked again, of another gateway if there is one."""
        headers = f"Authorization: Bearer {token}\r\nMayfly-Fence: {fence}\r\n" if token else ""
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        until = time.monotonic() + SECONDS_TO_BE_HEARD
        turn = 0
        while True:
            try:
                status, said = await self.client(urls[turn % len(urls)]).request(method, path, body, kind, headers)
            except Broken as why:
                status, said = 0, str(why)
            if 0 < status < 500 and status not in (408, 429):
                return status, said
            self.counts[f"asked again after {status}"] += 1
            if time.monotonic() > until:
                raise Broken(f"{path}: {status} {said}")
            turn += 1
            await asyncio.sleep(PAUSE)

    async def identity(self, pod):
        meta, spec = pod["metadata"], pod["spec"]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
            "audiences": ["mayfly"], "expirationSeconds": TOKEN_SECONDS, "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}}}
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{spec['serviceAccountName']}/token"
        status, said = await self.kubelet.client.request("POST", path, body)
        if status != 201:
            raise Broken(f"{path}: {status} {said}")
        return said["status"]["token"]

    async def play(self, pod):
        """The exit code of the job's container."""
        born = runner_file(pod)
        urls, attempt = born["api_url"].split(","), born["attempt"]
        base = f"/runner/v1/attempts/{attempt}"
        runner_id = f"{pod['spec']['nodeName']}/{pod['metadata']['name']}/{pod['metadata']['uid']}"
        status, said = await self.ask(urls, "POST", f"{base}/start", {"identity": await self.identity(pod), "runner_id": runner_id, "isolation": born["isolation"]})
        if status == 409:
            self.counts["refused: another was first"] += 1
            return SECOND_RUNNER
        if status != 200:
            self.counts[f"start refused: {status} {said}"] += 1
            return 1
        self.started.setdefault(attempt, []).append(time.time())
        token, fence = said["attempt_token"], said["fence"]
        beating = asyncio.create_task(self._beat(urls, base, token, fence))
        try:
            text = self.say(attempt).encode()
            await self.ask(urls, "POST", f"{base}/logs", frame(text), token, fence)
            if self.hold:
                await self.hold.wait()
            status, said = await self.ask(urls, "POST", f"{base}/finish", {"outcome": "success", "reason": "", "detail": "", "exit_code": 0, "log_bytes": len(text), "steps": [], "outputs": {}}, token, fence)
        finally:
            beating.cancel()
        self.counts["finished" if status == 200 else f"finish refused: {status} {said}"] += 1
        return 0 if status == 200 else 1

    async def _beat(self, urls, base, token, fence):
        with contextlib.suppress(Broken):
            while True:
                await asyncio.sleep(HEARTBEAT_SECONDS)
                await self.ask(urls, "POST", f"{base}/heartbeat", {"wait_ms": 0}, token, fence)

    def close(self):
        for client in self.clients.values():
            client.close()


def runner_file(pod):
    container = next(c for c in pod["spec"]["initContainers"] if c["name"] == "runner")
    return json.loads(next(entry["value"] for entry in container["env"] if entry["name"] == "MAYFLY_RUNNER_FILE"))
