#!/usr/bin/python3
"""Measures the shipped programs from outside, each figure beside its floor in the same run; one JSON line a figure.

    MAYFLY_BIN=build/release/bin bench/end_to_end.py [start production burst webhooks logs idle]
"""

import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
from production import Production  # noqa: E402
from world import Forge, Repository, Server, until  # noqa: E402

ROUNDS = int(os.environ.get("MAYFLY_BENCH_ROUNDS", "200"))
WARM_UP = 5   # builds until topics are made and connections opened
STAMP = "version: 1\njobs:\n  a:\n    shell: bash\n    run: echo T=$EPOCHREALTIME\n"
BODY_BYTES = 8192


def say(what, value, unit):
    print(json.dumps({"what": what, "value": round(value, 3), "unit": unit}), flush=True)


def quantile(samples, q):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def bare_sandbox_ms():
    """What a start costs when nothing but bubblewrap is there."""
    samples = []
    command = ["bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-all", "--die-with-parent", "/bin/bash", "-c", "echo T=$EPOCHREALTIME"]
    for _ in range(min(ROUNDS, 100)):
        began = time.time()
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        samples.append((float(out.strip()[2:]) - began) * 1000)
    return samples


def wait_until_ended(server, build):
    while server.build(build)["status"] in ("queued", "running"):
        time.sleep(0.005)


def start_samples(server, rounds):
    """Milliseconds from sending a webhook to the first byte of its build's first step, one build after the other."""
    repo = Repository(server.root, "start", {".ci.yaml": STAMP})
    server.add_project(repo)
    forge, samples = Forge(server), []
    for i in range(rounds):
        repo.commit({"n": str(i)})
        payload = repo.push()
        began = time.time()
        build = forge.outcome(forge.send("push", payload))["build_id"]
        wait_until_ended(server, build)
        line = next(l for l in server.log(build).decode().splitlines() if l.startswith("T="))
        samples.append((float(line[2:]) - began) * 1000)
    return samples


def production():
    """The same across two processes of every role, PostgreSQL, Kafka, Redis and S3."""
    server = Production(slots=8)
    try:
        server.start()
        samples = start_samples(server, WARM_UP + ROUNDS)[WARM_UP:]
        say("webhook to first byte across roles through Kafka p50", quantile(samples, 0.5), "ms")
        say("webhook to first byte across roles through Kafka p99", quantile(samples, 0.99), "ms")
    finally:
        server.close()


def start():
    floor = bare_sandbox_ms()
    server = Server(slots=8).start()
    try:
        samples = start_samples(server, ROUNDS)
        say("webhook to first byte of the first step p50", quantile(samples, 0.5), "ms")
        say("webhook to first byte of the first step p99", quantile(samples, 0.99), "ms")
        say("bare bubblewrap to first byte p50", quantile(floor, 0.5), "ms")
        say("webhook to first byte over a bare sandbox p50", quantile(samples, 0.5) - quantile(floor, 0.5), "ms")
    finally:
        server.close()


def burst():
    server = Server(slots=8).start()
    try:
        repo = Repository(server.root, "burst", {".ci.yaml": "version: 1\njobs:\n  a:\n    run: echo done\n"})
        server.add_project(repo)
        forge = Forge(server)
        payloads = []
        for i in range(ROUNDS):
            repo.commit({"n": str(i)})
            payloads.append(repo.push())
        began = time.time()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda p: forge.send("push", p), payloads))
        until("all builds end", lambda: all_ended(server, ROUNDS), 600)
        ended = [b["end_time"] for b in builds_of(server)]
        last = max(datetime.datetime.fromisoformat(e.replace("Z", "+00:00")).timestamp() for e in ended)
        say(f"{ROUNDS} one-command builds at once on 8 slots", ROUNDS / (last - began), "builds/s")
    finally:
        server.close()


def builds_of(server):
    return server.get("/builds?limit=500")["items"]


def all_ended(server, count):
    builds = builds_of(server)
    time.sleep(0.2)
    return len(builds) == count and all(b["status"] not in ("queued", "running") for b in builds)


def rows_one_by_one():
    """One durable row a transaction, as a server without group commit would write it."""
    with tempfile.TemporaryDirectory(dir=pathlib.Path.home()) as folder:
        db = sqlite3.connect(folder + "/floor.db", isolation_level=None)
        db.execute("pragma journal_mode=wal")
        db.execute("pragma synchronous=full")
        db.execute("create table t (id text primary key, body blob)")
        count, began, body = 0, time.time(), b"x" * BODY_BYTES
        while time.time() - began < 3:
            db.execute("insert into t values (?, ?)", (str(count), body))
            count += 1
        return count / (time.time() - began)


WRK = """
local n = 0
function request()
  n = n + 1
  return wrk.format("POST", "/webhooks/github", {["X-GitHub-Event"] = "push", ["X-GitHub-Delivery"] = "%(name)s-" .. n .. "-" .. math.random(1e9),
    ["X-Hub-Signature-256"] = "%(signature)s", ["Content-Type"] = "application/json", ["Host"] = "localhost"}, io.open("%(body)s"):read("*a"))
end
"""


def webhooks():
    if not shutil.which("wrk"):
        sys.exit("webhooks: wrk is not installed (apt-get install wrk)")
    floor = rows_one_by_one()
    server = Server(slots=1).start()
    try:
        repo = Repository(server.root, "hooks", {"README": "no pipeline here"})
        server.add_project(repo)
        payload = repo.push()
        payload["padding"] = "x" * (BODY_BYTES - len(json.dumps(payload)))
        body = json.dumps(payload).encode()
        (server.root / "body").write_bytes(body)
        signature = "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
        script = server.root / "hook.lua"
        script.write_text(WRK % {"name": "w", "signature": signature, "body": server.root / "body"})
        out = subprocess.run(["wrk", "-t1", "-c64", "-d5s", "--latency", "-s", script, server.url], capture_output=True, text=True, check=True).stdout
        rate = float(next(l for l in out.splitlines() if "Requests/sec" in l).split()[1])
        if "Non-2xx" in out:
            sys.exit("webhooks: some were refused:\n" + out)
        p99 = next(l for l in out.splitlines() if l.strip().startswith("99%")).split()[1]
        p99_ms = float(p99[:-2]) if p99.endswith("ms") else float(p99[:-2]) / 1000 if p99.endswith("us") else float(p99[:-1]) * 1000
        say("webhooks taken, durable, 8 KB", rate, "/s")
        say("webhooks taken p99", p99_ms, "ms")
        say("one row a transaction", floor, "/s")
        say("webhooks over one row a transaction", rate / floor, "x")
    finally:
        server.close()


def logs():
    server = Server(slots=2).start()
    try:
        megabytes = 100
        repo = Repository(server.root, "logs", {".ci.yaml": f"version: 1\njobs:\n  a:\n    run: head -c {megabytes}M /dev/zero | tr '\\0' x | fold -w 99\n"})
        server.add_project(repo)
        build = server.finished(Forge(server).push(repo), 300)
        seconds = (parse(build["jobs"][0]["end_time"]) - parse(build["jobs"][0]["start_time"]))
        say("a job's log, from its process to durable", megabytes / seconds, "MB/s")
        tail_latency(server)
    finally:
        server.close()


def parse(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def tail_latency(server):
    repo = Repository(server.root, "tail", {".ci.yaml": "version: 1\njobs:\n  a:\n    shell: bash\n    run: sleep 0.5; for i in {1..300}; do echo T=$EPOCHREALTIME; sleep 0.01; done\n"})
    server.add_project(repo)
    build = Forge(server).push(repo)
    job = until("it starts", lambda: (j := server.build(build)["jobs"][0])["attempt"] and j["id"])
    request = urllib.request.Request(server.url + f"/jobs/{job}/logs", headers={"Authorization": "Bearer " + server.token, "Accept": "text/event-stream"})
    samples = []
    with urllib.request.urlopen(request, timeout=60) as stream:
        for line in stream:
            now = time.time()
            if line.startswith(b"data: T="):
                samples.append((now - float(line[8:])) * 1000)
            if line.startswith(b"event: end"):
                break
    say("line to viewer p50", quantile(samples, 0.5), "ms")
    say("line to viewer p99", quantile(samples, 0.99), "ms")


def idle():
    server = Server(slots=8).start()
    try:
        time.sleep(1)
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        say("idle server, resident", int(next(l for l in status.splitlines() if l.startswith("VmRSS")).split()[1]) / 1024, "MB")
    finally:
        server.close()


if __name__ == "__main__":
    ALL = {"start": start, "production": production, "burst": burst, "webhooks": webhooks, "logs": logs, "idle": idle}
    for name in sys.argv[1:] or ALL:
        ALL[name]()
