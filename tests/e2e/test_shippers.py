"""Logs brought by shippers that are not ours, in production form: rsyslog by Kafka; syslog-ng, curl and, where somebody has them, Telegraf and
Vector by HTTP. What they bring twice, or lose by being killed, is in the log once."""
import gzip
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from world import BIN, Forge, Problem, Repository, Server, until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))

from installs import Unavailable  # noqa: E402
from shippers import Rsyslog, SyslogNg, Telegraf, Vector  # noqa: E402
from topology import Topology  # noqa: E402

LINES = 4000
# Lines that shippers like to lose: empty ones, other bytes than UTF-8, a very long one, JSON of ours, and a last one without an end.
SPEAK = r"""
version: 1
jobs:
  speak:
    run: |
      printf '\n\nfirst\n\n'
      printf 'bytes \377\376 and a \t tab \r\n'
      head -c 20000 /dev/zero | tr '\0' 'x'; echo
      echo '{"offset":0,"text":"forged"}'
      i=0; while [ $i -lt LINES ]; do i=$((i+1)); echo "line $i"; [ $((i % 400)) -ne 0 ] || sleep PAUSE; done
      printf 'the end'
""".replace("LINES", str(LINES))
PAUSE = 0.4         # seconds, ten times in a job
LONG_PAUSE = 3      # for jobs that go on while a shipper is stopped, killed and started, and chunks grow five seconds old
SAID = b"\n\nfirst\n\nbytes \xff\xfe and a \t tab \r\n" + b"x" * 20000 + b'\n{"offset":0,"text":"forged"}\n' + b"".join(
    b"line %d\n" % i for i in range(1, LINES + 1)) + b"the end"


class LeftToShippers(Topology):
    """Its pools leave their logs in a folder."""

    @property
    def log_files(self):
        return self.state / "log-files"

    def _write_config(self):
        super()._write_config()
        self.log_files.mkdir(exist_ok=True)
        config = json.loads(self.config.read_text(encoding="utf-8"))
        for pool in config["pools"]:
            pool["log_files"] = str(self.log_files)
        self.config.write_text(json.dumps(config), encoding="utf-8")


class Gateway(Server):
    """A server that is there already."""

    def __init__(self, topology):
        self.root = topology.state
        self.data = topology.state / "client"
        self.url = topology.gateways[0]
        self.known_token = topology.token

    @property
    def token(self):
        return self.known_token


class Shippers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.state = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-shippers-"))
        cls.addClassCleanup(shutil.rmtree, cls.state, ignore_errors=True)
        cls.topology = LeftToShippers(cls.state, BIN, copies=1)
        cls.addClassCleanup(cls.topology.down)
        try:
            cls.topology.start_servers()
        except Unavailable as why:
            raise unittest.SkipTest(str(why)) from None
        cls.topology.start_nodes()
        cls.server = Gateway(cls.topology)
        cls.repo = Repository(cls.state, "speaker", {})
        cls.server.add_project(cls.repo)
        cls.shipper_token = cls.server.post("/tokens", {"name": "shipper", "role": "shipper"})["token"]

    def speaks(self, pause=PAUSE):
        """A build whose job speaks now; its id and the job's."""
        self.repo.commit({".ci.yaml": SPEAK.replace("PAUSE", str(pause))}, "again")
        build = Forge(self.server).push(self.repo)
        job = until("the job runs", lambda: (j := self.server.build(build)["jobs"][0])["status"] == "running" and j)
        return build, job["id"]

    def have(self, build, job, size):
        """Bytes of its log arrived while it runs, which its runner does not bring."""
        until(f"{size} bytes of the log are there", lambda: len(self.server.job_log(job)) >= size)
        self.assertEqual(self.server.build(build)["jobs"][0]["status"], "running", "the shipper was slower than the job: nothing is proven")

    def assert_whole(self, build, job):
        self.assertEqual(self.server.finished(build)["status"], "succeeded")
        self.assertEqual(self.server.job_log(job), SAID)

    def shipped(self, shipper):
        """The story of a shipper that is stopped, killed and started again while a job speaks."""
        try:
            shipper.start()
        except Unavailable as why:
            self.skipTest(str(why))
        self.addCleanup(shipper.stop)
        build, job = self.speaks(LONG_PAUSE)
        self.have(build, job, 21_000)
        shipper.stop()
        shipper.start()
        self.have(build, job, len(self.server.job_log(job)) + 1)
        shipper.stop(signal.SIGKILL)
        shipper.start()
        self.assert_whole(build, job)
        until("the pool's keeper has removed what was left for the shipper", lambda: not list(self.topology.log_files.iterdir()))

    def test_rsyslog_brings_a_log_by_kafka(self):
        self.shipped(Rsyslog(self.state / "rsyslog", self.topology.log_files, self.topology.servers["kafka"].url(), "mayfly.logs"))

    def test_syslog_ng_brings_a_log_by_http(self):
        self.shipped(SyslogNg(self.state / "syslog-ng", self.topology.log_files, self.server.url, self.shipper_token))

    def test_telegraf_brings_a_log_by_http(self):
        self.shipped(Telegraf(self.state / "telegraf", self.topology.log_files, self.server.url, self.shipper_token))

    def test_vector_brings_a_log_by_http(self):
        self.shipped(Vector(self.state / "vector", self.topology.log_files, self.server.url, self.shipper_token))

    def test_without_a_shipper_the_runner_brings_the_log_at_its_end(self):
        build, job = self.speaks()
        self.assert_whole(build, job)

    def post(self, body, *headers, token=None):
        """By curl, which can send in chunks; again while the server says that it cannot now, as shippers do."""
        return until("ingest answers", lambda: (answer := self.post_once(body, *headers, token=token))[0] != 503 and answer)

    def post_once(self, body, *headers, token):
        done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "--data-binary", "@-", "-H", f"Authorization: Bearer {token or self.shipper_token}",
                               *(word for header in headers for word in ("-H", header)), self.server.url + "/runner/v1/ingest"], input=body, stdout=subprocess.PIPE, check=True)
        text, _, status = done.stdout.decode().rpartition("\n")
        return int(status), json.loads(text)

    def test_ingest_takes_gzip_in_chunks_and_every_byte_once(self):
        build, job = self.speaks()
        attempt = until("its file has lines", lambda: [file for file in self.topology.log_files.glob("*.jsonl") if file.read_text().count("\n") > 50])[0]
        lines = [json.loads(line) for line in attempt.read_text().splitlines()[:50]]
        records = b"\n".join(json.dumps({"file": str(attempt), "message": json.dumps(line)}).encode() for line in lines)
        for _ in range(2):
            status, answer = self.post(gzip.compress(records), "Content-Encoding: gzip", "Transfer-Encoding: chunked")
            self.assertEqual((status, answer.get("logs"), answer.get("refused")), (200, 1, 0), answer)
        status, answer = self.post(records, token=self.server.post("/tokens", {"name": "reader", "role": "viewer"})["token"])
        self.assertEqual((status, answer["code"]), (403, "forbidden"))
        status, answer = self.post(gzip.compress(b"\n" * (9 << 20)), "Content-Encoding: gzip")
        self.assertEqual(status, 413, "9 MiB of nothing")
        status, answer = self.post(json.dumps({"attempt": "01890a5d-ac96-774b-bcce-b302099a8057", "offset": 0, "text": "nobody's"}).encode())
        self.assertEqual((status, answer["logs"], answer["refused"]), (200, 0, 1))
        self.assert_whole(build, job)
        status, answer = self.post(json.dumps({"file": str(attempt), "offset": len(SAID), "text": " or not"}).encode())
        self.assertEqual((status, answer["refused"]), (200, 1), "the attempt has ended")
        self.assertEqual(self.server.job_log(job), SAID)

    def test_a_shippers_token_may_nothing_else(self):
        with self.assertRaises(Problem) as caught:
            self.server.get("/builds", headers={"Authorization": "Bearer " + self.shipper_token})
        self.assertEqual(caught.exception.status, 403)


if __name__ == "__main__":
    unittest.main()
