"""Runs predictions of a synchronous model under `@cog.batch`: many in one call, on the thread that ran setup.

Each prediction has its own outcome. A call that raises is repeated for its halves. So only predictions that fail alone
fail in the end, and a batch that is too large for the memory becomes small enough.
"""

import functools
import json
import math
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from cog._scope import BatchScope, Scope, set_scope
from tidemill.model.errors import exceptions
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection import batches
from tidemill.model.introspection.load import LoadedModel
from tidemill.model.logs.owners import LogOwner, set_owner
from tidemill.model.logs.pipes import Pipes
from tidemill.model.logs.streams import Logs
from tidemill.model.serving.cancelation import Cancelation
from tidemill.model.serving.metrics import metric_sink
from tidemill.model.serving.results import ResultSender
from tidemill.model.values import outcomes
from tidemill.model.values.arguments import ArgumentBuilder
from tidemill.model.values.outcomes import ModelOutcome
from tidemill.model.wire import protocol
from tidemill.model.wire.channel import Channel

_NOT_BEGUN: Final = 0.0


@dataclass(eq=False)
class _BatchMember:
    """A prediction, from its `run` frame to its `done` frame."""

    id: str
    values: dict[str, Any]
    context: dict[str, str] | None
    key: str  # equal for predictions that may share a call
    alone: bool
    received: float
    began: float = _NOT_BEGUN

    @property
    def elapsed_ms(self) -> float:
        return 0.0 if self.began == _NOT_BEGUN else (time.perf_counter() - self.began) * 1000


class BatchServer:
    def __init__(
        self,
        loaded: LoadedModel,
        channel: Channel,
        logs: Logs,
        cancelation: Cancelation,
        pipes: Pipes,
    ) -> None:
        assert loaded.signature.batch is not None, "for a function under @batch"
        self._loaded = loaded
        self._settings = loaded.signature.batch
        self._parameters = loaded.signature.parameters
        self._common = [parameter for parameter in self._parameters if not parameter.batched]
        self._arguments = ArgumentBuilder(loaded.signature, logs.secrets)
        self._shape = loaded.signature.output.shape
        self._channel = channel
        self._results = ResultSender(channel)
        self._logs = logs
        self._cancelation = cancelation
        self._pipes = pipes
        self._queued: deque[_BatchMember] = deque()
        self._halves: list[list[_BatchMember]] = []  # of calls that raised
        self._running: dict[str, _BatchMember] = {}
        self._size = 0  # of the running call
        self._arrivals = select.poll()
        self._arrivals.register(channel.fileno(), select.POLLIN)

    def serve(self) -> None:
        """Serve until a `stop` frame comes or the worker ends."""
        self._cancelation.withdraw_queued = self._withdraw
        signal.signal(signal.SIGUSR1, self._cancelation.on_signal)
        self._cancelation.receive()  # cancels that came before the handler was set
        while self._halves or not self._cancelation.stopping:
            if self._halves:
                self._run(self._halves.pop())
                continue
            if not self._queued and not self._wait():
                return
            if self._queued and not self._cancelation.stopping:
                self._run(self._gather())
        self._channel.flush()

    # Gathering

    def _wait(self) -> bool:
        bodies = self._channel.receive()
        if bodies is None:
            return False
        self._add(bodies)
        return True

    def _add(self, bodies: Sequence[bytes]) -> None:
        now = time.perf_counter()
        for body in bodies:
            frame: protocol.Frame = json.loads(body)
            values = frame["input"]
            key = batches.shared_key(self._common, values)
            alone = frame.get("alone", False)
            self._queued.append(_BatchMember(frame["id"], values, frame.get("context"), key, alone, now))

    def _read_available(self) -> bool:
        """Read without blocking. Return False if the worker has ended."""
        try:
            bodies = self._channel.receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        self._add(bodies or ())
        return bodies is not None

    def _gather(self) -> list[_BatchMember]:
        """Return the predictions of the next call: a full batch, or all that came while the first one could wait."""
        due = self._queued[0].received + self._settings.max_wait_ms / 1000
        connected = self._read_available()
        chosen = batches.choose(self._queued, self._settings.max_size)
        while connected and not self._is_complete(chosen) and self._wait_for_more(due):
            connected = self._read_available()
            chosen = batches.choose(self._queued, self._settings.max_size)
        for member in chosen:
            self._queued.remove(member)
        return chosen

    def _is_complete(self, chosen: Sequence[_BatchMember]) -> bool:
        return len(chosen) >= self._settings.max_size or chosen[0].alone or self._cancelation.stopping

    def _wait_for_more(self, due: float) -> bool:
        left_ms = math.ceil((due - time.perf_counter()) * 1000)
        return left_ms > 0 and bool(self._arrivals.poll(left_ms))

    def _withdraw(self) -> None:
        """Answer canceled predictions now, unless all of the call are canceled. Called by the signal handler while a
        call runs; until the call ends, the loop uses neither socket nor queue.
        """
        self._read_available()
        for waiting in (self._queued, *self._halves):
            for member in [member for member in waiting if self._cancelation.take_cancel(member.id)]:
                waiting.remove(member)
                self._answer(member, outcomes.CANCELED_OUTCOME)
        self._drop_canceled()
        self._channel.flush()

    def _drop_canceled(self) -> None:
        for prediction in self._cancelation.take_canceled():
            self._answer(self._running.pop(prediction), outcomes.CANCELED_OUTCOME, self._size)

    # Running

    def _run(self, members: list[_BatchMember]) -> None:
        calls = self._prepare([member for member in members if not self._answer_if_canceled(member)])
        if calls:
            self._running = {member.id: member for member, _ in calls}
            self._size = len(calls)
            self._call(calls)
        self._channel.flush()

    def _answer_if_canceled(self, member: _BatchMember) -> bool:
        canceled = self._cancelation.take_cancel(member.id)
        if canceled:
            self._answer(member, outcomes.CANCELED_OUTCOME)
        return canceled

    def _prepare(self, members: Sequence[_BatchMember]) -> list[tuple[_BatchMember, dict[str, Any]]]:
        """Return each prediction with its arguments. Answer those whose input is invalid."""
        prepared = []
        for member in members:
            again = member.began != _NOT_BEGUN
            member.began = member.began or time.perf_counter()
            failed = None
            with self._owned_by((member,)):
                try:
                    prepared.append((member, self._arguments.build(member.id, member.values, again=again)))
                except BaseException as error:  # noqa: BLE001  the boundary: conversion runs the author's code too
                    failed = outcomes.of_error(error, canceled=False)
            if failed is not None:
                self._answer(member, failed)
        return prepared

    def _call(self, calls: Sequence[tuple[_BatchMember, dict[str, Any]]]) -> None:
        self._channel.send({"t": "running", "ids": list(self._running)})
        self._cancelation.begin_all(self._running)
        self._drop_canceled()
        calls = [(member, values) for member, values in calls if member.id in self._running]
        members = [member for member, _ in calls]
        with self._owned_by(members) as owner:
            set_scope(BatchScope([self._scope(member, owner) for member in members]))
            raised, outputs = self._outputs([values for _, values in calls])
            self._cancelation.end()
            set_scope(None)
            if raised is None:
                pairs = zip(members, outputs, strict=True)
                ended = [(one, self._outcome(one, output)) for one, output in pairs if one.id in self._running]
            else:
                ended = self._handle_failed_call(raised, [member for member in members if member.id in self._running])
        for member, outcome in ended:
            self._answer(member, outcome, len(calls))
        self._running = {}

    def _outputs(self, inputs: Sequence[dict[str, Any]]) -> tuple[BaseException | None, list[Any]]:
        try:
            arguments = batches.arguments(self._parameters, inputs)
            value = self._cancelation.call(functools.partial(self._loaded.call, **arguments))
            return None, batches.outputs_of(value, len(inputs))
        except BaseException as error:  # noqa: BLE001  the boundary: even sys.exit() ends these predictions only
            return error, []

    @contextmanager
    def _owned_by(self, members: Sequence[_BatchMember]) -> Iterator[LogOwner]:
        """Make the members the owner of printed text. At the end their text is sent, before their `done` frames."""
        owner = LogOwner([member.id for member in members])
        before = set_owner(owner)
        try:
            yield owner
        finally:
            self._pipes.rotate_standard()
            self._logs.finish(owner)
            self._pipes.end(owner)
            set_owner(before)

    def _handle_failed_call(
        self, error: BaseException, members: Sequence[_BatchMember]
    ) -> list[tuple[_BatchMember, ModelOutcome]]:
        """Return the outcomes of predictions that are not repeated; queue the halves of the others."""
        if self._cancelation.delivered:
            return [(member, outcomes.CANCELED_OUTCOME) for member in members]
        if len(members) == 1 or isinstance(error, ContractError):
            outcome = outcomes.of_error(error, canceled=False)
            return [(member, outcome) for member in members]
        if members:
            message = exceptions.describe(error)
            sys.stderr.write(f"A call for {len(members)} predictions failed; trying halves of it. ({message})\n")
            exceptions.release_memory(error)
            middle = len(members) // 2
            self._halves += [list(members[middle:]), list(members[:middle])]
        return []

    def _outcome(self, member: _BatchMember, output: Any) -> ModelOutcome:
        if isinstance(output, BaseException):
            return self._failed(member, output)
        try:
            return outcomes.of_value(output, self._shape)
        except BaseException as error:  # noqa: BLE001  the boundary: conversion runs methods of the value
            return self._failed(member, error)

    def _failed(self, member: _BatchMember, error: BaseException) -> ModelOutcome:
        """Print the traceback to the logs of this prediction only."""
        with self._owned_by((member,)):
            return outcomes.of_error(error, canceled=False)

    def _scope(self, member: _BatchMember, owner: LogOwner) -> Scope:
        return Scope(member.context, metric_sink(self._channel, member.id, owner, self._cancelation))

    def _answer(self, member: _BatchMember, outcome: ModelOutcome, batch: int = 0) -> None:
        outcome = self._logs.secrets.redact_outcome(member.id, outcome)
        self._results.put_done(member.id, outcome, member.elapsed_ms, batch)
