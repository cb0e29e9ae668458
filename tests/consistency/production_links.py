"""The production topology (tests/servers/topology.py) with links that can be made to fail: every node has its own to PostgreSQL and Redis, and
where the machine allows, some live in network namespaces of their own."""
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
from topology import Topology  # noqa: E402

import island  # noqa: E402
from faults import FlushAll, Link, Pause, ShutdownNoSave, StopAndStart  # noqa: E402
from proxy import Proxies  # noqa: E402

PROXIED = {"postgres": "MAYFLY_DATABASE", "redis": "MAYFLY_REDIS"}
ISLANDERS = ["gateway-2", "scheduler-1", "builds-1"]
BIN = pathlib.Path(os.environ.get("MAYFLY_BIN", pathlib.Path(__file__).parents[2] / "build/release/bin")).resolve()


class Production:
    def __init__(self, state, slots=4):
        self.topology = Topology(state, BIN, slots=slots)
        self.proxies, self.islands, self.links = Proxies(), {}, {}

    def start(self, say=lambda text: None):
        self.topology.start_servers(say)
        no_islands = island.possible()
        for number, node in enumerate(self.topology.nodes.values(), 1):
            if node.name in ISLANDERS and not no_islands:
                self._settle(node, number)
            else:
                self._proxy(node)
        self.topology.start_nodes(say)
        return self

    def _ports(self):
        return [server.port(name) for server in self.topology.servers.values() for name in server.port_names]

    def _settle(self, node, number):
        settled = island.Island(number, self._ports(), [node.port()], self.proxies)
        self.islands[node.name] = settled
        command = node.command

        def on_the_island():
            words, environment = command()
            return [*settled.enter(), *words], environment

        node.command = on_the_island

    def _proxy(self, node):
        variables = {}
        for name, variable in PROXIED.items():
            server = self.topology.servers[name]
            proxy = self.links[f"{node.name} to {name}"] = self.proxies.add(server.port())
            variables[variable] = server.url().replace(f":{server.port()}", f":{proxy.port}")
        command = node.command

        def through_proxies():
            words, environment = command()
            return words, {**environment, **variables}

        node.command = through_proxies

    def faults(self):
        servers, nodes = self.topology.servers, self.topology.nodes.values()
        redis, postgres, kafka = servers["redis"], servers["postgres"], servers["kafka"]
        return [FlushAll(redis.port()), ShutdownNoSave(redis), Pause("redis", redis.process.pid), StopAndStart(postgres), StopAndStart(kafka),
                *[StopAndStart(node) for node in nodes], *[StopAndStart(node, signal.SIGTERM) for node in nodes],
                *[Pause(node.name, node.process.pid) for node in nodes], *[Link(name, proxy) for name, proxy in self.links.items()],
                *[island.Partition(name, one) for name, one in self.islands.items()]]

    def close(self):
        self.topology.down()
        for one in self.islands.values():
            one.close()
        self.proxies.close()
