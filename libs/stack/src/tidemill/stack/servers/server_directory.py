"""What every server has in its directory: what it remembers, its log, the record of its process, and its clients' port.

How the server is started, and what makes it ready, is not known here.
"""

from pathlib import Path

from tidemill.stack.home.state_file import StateFile
from tidemill.stack.processes.ports import LOOPBACK
from tidemill.stack.processes.process import ManagedProcess


class ServerDirectory:
    def __init__(self, directory: Path, log: Path, *, port_key: str) -> None:
        """A relative `log` lies in the directory. `port_key` is what the state calls the port that clients use."""
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / log
        self.state = StateFile(self.directory / "state.json")
        self.process = ManagedProcess(self.directory / "process.json")
        self._port_key = port_key

    @property
    def port(self) -> int:
        """0 until the first start."""
        return self.state.remembered_port(self._port_key) or 0

    @property
    def where(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def settle_port(self) -> int:
        """Kept for this directory while it is to be had."""
        return self.state.port(self._port_key)
