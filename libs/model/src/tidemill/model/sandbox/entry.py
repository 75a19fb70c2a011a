"""Enters the sandbox between the fork and the model's first line, and reports each layer.

It owns the order of the layers: each needs a privilege that a later one gives up. It fails closed: a layer that the
settings require and the system refuses raises MissingLayerError.
"""

import os
import socket
from typing import Final

from tidemill.model.sandbox import identity, landlock, limits, namespaces, seccomp, syscalls, way_out
from tidemill.model.sandbox.landlock import PathRule
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
    """The system cannot provide a required layer of the sandbox."""


class _SandboxEntry:
    """Enters one layer after the other. The result of one decides how a later one is entered."""

    def __init__(self, settings: Sandbox) -> None:
        self.settings = settings
        self.layers: dict[str, SandboxLayer] = {}
        self.has_namespaces = False  # this process has namespaces of its own
        self.landlock_abi = 0
        self.listener: socket.socket | None = None
        self._filters_signals = False
        self._limits_sysv_memory = not self._wants(MOUNTS)
        self._switches_uid = settings.uid is not None and os.geteuid() == 0 and self._wants(IDENTITY)

    def _wants(self, name: str) -> bool:
        return name in self.settings.layers

    def _report(self, name: str, detail: str, *, on: bool) -> None:
        wanted = self._wants(name)
        self.layers[name] = SandboxLayer(name, wanted and on, detail if wanted else "switched off")

    def run(self) -> None:
        os.stat(self.settings.tmp)  # noqa: PTH116  os.path throughout; without it the model could write nowhere
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
                self.has_namespaces = True
            except OSError as error:
                reason = str(error)
        self._report(NETWORK, "own empty namespace" if self.has_namespaces else reason, on=self.has_namespaces)
        if self.settings.way_out:
            self._open_way_out(reason)
        if self._switches_uid and self.settings.uid is not None:
            os.chown(self.settings.tmp, self.settings.uid, self.settings.uid)
        self._make_mounts(reason)

    def _open_way_out(self, reason: str) -> None:
        if not self.layers[NETWORK].on:
            raise MissingLayerError(f"the model asks for the network, which needs a network namespace: {reason}")
        self.listener = way_out.open_listener()
        self._report(NETWORK, "own namespace, with the worker's proxy as its way out", on=True)

    def _make_mounts(self, reason: str) -> None:
        if not self.has_namespaces or not self._wants(MOUNTS):
            self._report(MOUNTS, reason, on=False)
            return
        settings = self.settings
        kept = dict.fromkeys((*settings.read, *interpreter_paths()), False)
        kept |= dict.fromkeys(self._writable_paths(), True)
        try:
            namespaces.mount_private(settings.tmp, settings.masked, kept, settings.limits.shared_memory_bytes)
        except OSError as error:
            self._report(MOUNTS, str(error), on=False)
        else:
            self._report(MOUNTS, "own mount namespace", on=True)
        self._limits_sysv_memory = limits.limit_sysv_memory()

    def _lower_limits(self) -> None:
        if not self._wants(LIMITS):
            self._report(LIMITS, "", on=False)
            return
        own_count = self._switches_uid or self.has_namespaces  # a user namespace counts processes from zero
        try:
            limits.apply(self.settings.limits, counts_processes=own_count)
        except (OSError, ValueError) as error:
            self._report(LIMITS, str(error), on=False)
        else:
            detail = "set" if own_count else "set, but for the number of processes: the uid is shared"
            self._report(LIMITS, detail, on=True)

    def _confine_files(self) -> None:
        if not self._wants(FILES):
            self._report(FILES, "", on=False)
            return
        try:
            ports = () if self.listener is None else (way_out.PORT,)
            network, signals = self._wants(NETWORK), self._wants(SIGNALS)
            restrictions = landlock.Restrictions(network=network, signals=signals, tcp_ports=ports)
            self.landlock_abi = landlock.restrict(self._rules(), restrictions)
        except OSError as error:
            self._report(FILES, str(error), on=False)
        else:
            self._report(FILES, f"Landlock ABI {self.landlock_abi}", on=True)

    def _rules(self) -> list[PathRule]:
        settings = self.settings
        private_shm = MOUNTS in self.layers and self.layers[MOUNTS].on
        writable = [*self._writable_paths(), *([_SHARED_MEMORY] if private_shm else [])]
        readable = [*SYSTEM_READ, *interpreter_paths(), *settings.read]
        return [
            *(PathRule(path, landlock.READ) for path in dict.fromkeys(readable)),
            *(PathRule(path, landlock.WRITE) for path in writable),
            *(PathRule(path, landlock.DEVICE | landlock.READ_DIR) for path in (*_DEVICES, *settings.devices)),
        ]

    def _writable_paths(self) -> list[str]:
        return [self.settings.tmp] if self.settings.work is None else [self.settings.tmp, self.settings.work]

    def _take_identity(self) -> None:
        reason = "the worker is not root" if os.geteuid() else "no uid was given"
        if self._switches_uid and self.settings.uid is not None:
            identity.switch_uid(self.settings.uid, reads_past_mode_bits=self.landlock_abi > 0)
            reason = f"uid {self.settings.uid}"
        elif self._wants(IDENTITY):
            identity.drop_capabilities()
        self._report(IDENTITY, reason, on=self._switches_uid)
        scoped = landlock.scopes_signals(self.landlock_abi)
        how = "Landlock scope" if scoped else "own uid" if self._switches_uid else "Landlock ABI under 6, shared uid"
        self._report(SIGNALS, how, on=scoped or self._switches_uid)
        self._filters_signals = self._wants(SIGNALS) and not self.layers[SIGNALS].on

    def _filter_calls(self) -> None:
        if not self._wants(SYSCALLS):
            self._report(SYSCALLS, "", on=False)
            return
        # Without a network namespace the child gets no sockets at all: it could reach those of other processes, by path
        # or by port. socketpair() still works; event loops need it.
        families = _IN_A_NAMESPACE if self.has_namespaces or not self._wants(NETWORK) else ()
        try:
            seccomp.install(
                families,
                signals_to=os.getpid() if self._filters_signals else None,
                sysv_memory=self._limits_sysv_memory,
            )
        except (OSError, KeyError) as error:
            self._report(SYSCALLS, str(error), on=False)
            return
        self._report(SYSCALLS, "seccomp", on=True)
        if self._filters_signals:
            self._report(SIGNALS, f"seccomp, to itself alone ({self.layers[SIGNALS].detail})", on=True)
        if not families:
            self._report(NETWORK, f"seccomp, no sockets ({self.layers[NETWORK].detail})", on=True)


def enter(settings: Sandbox) -> list[SandboxLayer]:
    """Enter a sandbox that has no way out; otherwise as `enter_with_way_out`."""
    return enter_with_way_out(settings)[0]


def enter_with_way_out(settings: Sandbox) -> tuple[list[SandboxLayer], socket.socket | None]:
    """Confine this process for good. It must have one thread.

    Return one report for each of LAYERS, and the listening socket if the settings ask for a way out. Raise
    MissingLayerError, which names the required layers that are off: the process is half confined and must end.
    """
    entry = _SandboxEntry(settings)
    try:
        entry.run()
    except OSError as error:
        raise MissingLayerError(f"the sandbox cannot be entered: {error}") from error
    missing = [layer for name, layer in entry.layers.items() if name in settings.required and not layer.on]
    if missing:
        named = (f"sandbox layer {layer.name!r} is missing: {layer.detail}" for layer in missing)
        raise MissingLayerError("; ".join(named))
    return [entry.layers[name] for name in LAYERS], entry.listener
