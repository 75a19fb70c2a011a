"""The paths of the system and of the interpreter that every model may read."""

import os
import sys
from pathlib import Path
from typing import Final

# Named one by one: the child may read past mode bits, and next to these lie private keys and password hashes.
_ETC: Final = (
    *("alternatives", "ca-certificates", "ca-certificates.conf", "fonts", "group", "host.conf", "hosts", "ld.so.cache"),
    *("ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "nsswitch.conf", "OpenCL", "os-release"),
    *("passwd", "pki/ca-trust", "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "protocols", "services"),
    *("ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "timezone", "vulkan"),
)
_PROC: Final = (
    *("self", "cpuinfo", "devices", "driver/nvidia", "driver/nvidia-uvm", "filesystems", "loadavg", "meminfo"),
    *("modules", "stat", "sys/kernel/osrelease", "sys/kernel/pid_max", "sys/kernel/threads-max", "sys/vm"),
    *("uptime", "version"),
)
SYSTEM_READ: Final = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"),
    *(f"/etc/{name}" for name in _ETC),
    *(f"/proc/{name}" for name in _PROC),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/bus/pci", "/sys/devices/pci0000:00", "/sys/module/nvidia"),
)
_PACKAGE: Final = Path(__file__).resolve().parents[1]  # tidemill.model


def interpreter_paths() -> list[str]:
    """Return the paths that this interpreter reads: its prefixes, sys.path, real paths of this package and of cog."""
    packages = [os.fspath(_PACKAGE)]
    cog = sys.modules.get("cog")
    if cog is not None and cog.__file__ is not None:
        packages.append(os.path.dirname(os.path.realpath(cog.__file__)))  # noqa: PTH120  os.path throughout
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    return [path for path in dict.fromkeys([*prefixes, *sys.path, *packages]) if os.path.isabs(path) and path != "/"]  # noqa: PTH117
