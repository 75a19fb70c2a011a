"""What a child locks itself into between the fork and the model's first line, and an honest report of it.

It owns the order of the layers (each needs a privilege that a later one gives up) and the paths every model may read.
It fails closed: a layer that the settings require and the system refuses raises MissingLayerError.
"""

import os
import socket
from typing import Final

from tidemill.model.sandbox import identity, landlock, limits, namespaces, seccomp, syscalls, way_out
from tidemill.model.sandbox.landlock import Rule
from tidemill.model.sandbox.paths import SYSTEM_READ, interpreter_paths
from tidemill.model.sandbox.settings import (
    FILES,
    IDENTITY,
    LAYERS,
    LIMITS,
    MOUNTS,
    NETWORK,
    SIGNALS,
    SYSCALLS,
    Sandbox,
    SandboxLayer,
)

_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108  private by then
_IN_A_NAMESPACE: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)


class MissingLayerError(Exception):
    """A required layer of the sandbox cannot be had on this system."""


class _Entry:
    """One walk through the layers; what one finds out decides how a later one is done."""

    def __init__(self, settings: Sandbox) -> None:
        self.settings = settings
        self.layers: dict[str, SandboxLayer] = {}
        self.apart = False  # in namespaces of its own
        self.landlock_abi = 0
        self.listener: socket.socket | None = None
        self._filters_signals = False
        self._bounds_keyed_memory = not self._wants(MOUNTS)
        self._switches_uid = settings.uid is not None and os.geteuid() == 0 and self._wants(IDENTITY)

    def _wants(self, name: str) -> bool:
        return name in self.settings.layers

    def _note(self, name: str, detail: str, *, on: bool) -> None:
        wanted = self._wants(name)
        self.layers[name] = SandboxLayer(name, wanted and on, detail if wanted else "switched off")

    def run(self) -> None:
        os.stat(self.settings.tmp)  # noqa: PTH116  strings throughout; a model without it could write nowhere
        syscalls.prctl("no_new_privs", syscalls.PR_SET_NO_NEW_PRIVS, 1)
        self._enter_namespaces()
        self._lower_limits()
        self._confine_files()
        self._take_identity()
        self._filter_calls()

    def _enter_namespaces(self) -> None:
        reason = "unshared"
        if self._wants(NETWORK) or self._wants(MOUNTS):
            try:
                namespaces.unshare(network=self._wants(NETWORK), mounts=self._wants(MOUNTS))
                self.apart = True
            except OSError as error:
                reason = str(error)
        self._note(NETWORK, "own empty namespace" if self.apart else reason, on=self.apart)
        if self.settings.way_out:
            self._open_way_out(reason)
        if self._switches_uid and self.settings.uid is not None:
            os.chown(self.settings.tmp, self.settings.uid, self.settings.uid)
        self._make_mounts(reason)

    def _open_way_out(self, reason: str) -> None:
        if not self.layers[NETWORK].on:
            raise MissingLayerError(f"the model asks for the network, which needs a network namespace: {reason}")
        self.listener = way_out.open_listener()
        self._note(NETWORK, "own namespace, with the worker's proxy as its way out", on=True)

    def _make_mounts(self, reason: str) -> None:
        if not self.apart or not self._wants(MOUNTS):
            self._note(MOUNTS, reason, on=False)
            return
        settings = self.settings
        kept = dict.fromkeys((*settings.read, *interpreter_paths()), False) | dict.fromkeys(self._own(), True)
        try:
            namespaces.mount_private(settings.tmp, settings.masked, kept, settings.limits.shared_memory_bytes)
        except OSError as error:
            self._note(MOUNTS, str(error), on=False)
        else:
            self._note(MOUNTS, "own mount namespace", on=True)
        self._bounds_keyed_memory = limits.lower_keyed_memory()

    def _lower_limits(self) -> None:
        if not self._wants(LIMITS):
            self._note(LIMITS, "", on=False)
            return
        alone = self._switches_uid or self.apart  # a user namespace counts processes from zero
        try:
            limits.apply(self.settings.limits, counts_processes=alone)
        except (OSError, ValueError) as error:
            self._note(LIMITS, str(error), on=False)
        else:
            self._note(LIMITS, "set" if alone else "set, but for the number of processes: the uid is shared", on=True)

    def _confine_files(self) -> None:
        if not self._wants(FILES):
            self._note(FILES, "", on=False)
            return
        try:
            ports = () if self.listener is None else (way_out.PORT,)
            reach = landlock.Reach(network=self._wants(NETWORK), signals=self._wants(SIGNALS), tcp_ports=ports)
            self.landlock_abi = landlock.restrict(self._rules(), reach)
        except OSError as error:
            self._note(FILES, str(error), on=False)
        else:
            self._note(FILES, f"Landlock ABI {self.landlock_abi}", on=True)

    def _rules(self) -> list[Rule]:
        settings = self.settings
        private_shm = MOUNTS in self.layers and self.layers[MOUNTS].on
        writable = [*self._own(), *([_SHARED_MEMORY] if private_shm else [])]
        readable = [*SYSTEM_READ, *interpreter_paths(), *settings.read]
        return [
            *(Rule(path, landlock.READ) for path in dict.fromkeys(readable)),
            *(Rule(path, landlock.WRITE) for path in writable),
            *(Rule(path, landlock.DEVICE | landlock.READ_DIR) for path in (*_DEVICES, *settings.devices)),
        ]

    def _own(self) -> list[str]:
        return [self.settings.tmp] if self.settings.work is None else [self.settings.tmp, self.settings.work]

    def _take_identity(self) -> None:
        reason = "the worker is not root" if os.geteuid() else "no uid was given"
        if self._switches_uid and self.settings.uid is not None:
            identity.become(self.settings.uid, reads_past_mode_bits=self.landlock_abi > 0)
            reason = f"uid {self.settings.uid}"
        elif self._wants(IDENTITY):
            identity.drop_capabilities()
        self._note(IDENTITY, reason, on=self._switches_uid)
        scoped = landlock.scopes_signals(self.landlock_abi)
        how = "Landlock scope" if scoped else "own uid" if self._switches_uid else "Landlock ABI under 6, shared uid"
        self._note(SIGNALS, how, on=scoped or self._switches_uid)
        self._filters_signals = self._wants(SIGNALS) and not self.layers[SIGNALS].on

    def _filter_calls(self) -> None:
        if not self._wants(SYSCALLS):
            self._note(SYSCALLS, "", on=False)
            return
        # Without a namespace of its own the child gets no sockets at all: those of other processes, with a path or
        # with a port, would be in reach. socketpair() is left, which event loops need.
        families = _IN_A_NAMESPACE if self.apart or not self._wants(NETWORK) else ()
        try:
            seccomp.install(
                families,
                signals_to=os.getpid() if self._filters_signals else None,
                keyed_memory=self._bounds_keyed_memory,
            )
        except (OSError, KeyError) as error:
            self._note(SYSCALLS, str(error), on=False)
            return
        self._note(SYSCALLS, "seccomp", on=True)
        if self._filters_signals:
            self._note(SIGNALS, f"seccomp, to itself alone ({self.layers[SIGNALS].detail})", on=True)
        if not families:
            self._note(NETWORK, f"seccomp, no sockets ({self.layers[NETWORK].detail})", on=True)


def enter(settings: Sandbox) -> list[SandboxLayer]:
    """As `enter_with_way_out`, for those who asked for none."""
    return enter_with_way_out(settings)[0]


def enter_with_way_out(settings: Sandbox) -> tuple[list[SandboxLayer], socket.socket | None]:
    """Lock this process in for good; it must have one thread. The report has one entry for each of LAYERS; the socket
    is there when the settings ask for a way out.

    Raises MissingLayerError naming the required layers that are off: the process must end then, it is half confined.
    """
    entry = _Entry(settings)
    try:
        entry.run()
    except OSError as error:
        raise MissingLayerError(f"the sandbox cannot be entered: {error}") from error
    missing = [layer for name, layer in entry.layers.items() if name in settings.required and not layer.on]
    if missing:
        named = (f"sandbox layer {layer.name!r} is missing: {layer.detail}" for layer in missing)
        raise MissingLayerError("; ".join(named))
    return [entry.layers[name] for name in LAYERS], entry.listener
