"""What servers of several processes have in common: Kubernetes' control plane, and a node of it."""
import signal
import time

from installs import Failed
from network import Network
from processes import ENDING, Process, started_at, wait_for
from server import SECONDS_TO_ANSWER, Server

SECONDS_TO_STOP = 20


class Parts(Server):
    """A server of several processes in a namespace. They start in order, each once the one before it answers, and end in the other order."""

    port_names = []
    member = "kubernetes"  # of the network

    def __init__(self, state):
        super().__init__(state)
        self.network = Network(state)
        self.log = self.log_of("*")

    def parts(self):
        """name → (command, whether it answers)"""
        raise NotImplementedError

    def part(self, name):
        return Process(self.state / f"{self.name}.{name}.process")

    def log_of(self, name):
        return self.state / f"{self.name}.{name}.log"

    def start(self):
        self.install()
        with self.lock():
            began = time.monotonic()
            self.settings()
            self.recover()
            self._lay()
            started = [name for name, (command, answers) in self.parts().items() if self.start_part(name, command, answers)]
            self.furnish()
            return time.monotonic() - began if started else 0.0

    def start_part(self, name, command, answers):
        """False when it was up."""
        process = self.part(name)
        if process.pid() and answers():
            return False
        process.end(signal.SIGKILL)
        starter = process.launch(self.network.inside(self.member, *command), self.log_of(name), environment=self.environment(), directory=self.folder)
        hopeless = lambda: starter.poll() is not None or ENDING.is_set()
        if not wait_for(lambda: hopeless() or answers(), SECONDS_TO_ANSWER, 0.05) or hopeless():
            process.end(signal.SIGKILL)
            said = self.log_of(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()[-12:]
            raise Failed(f"{name} of {self.name} did not start: see {self.log_of(name)}\n    " + "\n    ".join(said))
        return True

    def environment(self):
        return None

    def stop_part(self, name, how):
        """Only that process: what it started goes on."""
        process = self.part(name)
        identity = process.identity()
        if not process.pid():
            return False
        process.signal(how)
        if not wait_for(lambda: started_at(identity[0]) != identity[1], SECONDS_TO_STOP):
            process.signal(signal.SIGKILL)
            wait_for(lambda: started_at(identity[0]) != identity[1], 5)
        process.record.unlink(missing_ok=True)
        return True

    def stop(self, how=None):
        with self.lock():
            return any([self.stop_part(name, how or self.stop_signal) for name in reversed(self.names())])

    def names(self):
        raise NotImplementedError

    def pids(self):
        return [pid for pid in (self.part(name).pid() for name in self.names()) if pid]
