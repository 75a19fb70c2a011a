"""Processes that the model starts write to the pipe of whoever started them, not to the standard streams of a process
that runs one prediction after another.

Every way in which Python starts a process passes one of the functions replaced here, or forks. What C code forks by
itself keeps descriptors 1 and 2.
"""

import _posixsubprocess
import _thread
import functools
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Final

from tidemill.model.logs.pipes import Pipes

# Where fork_exec() takes what is to become descriptors 1 and 2, in every Python until now; -1 leaves them as they are.
_STANDARD: Final = ((9, 1), (11, 2))
_INHERITED: Final = -1


def follow(pipes: Pipes) -> None:
    """From here on, in this process."""
    module: Any = os
    module.posix_spawn = _spawner(pipes, os.posix_spawn)
    module.posix_spawnp = _spawner(pipes, os.posix_spawnp)
    module.system = _system
    starter = _fork_exec(pipes, _posixsubprocess.fork_exec)
    for where, name in ((_posixsubprocess, "fork_exec"), (subprocess, "_fork_exec")):  # the latter from 3.11 on
        if hasattr(where, name):
            setattr(where, name, starter)
    os.register_at_fork(before=pipes.before_fork, after_in_parent=pipes.after_fork)
    # A cancel that came meanwhile could not be raised in a hook: it is looked at again after it. Not in Python code,
    # where the signal would be handled at once, in the hook.
    os.register_at_fork(after_in_parent=functools.partial(_thread.interrupt_main, signal.SIGUSR1))


def _fork_exec(pipes: Pipes, original: Callable[..., int]) -> Callable[..., int]:
    def fork_exec(*arguments: Any) -> int:
        given = list(arguments)
        with pipes.held():
            for place, descriptor in _STANDARD:
                if pipes.is_standard(descriptor if given[place] == _INHERITED else given[place]):
                    given[place] = pipes.of_current()
            return original(*given)

    return fork_exec


def _spawner(pipes: Pipes, original: Callable[..., int]) -> Callable[..., int]:
    def spawn(*arguments: Any, file_actions: Sequence[tuple[Any, ...]] | None = None, **named: Any) -> int:
        with pipes.held():
            actions = [
                (os.POSIX_SPAWN_DUP2, pipes.of_current(), descriptor)
                for _, descriptor in _STANDARD
                if pipes.is_standard(descriptor)
            ]
            return original(*arguments, file_actions=[*actions, *(file_actions or ())], **named)

    return spawn


def _system(command: Any) -> int:
    """As os.system(): the status that waitpid() gives."""
    code = subprocess.call(command, shell=True)  # noqa: S602  that is what it does
    return code << 8 if code >= 0 else -code
