"""What the stories of production mode are told with: a whole topology in place of one server, and chaos."""

import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

from installs import Failed, Unavailable  # noqa: E402
from topology import Topology  # noqa: E402
from world import BIN, Problem, Server, until  # noqa: E402

PASSING = {502, 503, 504}   # answers that mean "not now"


class Production(Server):
    """Two processes of every role over PostgreSQL, Kafka, Redis and S3. A client of it asks any gateway, and another when one is away."""

    def __init__(self, slots=4):  # pylint: disable=super-init-not-called
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-e2e-"))
        self.root.chmod(0o755)
        self.data = self.root / "data"
        self.topology = Topology(self.root / "topology", BIN, slots=slots)

    def start(self):
        try:
            self.topology.start_servers()
        except Unavailable as why:
            raise unittest.SkipTest(f"this machine cannot have a server that production mode needs: {why}") from None
        self.topology.start_nodes()
        return self

    def close(self):
        self.topology.down()
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def url(self):
        return random.choice(self.topology.gateways)

    @property
    def token(self):
        return self.topology.token

    def request(self, method, path, body=None, headers=None, raw=False):
        def ask():
            try:
                return (super(Production, self).request(method, path, body, headers, raw),)
            except Problem as problem:
                if problem.status not in PASSING:
                    raise
            except (OSError, http.client.HTTPException):
                pass
            return None
        return until(f"{method} {path} is answered", ask)[0]

    def kill(self):
        self.topology.named(random.choice(list(self.topology.nodes))).stop(signal.SIGKILL)


def start_again(server):
    """On a machine that is busy with everything else a JVM may need more than one try."""
    for tries_left in reversed(range(5)):
        try:
            return server.start()
        except Failed:
            if not tries_left:
                raise


def flush_redis(topology):
    with socket.create_connection(("127.0.0.1", topology.servers["redis"].port()), timeout=5) as redis:
        redis.sendall(b"FLUSHALL\r\n")
        redis.recv(100)


def empty_kafka(topology):
    """Its operator replaced it by a new one: no topics, no offsets."""
    kafka = topology.servers["kafka"]
    kafka.stop(signal.SIGKILL)
    shutil.rmtree(kafka.folder)
    start_again(kafka)


EMPTIED = {"redis": flush_redis, "kafka": empty_kafka}


class Chaos(threading.Thread):
    """Ends one process after the other by kill -9, or holds it for a while, and lets it come back; empties what may be emptied."""

    def __init__(self, topology, seed, pause=2.0):
        super().__init__(daemon=True)
        self.topology, self.chance, self.pause = topology, random.Random(seed), pause
        self.names = [*topology.servers, *topology.nodes]
        self.done, self.over, self.wrong = [], threading.Event(), None

    def run(self):
        try:
            while not self.over.wait(self.chance.uniform(0.5, 1.5) * self.pause):
                self.disturb(self.topology.named(self.chance.choice(self.names)))
        except (Failed, OSError) as why:
            self.wrong = why

    def disturb(self, victim):
        if victim.name in EMPTIED and self.chance.random() < 0.5:
            self.done.append(f"empty {victim.name}")
            EMPTIED[victim.name](self.topology)
            return
        if self.chance.random() < 0.25 and victim.process.pid():
            self.done.append(f"hold {victim.name}")
            os.kill(victim.process.pid(), signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.2, 3))
            os.kill(victim.process.pid(), signal.SIGCONT)
            return
        self.done.append(f"kill {victim.name}")
        victim.stop(signal.SIGKILL)
        time.sleep(self.chance.uniform(0, 1))
        start_again(victim)

    def stop(self):
        self.over.set()
        self.join()
        if self.wrong:
            raise AssertionError(f"the chaos could not go on: {self.wrong}")
