"""A small client of a Kubernetes API server for tests and for these servers themselves: JSON in, JSON out, one connection a thread."""
import base64
import http.client
import json
import pathlib
import ssl
import tempfile
import threading
import time
import urllib.parse

SECONDS = 30
MERGE = "application/merge-patch+json"


class Refused(Exception):
    """The server said no; `status` is HTTP's and `reason` Kubernetes'."""

    def __init__(self, what, status, said):
        super().__init__(f"{what}: {status} {said.get('message', said)}")
        self.status = status
        self.reason = said.get("reason", "")


def credentials(kubeconfig):
    """host, port and a TLS context that proves who we are, of a kubeconfig as pki.py writes it."""
    known = json.loads(pathlib.Path(kubeconfig).read_text(encoding="utf-8"))
    cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
    url = urllib.parse.urlsplit(cluster["server"])
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pem.flush()
        context.load_cert_chain(pem.name)
    return url.hostname, url.port, context


def resource(kind, namespace="", name="", sub=""):
    """A path: `resource("jobs", "ci", "x")`. Kinds are the plurals of GROUPS, else those of the core."""
    group = GROUPS.get(kind, "api/v1")
    words = [group, *(["namespaces", namespace] if namespace else []), kind, *([name] if name else []), *([sub] if sub else [])]
    return "/" + "/".join(words)


GROUPS = {"jobs": "apis/batch/v1", "leases": "apis/coordination.k8s.io/v1", "runtimeclasses": "apis/node.k8s.io/v1", "networkpolicies": "apis/networking.k8s.io/v1",
          "roles": "apis/rbac.authorization.k8s.io/v1", "rolebindings": "apis/rbac.authorization.k8s.io/v1", "clusterroles": "apis/rbac.authorization.k8s.io/v1",
          "clusterrolebindings": "apis/rbac.authorization.k8s.io/v1", "deployments": "apis/apps/v1", "horizontalpodautoscalers": "apis/autoscaling/v2",
          "priorityclasses": "apis/scheduling.k8s.io/v1"}


class Api:
    def __init__(self, kubeconfig):
        self.host, self.port, self.context = credentials(kubeconfig)
        self.local = threading.local()

    def _connection(self, timeout):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)
        return connection

    def raw(self, method, path, body=None, kind="application/json", timeout=SECONDS):
        """Status and bytes. A connection that the server closed meanwhile is made anew, once."""
        data = json.dumps(body).encode() if body is not None else None
        for again in (True, False):
            connection = self._connection(timeout)
            fresh = connection.sock is None
            try:
                connection.request(method, path, data, {"Content-Type": kind, "Accept": "application/json"})
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                if fresh or not again:
                    raise
        raise AssertionError("unreachable")

    def call(self, method, path, body=None, kind="application/json", timeout=SECONDS):
        status, said = self.raw(method, path, body, kind, timeout)
        try:
            read = json.loads(said) if said else {}
        except ValueError:
            read = {"message": said.decode(errors="replace")}
        if status >= 300:
            raise Refused(f"{method} {path}", status, read)
        return read

    def get(self, path):
        return self.call("GET", path)

    def list(self, path, selector=""):
        return self.get(path + (f"?labelSelector={urllib.parse.quote(selector)}" if selector else ""))["items"]

    def create(self, path, body):
        return self.call("POST", path, body)

    def patch(self, path, body):
        return self.call("PATCH", path, body, MERGE)

    def delete(self, path, **options):
        """True when it was there. Options are those of Kubernetes: gracePeriodSeconds, propagationPolicy, …"""
        try:
            self.call("DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **options})
        except Refused as why:
            if why.status != 404:
                raise
            return False
        return True

    def ready(self):
        try:
            return self.raw("GET", "/readyz", timeout=5)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, path, condition, seconds=SECONDS, every=0.1):
        """The object at a path once it is so; None stands for one that is not there. Raises AssertionError with its last state."""
        until = time.monotonic() + seconds
        while True:
            try:
                found = self.get(path)
            except Refused as why:
                if why.status != 404:
                    raise
                found = None
            if condition(found):
                return found
            if time.monotonic() > until:
                raise AssertionError(f"{path} within {seconds} s: {json.dumps(found and found.get('status'))[:2000]}")
            time.sleep(every)
