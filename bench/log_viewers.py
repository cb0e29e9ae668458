#!/usr/bin/python3
"""What an idle viewer of a live log costs the server: memory and cpu, with almost as many as it takes at once.

    MAYFLY_BIN=build/release/bin bench/log_viewers.py

One job says a line and falls silent; every viewer has read it over SSE and waits for more.
"""
import json
import os
import pathlib
import resource
import selectors
import socket
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
from world import Forge, Repository, Server, until  # noqa: E402

VIEWERS = int(os.environ.get("MAYFLY_BENCH_VIEWERS", "9800"))   # the server takes 10,000 connections
AT_ONCE = 100
IDLE_S = 20
PIPELINE = "version: 1\njobs:\n  quiet:\n    run: echo hello; sleep 600\n"


def say(what, value, unit, note):
    print(json.dumps({"what": what, "value": round(value, 3), "unit": unit, "note": note}), flush=True)


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Viewer:
    def __init__(self, address, request):
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.sendall(request)
        self.seen = b""

    def has_read(self):
        self.seen += self.socket.recv(4096)
        if b"\r\n" in self.seen and not self.seen.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self.seen.decode(errors="replace"))
        return b"data: hello" in self.seen


def open_viewers(address, request):
    viewers = []
    while len(viewers) < VIEWERS:
        waiting = selectors.DefaultSelector()
        for _ in range(min(AT_ONCE, VIEWERS - len(viewers))):
            viewer = Viewer(address, request)
            viewers.append(viewer)
            waiting.register(viewer.socket, selectors.EVENT_READ, viewer)
        while waiting.get_map():
            for key, _ in waiting.select():
                if key.data.has_read():
                    key.data.seen = b""
                    waiting.unregister(key.fileobj)
    return viewers


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))   # the server takes half as many connections
    server = Server(slots=2).start()
    viewers = []
    try:
        repo = Repository(server.root, "quiet", {".ci.yaml": PIPELINE})
        server.add_project(repo)
        forge = Forge(server)
        build = forge.outcome(forge.send("push", repo.push()))["build_id"]
        until("the job speaks", lambda: b"hello" in server.log(build))
        job = server.build(build)["jobs"][0]["id"]
        url = urllib.parse.urlsplit(server.url)
        request = (f"GET /jobs/{job}/logs HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {server.token}\r\n"
                   "Accept: text/event-stream\r\n\r\n").encode()
        pid = server.process.pid
        before = resident(pid)
        viewers = open_viewers((url.hostname, url.port), request)
        time.sleep(2)
        each = (resident(pid) - before) / VIEWERS
        began, used = time.monotonic(), cpu_s(pid)
        time.sleep(IDLE_S)
        share = (cpu_s(pid) - used) / (time.monotonic() - began)
        say("an idle viewer of a live log, resident", each, "B", f"{VIEWERS} at once")
        say("10,000 idle viewers of a live log, cpu", share * 10_000 / VIEWERS * 100, "% of a core", "heartbeats each 15 s, a look each 5 s")
    finally:
        for viewer in viewers:
            viewer.socket.close()
        server.close()


if __name__ == "__main__":
    main()
