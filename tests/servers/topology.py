"""A whole Mayfly of many processes on loopback, over real servers: two of every role, each of which may be killed and started again."""
import json
import os
import pathlib
import secrets
import signal
import urllib.parse
import urllib.request

from kafka import Kafka
from postgres import Postgres
from processes import send, started_at, wait_for
from redis_server import Redis
from s3 import SeaweedFs
from server import Server

ROLES = ["gateway", "builds", "scheduler", "runners", "logs"]
POOLS = ["left", "right"]
SECONDS_TO_DRAIN = 30


class Node(Server):
    """One process of `mayfly serve`."""

    def __init__(self, topology, role, number):
        self.name = f"{role}-{number}"
        self.role = role
        self.topology = topology
        super().__init__(topology.state)

    def command(self):
        environment = dict(os.environ, MAYFLY_NODE=self.name, MAYFLY_DATA_DIR=str(self.folder / "data"))
        return [self.topology.programs / "mayfly", "serve", "--config", self.topology.config, "--roles", self.role,
                "--listen", self.where()], environment

    def where(self):
        return f"{self.topology.host}:{self.port()}"

    def url(self):
        return f"http://{self.where()}"

    def answers(self):
        try:
            with urllib.request.urlopen(self.url() + "/readyz?exclude=bus", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self, how=None):
        """Only the process itself: the runners that it started go on without it."""
        identity = self.process.identity()
        if not self.process.pid():
            return False
        send(*identity, how or self.stop_signal)
        gone = lambda: started_at(identity[0]) != identity[1]
        if not wait_for(gone, SECONDS_TO_DRAIN):
            send(*identity, signal.SIGKILL)
            wait_for(gone, 5)
        self.process.record.unlink(missing_ok=True)
        return True


class Topology:
    """`programs`: a build's bin directory. `state`: everything that is kept, ports and keys included. `pools`: as the configuration has them, in place
    of two of this machine. `host`: an address of this machine where gateways and S3 listen."""

    def __init__(self, state, programs, copies=2, slots=4, pools=None, host="127.0.0.1"):
        self.state = pathlib.Path(state).resolve()
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o755)  # jobs' own user must come through to its pool
        self.programs = pathlib.Path(programs).resolve()
        self.config = self.state / "mayfly.yaml"
        self.slots = slots
        self.pools = pools
        self.host = host
        self.servers = {kind.name: kind(self.state) for kind in (Postgres, Redis, Kafka, SeaweedFs)}
        self.servers["s3"].host = host  # runners bring large files there themselves
        self.nodes = {node.name: node for node in (Node(self, role, n + 1) for role in ROLES for n in range(copies))}

    def of_role(self, role):
        return [node for node in self.nodes.values() if node.role == role]

    @property
    def gateways(self):
        return [node.url() for node in self.of_role("gateway")]

    @property
    def token(self):
        return self._secret("token", lambda: "mft_" + secrets.token_urlsafe(32))

    def named(self, name):
        return self.nodes.get(name) or self.servers[name]

    def start_servers(self, say=lambda text: None):
        for server in self.servers.values():
            seconds = server.start()
            say(f"{server.name:<12} {server.url().rpartition('@')[2]:<32} answered in {seconds:.1f} s")

    def start_nodes(self, say=lambda text: None):
        self._write_config()
        for node in self.nodes.values():
            seconds = node.start()
            say(f"{node.name:<12} {node.url():<32} ready in {seconds:.1f} s")

    def down(self):
        for node in reversed(self.nodes.values()):
            node.remove()
        self._end_runners()
        for server in self.servers.values():
            server.remove()

    def _end_runners(self):
        """Runners outlive their pool's process; what is left over is ended by id."""
        for record in self.state.glob("pools/*/runners/*/process.json"):
            try:
                os.kill(json.loads(record.read_text(encoding="utf-8"))["pid"], signal.SIGKILL)
            except (OSError, ValueError, KeyError):
                pass

    def _secret(self, name, make, binary=False):
        path = self.state / f"{name}.secret"
        if not path.exists():
            path.touch(0o600)
            path.chmod(0o600)
            value = make()
            path.write_bytes(value if binary else value.encode())
        return path if binary else path.read_text(encoding="utf-8").strip()

    def _own_pool(self, name):
        folder = self.state / "pools" / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        return {"name": name, "data_dir": str(folder), "slots": self.slots}

    def _write_config(self):
        s3 = urllib.parse.urlsplit(self.servers["s3"].url())
        self._secret("token", lambda: "mft_" + secrets.token_urlsafe(32))
        self._secret("runner-key", lambda: secrets.token_hex(32))
        sealing = self._secret("sealing-key", lambda: secrets.token_bytes(32), binary=True)
        urls = ",".join(self.gateways)
        config = {
            "public_url": self.gateways[0], "runner_url": urls,
            "database": self.servers["postgres"].url(), "redis": self.servers["redis"].url(),
            "kafka": {"brokers": self.servers["kafka"].url(), "partitions": 4, "replication": 1},
            "s3": {"endpoint": f"http://{s3.hostname}:{s3.port}", "bucket": "mayfly", "access_key": s3.username, "secret_key": s3.password},
            "runner_key_file": str(self.state / "runner-key.secret"), "sealing_key_file": str(sealing),
            "owner_token_file": str(self.state / "token.secret"),
            "pools": self.pools if self.pools is not None else [self._own_pool(name) for name in POOLS],
        }
        self.config.touch(0o600)
        self.config.write_text(json.dumps(config, indent=1), encoding="utf-8")  # JSON is YAML
