"""What the stories are told with: a server of their own, repositories, a forge that signs its webhooks, watchers.

Standard library only. The programs are found in $MAYFLY_BIN (a build's bin directory).
"""

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

BIN = pathlib.Path(os.environ.get("MAYFLY_BIN", pathlib.Path(__file__).parents[2] / "build/release/bin")).resolve()
PATIENCE = float(os.environ.get("MAYFLY_E2E_PATIENCE", "120"))   # seconds for anything to become true
TERMINAL = {"succeeded", "failed", "canceled", "skipped", "cached"}
RANK = {"waiting": 0, "queued": 1, "assigned": 2, "running": 3}   # terminal ones are 4


def until(what, question, patience=None):
    """Asks until the answer is true; returns it."""
    end = time.monotonic() + (patience or PATIENCE)
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"it did not come true within {patience or PATIENCE:.0f} s: {what}")
        time.sleep(0.02)


class Problem(Exception):
    """An error answer of the API."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`mayfly up` in a directory of its own; may be killed and started again."""

    def __init__(self, slots=4, options=()):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-e2e-"))
        self.root.chmod(0o755)
        self.data = self.root / "data"
        self.port = free_port()
        self.slots = slots
        self.options = options
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        with open(self.root / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "mayfly", "up", "--data", self.data, "--listen", f"127.0.0.1:{self.port}", "--slots", str(self.slots), *self.options],
                stdout=log, stderr=log, start_new_session=True)
        until("the server is ready", self.is_ready)
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError("the server ended:\n" + (self.root / "server.log").read_text()[-3000:])
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=2) as r:
                return r.status == 200
        except OSError:
            return False

    def kill(self):
        """kill -9: nothing is said, nothing is saved."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop()
        # Runners outlive the server; what is left over is ended by id.
        for record in self.data.glob("runners/*/process.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def token(self):
        return (self.data / "token").read_text().strip()

    def request(self, method, path, body=None, headers=None, raw=False):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        headers = {"Authorization": "Bearer " + self.token, **(headers or {})}
        who = headers.pop("Authorization")
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        request.add_unredirected_header("Authorization", who)  # a redirect leads to the blob store
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer = response.read()
                return (answer, response) if raw else (json.loads(answer) if answer else None)
        except urllib.error.HTTPError as error:
            text = error.read()
            with contextlib.suppress(ValueError):
                text = json.loads(text)
            raise Problem(error.code, text) from None

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def post(self, path, body=None, **kwargs):
        return self.request("POST", path, body if body is not None else {}, **kwargs)

    def patient_get(self, path):
        """A GET that outlives restarts of the server."""
        def ask():
            try:
                return (self.get(path),)
            except (OSError, http.client.HTTPException):
                return None
        return until("the server answers " + path, ask)[0]

    def add_project(self, repo, secret="s3cret", **extra):
        return self.post("/projects", {"name": repo.name, "repo_url": str(repo.bare), "webhook_secret": secret, **extra})

    def build(self, build_id):
        return self.patient_get("/builds/" + build_id)

    def finished(self, build_id, patience=None):
        return until(f"build {build_id} ends", lambda: (b := self.build(build_id))["status"] in TERMINAL and b, patience)

    def log(self, build):
        return self.get(f"/builds/{build}/logs", raw=True)[0]

    def job_log(self, job):
        return self.get(f"/jobs/{job}/logs", raw=True)[0]

    def cli(self, *arguments, stdin=None, check=True):
        environment = {**os.environ, "MAYFLY_SERVER": self.url, "MAYFLY_DATA": str(self.data)}
        done = subprocess.run([BIN / "mayfly", *arguments], input=stdin, capture_output=True, text=True, env=environment, timeout=PATIENCE)
        if check and done.returncode != 0:
            raise AssertionError(f"mayfly {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done


def git(*arguments, cwd):
    environment = {**os.environ, "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_COMMITTER_NAME": "Ada",
                   "GIT_COMMITTER_EMAIL": "ada@example.com", "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True).stdout.strip()


class Repository:
    """A working copy and the bare repository it is pushed to."""

    def __init__(self, root, name, files):
        self.name = name
        self.work = root / "work" / name
        self.bare = root / "git" / (name + ".git")
        self.work.mkdir(parents=True)
        git("init", "-q", "-b", "main", cwd=self.work)
        git("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=self.work)
        self.before = "0" * 40
        self.commit(files)

    def commit(self, files, message="change"):
        for path, text in files.items():
            target = self.work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        git("add", "-A", cwd=self.work)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=self.work)
        return self.sha

    @property
    def sha(self):
        return git("rev-parse", "HEAD", cwd=self.work)

    def push(self):
        """Pushes main; the payload GitHub would send for it."""
        git("push", "-q", "--force", str(self.bare), "main", cwd=self.work)
        payload = {
            "ref": "refs/heads/main", "before": self.before, "after": self.sha, "created": self.before == "0" * 40, "deleted": False, "forced": False,
            "repository": {"id": 1, "name": self.name, "full_name": "acme/" + self.name, "clone_url": str(self.bare),
                           "html_url": "https://forge.example/acme/" + self.name, "default_branch": "main"},
            "head_commit": {"id": self.sha, "message": git("log", "-1", "--format=%B", cwd=self.work), "author": {"name": "Ada", "email": "ada@example.com"}},
            "pusher": {"name": "ada"}, "sender": {"login": "ada"},
        }
        self.before = self.sha
        return payload


class Forge:
    """Signs and sends webhooks, and sends again until they are acknowledged, as a careful forge would."""

    def __init__(self, server, secret="s3cret"):
        self.server, self.secret = server, secret

    def send(self, event, payload, delivery=None, signature=None):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        good = "sha256=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": delivery or str(uuid.uuid4()), "Content-Type": "application/json",
                   "X-Hub-Signature-256": good if signature is None else signature}
        return self.server.post("/webhooks/github", body, headers=headers)["delivery"]

    def send_until_taken(self, event, payload, delivery):
        def attempt():
            try:
                return self.send(event, payload, delivery)
            except (OSError, http.client.HTTPException):
                return None
        return until("the webhook is acknowledged", attempt)

    def outcome(self, delivery):
        """What became of a delivery."""
        return until("the delivery is processed",
                     lambda: (d := self.server.patient_get("/deliveries/" + delivery))["status"] != "received" and d)

    def push(self, repo):
        """Pushes and waits for the build."""
        outcome = self.outcome(self.send("push", repo.push()))
        assert outcome["build_id"], outcome
        return outcome["build_id"]


class Watcher(threading.Thread):
    """Reads a build again and again and notes every step back: of the sequence, of a job's status, out of a final one."""

    def __init__(self, server, build_id):
        super().__init__(daemon=True)
        self.server, self.build_id = server, build_id
        self.sequence, self.jobs, self.wrong = 0, {}, []
        self.over = threading.Event()

    def look(self, build):
        if build["sequence"] < self.sequence:
            self.wrong.append(f"sequence {self.sequence} → {build['sequence']}")
        self.sequence = build["sequence"]
        for job in build["jobs"]:
            now = (job["attempt"], 4 if job["status"] in TERMINAL else RANK[job["status"]])
            attempt, rank, status = self.jobs.get(job["id"], (0, -1, ""))
            retried = now[0] == attempt and status in ("assigned", "running") and job["status"] == "queued"
            if rank == 4 and job["status"] != status or now < (attempt, rank) and not retried:
                self.wrong.append(f"{job['name']}: {status} (attempt {attempt}) → {job['status']} (attempt {now[0]})")
            self.jobs[job["id"]] = (*now, job["status"])

    def run(self):
        while not self.over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.look(self.server.get("/builds/" + self.build_id))
            time.sleep(0.02)

    def close(self):
        self.over.set()
        self.join()
        return self.wrong


class Tail(threading.Thread):
    """Follows a log by Server-Sent Events, resuming by Last-Event-ID whenever the connection breaks."""

    def __init__(self, server, path):
        super().__init__(daemon=True)
        self.server, self.path = server, path
        self.offset, self.text, self.resumed, self.ended = 0, b"", 0, threading.Event()

    def read_events(self, response):
        event = {"data": []}
        for line in response:
            line = line.rstrip(b"\n")
            if not line:
                if event.get("event") == b"end":
                    self.ended.set()
                    return
                if "id" in event:
                    data = b"\n".join(event["data"])
                    self.text += data
                    self.offset = int(event["id"])
                    assert len(self.text) == self.offset, "an event's id is the offset of the byte after it"
                event = {"data": []}
            elif not line.startswith(b":"):
                name, _, value = line.partition(b":")
                value = value[1:] if value.startswith(b" ") else value
                if name == b"data":
                    event["data"].append(value)
                else:
                    event[name.decode()] = value

    def run(self):
        while not self.ended.is_set():
            try:
                request = urllib.request.Request(self.server.url + self.path, headers={
                    "Authorization": "Bearer " + self.server.token, "Accept": "text/event-stream", "Last-Event-ID": str(self.offset)})
                with urllib.request.urlopen(request, timeout=30) as response:
                    self.read_events(response)
            except (OSError, http.client.HTTPException):
                pass
            if not self.ended.is_set():
                self.resumed += 1
                time.sleep(0.05)
