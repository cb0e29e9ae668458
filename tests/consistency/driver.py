"""A run: clients at work, faults beside them, then rest and a census. What it leaves is a history for checker.py."""
import pathlib
import sys
import threading
import time

from clients import Api, History, Known, NoAnswer, Reader, Writer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from world import Repository  # noqa: E402

TERMINAL = {"succeeded", "failed", "canceled"}
REST_SECONDS = 180    # for everything to end once no fault is left
SECRET = "s3cret"
PIPELINE = """version: 1
jobs:
  first: {run: "echo first"}
  second: {needs: [first], run: "sleep 0.2; echo second"}
  beside: {run: "sleep 0.1"}
"""


class World:
    """What the clients share. `gateways` are URLs; the token is an owner's; `folder` keeps the repository and the history."""

    def __init__(self, gateways, token, folder, seed, builds=60, writers=3, readers=4, pause=1.0):
        self.api, self.seed, self.pause, self.secret = Api(gateways, token), seed, pause, SECRET
        self.folder = pathlib.Path(folder)
        self.known, self.over, self.settled = Known(), threading.Event(), threading.Event()
        self.path = self.folder / "history.jsonl"
        self.history = History(self.path)
        self._keys, self._lock = [], threading.Lock()
        self.payloads = {}
        self._make_project(builds)
        self.clients = [Writer(f"writer-{n + 1}", self) for n in range(writers)] + [Reader(f"reader-{n + 1}", self) for n in range(readers)]

    def _make_project(self, builds):
        """A repository with a commit a build, and its project."""
        repository = Repository(self.folder, f"consistency-{self.seed}", {".ci.yaml": PIPELINE})
        for n in range(builds):
            before = repository.sha
            key = repository.commit({"n": str(n)}, f"change {n}")
            self._keys.append(key)
            self.payloads[key] = self._payload(repository, before, key)
        repository.push()
        self._keys.reverse()
        status, project = self.api.call(self.api.gateways[0], "POST", "/projects",
                                        f'{{"name": "{repository.name}", "repo_url": "{repository.bare}", "webhook_secret": "{SECRET}"}}'.encode())
        assert status == 201, project
        self.project = project["id"]

    def _payload(self, repository, before, after):
        return {"ref": "refs/heads/main", "before": before, "after": after, "created": False, "deleted": False, "forced": False,
                "repository": {"id": 1, "name": repository.name, "full_name": "acme/" + repository.name, "clone_url": str(repository.bare)},
                "head_commit": {"id": after, "message": "change", "author": {"name": "Ada", "email": "ada@example.com"}},
                "pusher": {"name": "ada"}, "sender": {"login": "ada"}}

    def next_key(self):
        with self._lock:
            return self._keys.pop() if self._keys else None

    def run(self, seconds, nemesis=None):
        """Returns the history. `nemesis` begins and ends faults until it is told to stop, and leaves none behind."""
        for client in self.clients:
            client.start()
        if nemesis:
            nemesis.start()
        try:
            time.sleep(seconds)
        finally:
            if nemesis:
                nemesis.stop()
        self._wait_for_rest()
        self.over.set()
        self.settled.set()
        for client in self.clients:
            client.join(timeout=60)
            if client.failure or client.is_alive():
                raise AssertionError(f"{client.name} has ended badly: {client.failure!r}")
        for gateway in self.api.gateways:
            self._count(gateway)
        self.history.close()
        return self.history.operations

    def builds_at(self, gateway):
        """Every build of the project, page by page."""
        rows, cursor = [], ""
        while True:
            status, page = self.api.call(gateway, "GET", f"/builds?project={self.project}&limit=200{cursor}")
            if status != 200:
                raise NoAnswer(f"{status}")
            rows += page["items"]
            if not page["next"]:
                return rows
            cursor = "&cursor=" + page["next"]

    def _deliveries_wait(self, gateway):
        status, page = self.api.call(gateway, "GET", f"/deliveries?project={self.project}&limit=500")
        return status != 200 or any(row["status"] == "received" for row in page["items"])

    def _wait_for_rest(self):
        """All triggers sent, all webhooks processed, all builds ended. When that does not come the census will say so."""
        end = time.monotonic() + REST_SECONDS
        while time.monotonic() < end:
            try:
                rows = self.builds_at(self.api.gateways[0])
                if not self._keys and all(row["status"] in TERMINAL for row in rows) and not self._deliveries_wait(self.api.gateways[0]):
                    return
            except NoAnswer:
                pass
            time.sleep(0.2)

    def _count(self, gateway):
        began = time.monotonic()
        rows = [{"build": r["id"], "key": r["commit_sha"], "sequence": r["sequence"], "status": r["status"]} for r in self.builds_at(gateway)]
        self.history.add(client="census", op="census", began=began, ended=time.monotonic(), outcome="ok", gateway=gateway, builds=rows)
