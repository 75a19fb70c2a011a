"""Makes processes that the model starts write to their owner's pipe, not to descriptors 1 and 2 of the child, which
serve one prediction after another.

Every way in which Python starts a process calls one of the functions replaced here, or forks. A process that C code
forks keeps descriptors 1 and 2.
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

# The arguments of fork_exec() that become descriptors 1 and 2, in every Python so far; -1 means: inherit.
_STANDARD: Final = ((9, 1), (11, 2))
_INHERITED: Final = -1


def install(pipes: Pipes) -> None:
    """Replace the functions, in this process, from now on."""
    module: Any = os
    module.posix_spawn = _spawner(pipes, os.posix_spawn)
    module.posix_spawnp = _spawner(pipes, os.posix_spawnp)
    module.system = _system
    starter = _fork_exec(pipes, _posixsubprocess.fork_exec)
    for where, name in ((_posixsubprocess, "fork_exec"), (subprocess, "_fork_exec")):  # the second from Python 3.11 on
        if hasattr(where, name):
            setattr(where, name, starter)
    os.register_at_fork(before=pipes.before_fork, after_in_parent=pipes.after_fork)
    # A cancel during the hooks could not be raised there, so the signal is sent again after them. C code must send it:
    # in Python code the signal would be handled at once, inside the hook.
    os.register_at_fork(after_in_parent=functools.partial(_thread.interrupt_main, signal.SIGUSR1))


def _fork_exec(pipes: Pipes, original: Callable[..., int]) -> Callable[..., int]:
    def fork_exec(*arguments: Any) -> int:
        passed = list(arguments)
        with pipes.locked():
            for place, descriptor in _STANDARD:
                if pipes.is_standard(descriptor if passed[place] == _INHERITED else passed[place]):
                    passed[place] = pipes.current_pipe()
            return original(*passed)

    return fork_exec


def _spawner(pipes: Pipes, original: Callable[..., int]) -> Callable[..., int]:
    def spawn(*arguments: Any, file_actions: Sequence[tuple[Any, ...]] | None = None, **named: Any) -> int:
        with pipes.locked():
            actions = [
                (os.POSIX_SPAWN_DUP2, pipes.current_pipe(), descriptor)
                for _, descriptor in _STANDARD
                if pipes.is_standard(descriptor)
            ]
            return original(*arguments, file_actions=[*actions, *(file_actions or ())], **named)

    return spawn


def _system(command: Any) -> int:
    """As os.system(): return the status of waitpid()."""
    code = subprocess.call(command, shell=True)  # noqa: S602  os.system() runs a shell
    return code << 8 if code >= 0 else -code
