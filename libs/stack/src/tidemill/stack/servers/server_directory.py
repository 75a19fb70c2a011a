"""What every server keeps in its directory: its state, its log, the record of its process, and the port for clients.

It does not know how the server is started, nor when it is ready.
"""

from pathlib import Path

from tidemill.stack.home.state_file import StateFile
from tidemill.stack.processes.ports import LOOPBACK
from tidemill.stack.processes.process import ManagedProcess


class ServerDirectory:
    def __init__(self, directory: Path, log: Path, *, port_key: str) -> None:
        """A relative `log` lies in the directory. `port_key` is the state's key for the port that clients use."""
        self.path = directory.absolute()
        self.path.mkdir(parents=True, exist_ok=True)
        self.log = self.path / log
        self.state = StateFile(self.path / "state.json")
        self.process = ManagedProcess(self.path / "process.json")
        self._port_key = port_key

    @property
    def port(self) -> int:
        """The port for clients, or 0 before the first start."""
        return self.state.remembered_port(self._port_key) or 0

    @property
    def where(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def reserve_port(self) -> int:
        """Reserve and return the port for clients: the last one, if it is free."""
        return self.state.port(self._port_key)
