"""Commands of the scheduler to boot or stop an instance. Both are idempotent by the instance's id."""

from tidemill.contracts.events import BootInstance, CommandReply, WorkerCommand
from tidemill.worker.instances.manager import InstanceManager
from tidemill.worker.runs.run_table import RunTable


class CommandHandler:
    def __init__(self, table: RunTable, manager: InstanceManager) -> None:
        self._table = table
        self._manager = manager

    async def on_command(self, command: WorkerCommand) -> CommandReply:
        """Refuse a boot while the worker drains or is full."""
        known = self._table.instances().get(command.instance)
        if not isinstance(command, BootInstance):
            if known is not None:
                self._manager.stop(known)
            return CommandReply(accepted=True)
        if known is not None:
            return CommandReply(accepted=True)
        if self._table.is_draining:
            return CommandReply(accepted=False, reason="the worker is draining")
        if self._manager.is_full:
            return CommandReply(accepted=False, reason="the worker is full")
        self._manager.boot(command.instance, command.queue)
        return CommandReply(accepted=True)
