"""A server whose jobs are containers of the test engine (MAYFLY_TEST_DOCKER), and that engine: asked, killed, started."""

import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import unittest
import urllib.parse

from world import Server, until

IMAGE = "local/debian:1"
SERVERS = pathlib.Path(__file__).parents[2] / "scripts/servers"
MISSING = "no Docker engine: scripts/servers up docker, then eval \"$(scripts/servers env)\""


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    def __init__(self):
        where = os.environ.get("MAYFLY_TEST_DOCKER")
        if not where:
            raise unittest.SkipTest(MISSING)
        self.socket = where.removeprefix("unix://")

    def ask(self, method, target):
        connection = Connection(self.socket)
        try:
            connection.request(method, "/v1.41" + target)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status >= 400:
                raise AssertionError(f"{method} {target}: {answer.status} {body!r}")
            return json.loads(body) if body else None
        finally:
            connection.close()

    def containers(self, *labels):
        wanted = urllib.parse.quote(json.dumps({"label": list(labels)}))
        return self.ask("GET", f"/containers/json?all=1&filters={wanted}")

    def has_runtime(self, name):
        return name in self.ask("GET", "/info")["Runtimes"]

    def servers(self, verb):
        """scripts/servers, told where this engine's state is (tests/servers/network.py keeps that beside its socket)."""
        state = pathlib.Path(self.socket).parent / "state"
        if not state.exists():
            raise unittest.SkipTest("the engine is not one of scripts/servers, so the test does not kill it")
        subprocess.run([sys.executable, SERVERS, "--dir", state.read_text(), verb, "docker"], check=True, stdout=subprocess.DEVNULL, timeout=120)

    def kill(self):
        self.servers("kill")

    def start(self):
        self.servers("start")


class DockerServer(Server):
    def __init__(self, engine, *options, slots=4):
        super().__init__(slots=slots, options=(f"--docker=unix://{engine.socket}", "--docker-image", IMAGE, *options))
        self.engine = engine

    def containers(self):
        """Those that belong to this server's pool."""
        return self.engine.containers(f"mayfly.dev/home={self.data}", "mayfly.dev/pool=local")

    def runners(self):
        """attempt → process of the runners on record."""
        out = {}
        for record in self.data.glob("runners/*/process.json"):
            try:
                out[record.parent.name] = json.loads(record.read_text())["pid"]
            except (OSError, ValueError, KeyError):
                pass
        return out

    def nothing_is_left(self):
        until("no container is left on the engine", lambda: self.containers() == [])
        until("no runner is left on record", lambda: not list(self.data.glob("runners/*")))
