"""The filter, run by a small interpreter of classic BPF."""

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.model.sandbox import seccomp
from tidemill.model.sandbox.seccomp import ALLOW, ARCHITECTURES, DENIED, KILL_PROCESS, NEW_NAMESPACES, assemble, program

FAMILIES = (socket.AF_UNIX, socket.AF_INET)
X86, ARM = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
PERMISSION = 0x50000 | errno.EPERM


def verdict(machine, number, *arguments, families=FAMILIES, arch=None, signals_to=None):
    words = [*arguments, *[0] * 6][:6]
    data = struct.pack("=IIQ6Q", number, machine.audit_arch if arch is None else arch, 0, *words)
    code = [
        struct.unpack("=HBBI", chunk) for chunk in _chunks(assemble(program(machine, families, signals_to=signals_to)))
    ]
    position, accumulator = 0, 0
    while True:
        kind, if_true, if_false, k = code[position]
        position += 1
        if kind == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif kind == 0x06:
            return k
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[kind]
            position += if_true if holds else if_false


def _chunks(program_bytes):
    return [program_bytes[start : start + 8] for start in range(0, len(program_bytes), 8)]


def test_the_calls_that_would_break_the_sandbox_are_among_the_denied_ones():
    """Other processes, kernel interfaces with a record of holes, ways around Landlock, new roots, the machine."""
    assert set(DENIED) >= {
        *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
        *("bpf", "userfaultfd", "io_uring_setup", "keyctl", "add_key", "perf_event_open"),
        *("open_by_handle_at", "mount", "move_mount", "fsopen", "pivot_root", "chroot", "unshare", "setns"),
        *("kexec_load", "init_module", "finit_module", "reboot", "settimeofday", "iopl"),
    }


@pytest.mark.parametrize("machine", [X86, ARM])
@pytest.mark.parametrize("name", DENIED)
def test_every_denied_call_is_refused(machine, name):
    number = DENIED[name][machine.column]
    if number is not None:
        assert verdict(machine, number) == PERMISSION


@pytest.mark.parametrize("machine", [X86, ARM])
@given(number=st.integers(0, 600))
def test_other_calls_pass(machine, number):
    denied = {numbers[machine.column] for numbers in DENIED.values()}
    special = {machine.socket, machine.clone, machine.clone3, seccomp.PRLIMIT[machine.column]}
    if number not in denied | special:
        assert verdict(machine, number) == ALLOW


@pytest.mark.parametrize("machine", [X86, ARM])
def test_another_architecture_is_the_end(machine):
    assert verdict(machine, 0, arch=0x40000003) == KILL_PROCESS


@given(number=st.integers(0, 600))
def test_the_x32_table_is_closed(number):
    assert verdict(X86, 0x40000000 | number) == PERMISSION


@pytest.mark.parametrize("machine", [X86, ARM])
def test_clone_makes_processes_and_threads_but_no_namespaces(machine):
    thread = 0x3D0F00
    assert verdict(machine, machine.clone, 17) == ALLOW
    assert verdict(machine, machine.clone, thread) == ALLOW
    for bit in range(32):
        if NEW_NAMESPACES >> bit & 1:
            assert verdict(machine, machine.clone, thread | 1 << bit) == PERMISSION
    assert verdict(machine, machine.clone3) == 0x50000 | errno.ENOSYS


@pytest.mark.parametrize("machine", [X86, ARM])
@given(family=st.integers(0, 50))
def test_sockets_only_of_the_families_given(machine, family):
    refused = 0x50000 | errno.EAFNOSUPPORT
    assert verdict(machine, machine.socket, family) == (ALLOW if family in FAMILIES else refused)
    assert verdict(machine, machine.socket, family, families=()) == refused


@pytest.mark.parametrize("machine", [X86, ARM])
@given(pid=st.integers(0, 2**32 - 1))
def test_limits_of_oneself_alone(machine, pid):
    number = seccomp.PRLIMIT[machine.column]
    assert verdict(machine, number, pid) == (PERMISSION if pid else ALLOW)


@pytest.mark.parametrize("machine", [X86, ARM])
@given(pid=st.integers(-(2**31), 2**31 - 1), own=st.integers(2, 2**22))
def test_signals_to_oneself_and_ones_group_where_nothing_else_holds_them(machine, pid, own):
    kill, tgkill = (seccomp.SELF_SIGNALS[name][machine.column] for name in ("kill", "tgkill"))
    word = pid & 0xFFFF_FFFF
    assert verdict(machine, kill, word) == ALLOW
    assert verdict(machine, kill, word, signals_to=own) == (ALLOW if pid in {0, own, -own} else PERMISSION)
    assert verdict(machine, tgkill, word, signals_to=own) == (ALLOW if pid == own else PERMISSION)
    assert {verdict(machine, kill, each & 0xFFFF_FFFF, signals_to=own) for each in (0, own, -own)} == {ALLOW}


@pytest.mark.parametrize("machine", [X86, ARM])
def test_no_other_way_to_send_one(machine):
    for numbers in seccomp.OTHER_SIGNALS.values():
        assert verdict(machine, numbers[machine.column], 5, signals_to=5) == PERMISSION
        assert verdict(machine, numbers[machine.column], 5) == ALLOW
    for _, numbers, commands in seccomp.SIGNAL_OWNERS:
        number = numbers[machine.column]
        assert {verdict(machine, number, 3, command, signals_to=5) for command in commands} == {PERMISSION}
        assert verdict(machine, number, 3, 4, signals_to=5) == ALLOW


def test_jumps_fit_in_a_byte():
    for machine in ARCHITECTURES.values():
        code = program(machine, tuple(range(8)), signals_to=7)
        assert all(0 <= jump <= 255 for _, if_true, if_false, _ in code for jump in (if_true, if_false))
        assert len(seccomp.assemble(code)) == 8 * len(code)
