"""A Kubernetes control plane: etcd, API server, controller manager and scheduler, in a network namespace that this machine reaches by its address.

One program of ours (kubernetes/main.go) links them all from their modules; building it takes ten minutes of two processors, once. There are no nodes
in it: kubenode.py brings a real one, simulated_kubelet.py as many as a test wants. A node that falls silent is noticed in SECONDS_OF_SILENCE and
its pods are gone a few seconds later, where a cluster of the world waits for minutes.
"""
import json
import subprocess

import go
from installs import FOLDER, installed, recipe_key, run
from kubernetes_api import Api
from parts import Parts
from pki import Authority

VERSION = "1.35.4"
RECIPE = FOLDER / "kubernetes"
PARTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
OLDEST_GO = (1, 26)
PORT = 6443
ETCD = "http://127.0.0.1:2379"
ETCD_PEERS = "http://127.0.0.1:2380"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
ISSUER = "https://kubernetes.default.svc"
AUDIT = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "Metadata", "verbs": ["create"], "resources": [{"group": "batch", "resources": ["jobs"]}, {"group": "", "resources": ["pods"]}]}, {"level": "None"}]}
SECONDS_OF_SILENCE = 20  # after which a node is lost
SECONDS_OF_TOLERANCE = 5  # that a pod stays on a lost node


def build(folder, log):
    environment = go.environment(oldest=OLDEST_GO)
    environment["GOFLAGS"] += " -mod=readonly"
    words = {"k8s.io/component-base/version": {"gitVersion": f"v{VERSION}", "gitMajor": "1", "gitMinor": VERSION.split(".")[1], "gitTreeState": "clean"},
             "k8s.io/client-go/pkg/version": {"gitVersion": f"v{VERSION}"}}
    flags = " ".join(["-s -w", *(f"-X {package}.{name}={value}" for package, values in words.items() for name, value in values.items())])
    what = f"kubernetes {VERSION}"
    run(["go", "mod", "download"], what, RECIPE, log, environment)
    total = len(subprocess.run(["go", "list", "-deps", "."], cwd=RECIPE, env=environment, stdout=subprocess.PIPE, check=True).stdout.splitlines())
    done = lambda: sum(1 for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if " " not in line)
    compiled = lambda: f"{done()} of at most {total} packages"
    run(["go", "build", "-v", f"-ldflags={flags}", "-o", folder / "kubernetes", "."], what, RECIPE, log, environment, compiled)
    for part in [*PARTS, "kubelet", "kubectl"]:
        (folder / part).symlink_to("kubernetes")


def programs():
    return installed("kubernetes", VERSION, recipe_key(RECIPE / "main.go", RECIPE / "go.mod", RECIPE / "go.sum"), build)


class Kubernetes(Parts):
    name = "kubernetes"
    variable = "MAYFLY_TEST_KUBERNETES"
    audited = False  # whether the API server notes who made Jobs and Pods, and when

    def install(self):
        self.network.may_exist()
        self.programs = programs()

    def names(self):
        return PARTS

    def recover(self):
        self.network.join(self.member)

    def address(self):
        return self.network.address(self.member)

    def where(self):
        return f"{self.address()}:{PORT}"

    @property
    def authority(self):
        return Authority(self.folder / "pki")

    def prepare(self):
        authority, server = self.authority, f"https://{self.where()}"
        authority.make()
        authority.key("accounts")
        authority.certify("apiserver", "/CN=kube-apiserver", ["127.0.0.1", self.address(), FIRST_SERVICE], ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"])
        authority.certify("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        for name, subject in {"admin": "/O=system:masters/CN=admin", "controllers": "/CN=system:kube-controller-manager", "scheduler": "/CN=system:kube-scheduler"}.items():
            authority.certify(name, subject)
            authority.kubeconfig(name, server)

    def kubeconfig(self):
        return self.authority.file("admin.kubeconfig")

    def url(self):
        return str(self.kubeconfig())

    def api(self):
        return Api(self.kubeconfig())

    def answers(self):
        return self.api().ready()

    def parts(self):
        api, healthy = self.api(), self._healthy
        return {"etcd": (self._etcd(), lambda: healthy(f"{ETCD}/health")), "kube-apiserver": (self._apiserver(), api.ready),
                "kube-controller-manager": (self._controllers(), lambda: healthy("https://127.0.0.1:10257/healthz") and account_made(api)),
                "kube-scheduler": (self._scheduler(), lambda: healthy("https://127.0.0.1:10259/healthz"))}

    def _healthy(self, url):
        return subprocess.run(self.network.inside(self.member, "curl", "-skf", "--noproxy", "*", "--max-time", "5", url), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode == 0

    def _etcd(self):
        # What it acknowledged outlives its process, not the machine: these are tests.
        return [self.programs / "etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=4294967296",
                "--auto-compaction-mode=periodic", "--auto-compaction-retention=5m", f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}",
                f"--listen-peer-urls={ETCD_PEERS}", f"--initial-advertise-peer-urls={ETCD_PEERS}", f"--initial-cluster=default={ETCD_PEERS}"]

    def _apiserver(self):
        file = self.authority.file
        audit = []
        if self.audited:
            policy = self.folder / "audit.json"
            policy.write_text(json.dumps(AUDIT), encoding="utf-8")
            audit = [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log()}"]
        return [self.programs / "kube-apiserver", *audit, f"--etcd-servers={ETCD}", "--bind-address=0.0.0.0", f"--secure-port={PORT}", f"--advertise-address={self.address()}",
                f"--tls-cert-file={file('apiserver.crt')}", f"--tls-private-key-file={file('apiserver.key')}", f"--client-ca-file={file('ca.crt')}",
                "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", f"--service-cluster-ip-range={SERVICES}",
                f"--kubelet-client-certificate={file('kubelet-client.crt')}", f"--kubelet-client-key={file('kubelet-client.key')}",
                f"--kubelet-certificate-authority={file('ca.crt')}", "--kubelet-preferred-address-types=InternalIP",
                f"--service-account-issuer={ISSUER}", f"--service-account-key-file={file('accounts.key')}", f"--service-account-signing-key-file={file('accounts.key')}",
                f"--default-not-ready-toleration-seconds={SECONDS_OF_TOLERANCE}", f"--default-unreachable-toleration-seconds={SECONDS_OF_TOLERANCE}",
                "--max-requests-inflight=800", "--max-mutating-requests-inflight=400"]

    def audit_log(self):
        return self.folder / "audit.log"

    def _controllers(self):
        file, config = self.authority.file, self.authority.file("controllers.kubeconfig")
        return [self.programs / "kube-controller-manager", f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
                "--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true", f"--root-ca-file={file('ca.crt')}",
                f"--service-account-private-key-file={file('accounts.key')}", f"--cluster-signing-cert-file={file('ca.crt')}", f"--cluster-signing-key-file={file('ca.key')}",
                "--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-job-syncs=50", "--concurrent-gc-syncs=40",
                f"--node-monitor-grace-period={SECONDS_OF_SILENCE}s", "--node-monitor-period=2s"]

    def _scheduler(self):
        config, file = self.authority.file("scheduler.kubeconfig"), self.folder / "scheduler.yaml"
        file.write_text(f"apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nleaderElection: {{leaderElect: false}}\n"
                        f"clientConnection: {{kubeconfig: {config}, qps: 1000, burst: 2000}}\n", encoding="utf-8")
        return [self.programs / "kube-scheduler", f"--config={file}", "--bind-address=127.0.0.1", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"]

    def forget(self):
        self.network.leave(self.member)


def account_made(api):
    """Pods are refused before the controller manager made the namespace's account."""
    return api.raw("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200
