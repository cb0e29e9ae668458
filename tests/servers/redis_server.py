"""Redis: loopback only, nothing on disk. A kill forgets everything, as Mayfly must expect of a cache at any moment."""
import shutil
import socket

from installs import Unavailable
from server import Server


class Redis(Server):
    name = "redis"
    variable = "MAYFLY_TEST_REDIS"

    def install(self):
        if not shutil.which("redis-server"):
            raise Unavailable("needs Debian's package redis-server: run scripts/install-deps")

    def command(self):
        return ["redis-server", "--port", self.port(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no",
                "--dir", self.folder, "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"], None

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port()), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def url(self):
        return f"redis://127.0.0.1:{self.port()}"
