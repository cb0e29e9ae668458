"""Nodes whose kubelets are simulated (simulated_kubelet.py), on the control plane of kubernetes.py."""
from installs import FOLDER
from kubernetes import Kubernetes
from processes import PYTHON
from server import Server
from simulated_kubelet import LABEL, VALUE

NODES = 3


class SimulatedNodes(Server):
    name = "kubesim"
    variable = "MAYFLY_TEST_KUBESIM"
    port_names = []

    def __init__(self, state):
        super().__init__(state)
        self.cluster = Kubernetes(state)

    def install(self):
        self.cluster.install()

    def recover(self):
        self.cluster.start()

    def command(self):
        return [PYTHON, "-B", FOLDER / "simulated_kubelet.py", "--kubeconfig", self.cluster.kubeconfig(), "--nodes", NODES], None

    def answers(self):
        nodes = self.cluster.api().list("/api/v1/nodes", f"{LABEL}={VALUE}")
        return sum(condition["type"] == "Ready" and condition["status"] == "True" for node in nodes for condition in node["status"]["conditions"]) >= NODES

    def url(self):
        return f"{LABEL}={VALUE}"

    where = url
