"""Clients that write and read through whatever gateway they hit upon, and note all they did and saw. See checker.py for what a history is."""
import contextlib
import hashlib
import hmac
import http.client
import json
import random
import threading
import time
import urllib.parse
import uuid

ANSWER_SECONDS = 5     # then the outcome of a call is unknown
QUIET_SECONDS = 20     # of a stream, which says something every 15 s
CERTAINLY_NOT = {400, 401, 403, 404, 409, 413, 422, 429}


class History:
    """Operations, in the order they ended; also on disk as they come, so that a run that dies leaves what it knew."""

    def __init__(self, path):
        self.operations = []
        self._lock = threading.Lock()
        self._file = open(path, "w", encoding="utf-8")

    def add(self, **operation):
        with self._lock:
            self.operations.append(operation)
            self._file.write(json.dumps(operation) + "\n")

    def close(self):
        self._file.close()


class Known:
    """The builds that somebody has heard of: what there is to read."""

    def __init__(self):
        self._builds, self._lock = {}, threading.Lock()

    def add(self, build):
        with self._lock:
            self._builds[build] = True

    def any(self, chance, newest=20):
        with self._lock:
            builds = sorted(self._builds)
        if not builds:
            return None
        return chance.choice(builds[-newest:] if chance.random() < 0.8 else builds)


class NoAnswer(Exception):
    """It is unknown whether the call happened."""


class Api:
    def __init__(self, gateways, token):
        self.gateways, self.token = gateways, token

    def connection(self, gateway, seconds):
        where = urllib.parse.urlsplit(gateway)
        return http.client.HTTPConnection(where.hostname, where.port, timeout=seconds)

    def call(self, gateway, method, path, body=None, headers=None):
        """Status and JSON."""
        with contextlib.closing(self.connection(gateway, ANSWER_SECONDS)) as connection:
            try:
                connection.request(method, path, body=body, headers={"Authorization": "Bearer " + self.token, **(headers or {})})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as why:
                raise NoAnswer(str(why)) from None
        try:
            return answer.status, json.loads(text) if text else None
        except ValueError:
            raise NoAnswer("the answer is cut off") from None


class Client(threading.Thread):
    """One session: it does one thing at a time, from its own seed, until `over`."""

    def __init__(self, name, world):
        super().__init__(name=name, daemon=True)
        self.world, self.api = world, world.api
        self.chance = random.Random(f"{world.seed} {name}")
        self.failure = None

    def run(self):
        try:
            while not self.world.over.is_set():
                self.step()
                self.world.over.wait(self.chance.uniform(0, 0.05))
        except Exception as why:  # a thread's end must not pass for a quiet one
            self.failure = why

    def gateway(self):
        return self.chance.choice(self.api.gateways)

    def note(self, op, began, outcome, gateway, **more):
        self.world.history.add(client=self.name, op=op, began=began, ended=time.monotonic(), outcome=outcome, gateway=gateway, **more)

    def attempt(self, op, method, path, body=None, headers=None, **more):
        """A write, noted with what is known of it; its answer, or None."""
        gateway, began = self.gateway(), time.monotonic()
        try:
            status, answer = self.api.call(gateway, method, path, body, headers)
        except NoAnswer:
            return self.note(op, began, "unknown", gateway, **more)
        if status >= 300:
            return self.note(op, began, "fail" if status in CERTAINLY_NOT else "unknown", gateway, status=status, **more)
        answer = answer or {}
        self.note(op, began, "ok", gateway, **{"build": answer.get("id") or answer.get("build"), "sequence": answer.get("sequence"), **more})
        return answer

    def read(self, build):
        gateway, began = self.gateway(), time.monotonic()
        try:
            status, answer = self.api.call(gateway, "GET", "/builds/" + build)
        except NoAnswer:
            return self.note("read", began, "fail", gateway, build=build)
        if status == 404:
            return self.note("read", began, "ok", gateway, build=build, missing=True)
        if status != 200:
            return self.note("read", began, "fail", gateway, build=build, status_code=status)
        jobs = {job["id"]: [job["status"], job["attempt"]] for job in answer["jobs"]}
        self.note("read", began, "ok", gateway, build=build, sequence=answer["sequence"], status=answer["status"], jobs=jobs)

    def list(self):
        gateway, began = self.gateway(), time.monotonic()
        try:
            status, answer = self.api.call(gateway, "GET", f"/builds?project={self.world.project}&limit=20")
        except NoAnswer:
            return
        for row in answer["items"] if status == 200 else []:
            self.world.known.add(row["id"])
            self.note("list", began, "ok", gateway, build=row["id"], sequence=row["sequence"], status=row["status"])


class Writer(Client):
    """Pushes, triggers and cancels, and looks at what it has done."""

    own = None

    def step(self):
        key = self.world.next_key()
        if key is None:
            return self.read_own() or self.world.over.wait(0.2)
        if self.chance.random() < 0.6:
            self.push(key)
        else:
            self.trigger(key)
        for _ in range(self.chance.randrange(4)):
            self.read_own()
        if self.own and self.chance.random() < 0.25:
            self.cancel()
            self.read_own()
        self.world.over.wait(self.chance.uniform(0, self.world.pause))

    def push(self, key):
        """As a careful forge: the same delivery again until it is acknowledged."""
        body = json.dumps(self.world.payloads[key]).encode()
        signature = "sha256=" + hmac.new(self.world.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-GitHub-Event": "push", "X-GitHub-Delivery": str(uuid.UUID(int=self.chance.getrandbits(128))), "X-Hub-Signature-256": signature,
                   "Content-Type": "application/json"}
        while self.attempt("trigger", "POST", "/webhooks/github", body, headers, key=key) is None and not self.world.settled.is_set():
            time.sleep(self.chance.uniform(0, 0.5))

    def trigger(self, key):
        """Not repeatable, so never repeated."""
        answer = self.attempt("trigger", "POST", f"/projects/{self.world.project}/builds", json.dumps({"ref": "main", "sha": key}).encode(), key=key)
        if answer:
            self.own = answer["id"]
            self.world.known.add(self.own)

    def cancel(self):
        self.attempt("cancel", "POST", f"/builds/{self.own}/cancel", b"", build=self.own)

    def read_own(self):
        if self.own:
            self.read(self.own)


class Reader(Client):
    """Reads and lists builds, and follows some by their events from gateway to gateway."""

    streams = 0

    def step(self):
        build = self.world.known.any(self.chance)
        what = self.chance.random()
        if build is None or what < 0.2:
            self.list()
        elif what < 0.9:
            for _ in range(self.chance.randrange(1, 4)):
                self.read(build)
        else:
            self.follow(build)

    def follow(self, build):
        self.streams += 1
        stream, last = f"{self.name}-{self.streams}", ""
        for _ in range(self.chance.randrange(1, 6)):
            if self.world.over.is_set():
                return
            last, ended = self.listen(build, stream, last)
            if ended:
                return

    def listen(self, build, stream, last):
        """One connection, left after some events; the last id, and whether the stream said that it ends."""
        gateway, until = self.gateway(), time.monotonic() + self.chance.uniform(0.1, 6)
        with contextlib.closing(self.api.connection(gateway, QUIET_SECONDS)) as connection:
            try:
                connection.request("GET", f"/builds/{build}/events", headers={"Authorization": "Bearer " + self.api.token, "Last-Event-ID": last})
                answer = connection.getresponse()
                if answer.status != 200:
                    return last, False
                for event in read_events(answer):
                    last = event.get("id") or last
                    self.note_event(build, stream, gateway, event)
                    if event.get("event") == "end":
                        return last, True
                    if time.monotonic() > until or self.world.over.is_set():
                        return last, False
            except (OSError, http.client.HTTPException):
                pass
        return last, False

    def note_event(self, build, stream, gateway, event):
        kind, body = event.get("event", "message"), json.loads(event["data"])
        more = {"id": [int(n) for n in event["id"].split(".")]} if event.get("id") else {}
        if kind == "build":
            more["status"] = body["status"]
        elif kind in ("job", "step"):
            more |= {"job": body["id"], "status": body["status"], "attempt": body["attempt"]}
        self.note("event", time.monotonic(), "ok", gateway, build=build, stream=stream, kind=kind, **more)


def read_events(lines):
    """Server-Sent Events; one that is cut off is none."""
    event, data = {}, []
    for line in lines:
        line = line.decode().rstrip("\n")
        if not line:
            if data:
                yield {**event, "data": "\n".join(data)}
            event, data = {}, []
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            else:
                event[name] = value
