"""gVisor's runsc, built from its module, 190 s of a processor, once. It is a program and no server: `up` only makes it."""
import go
from installs import installed, recipe_key, run
from server import Server

VERSION = "v0.0.0-20260905035102-160fafc42237"  # of the branch that Go's own tools can build


def build(folder, log):
    run(["go", "install", "-ldflags=-s -w", f"gvisor.dev/gvisor/runsc@{VERSION}"], "runsc", folder, log, go.environment(GOBIN=str(folder)))


def program():
    return installed("runsc", VERSION.partition("-")[2], recipe_key("1"), build) / "runsc"


class Runsc(Server):
    name = "runsc"
    variable = "MAYFLY_TEST_RUNSC"
    port_names = []
    idle = "built"

    def install(self):
        program()

    def start(self):
        self.install()
        self.settings()
        return 0.0

    def answers(self):
        return True

    def url(self):
        return str(program())

    where = url
