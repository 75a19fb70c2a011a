"""A PostgreSQL cluster on disk: created once, checked before each start. Never touches one that is open."""

import os
import shutil
import subprocess
from pathlib import Path

import psutil

from tidemill.stack.home.state_file import write_private
from tidemill.stack.processes.process import ProcessStartError, describe_exit, failure
from tidemill.stack.servers import server_environment
from tidemill.stack.servers.cluster_location import ClusterLocation

SUPERUSER = "postgres"
MAKE_WITHIN_S = 120.0


def ensure(place: ClusterLocation, superuser_password: str, log: Path) -> Path:
    """Return the cluster's directory. Raise ProcessStartError if it cannot be created or another release created it."""
    cluster = place.directory / "pgdata"
    if not cluster.exists():
        _make(place, cluster, superuser_password, log)
    _check_release(place, cluster, log)
    _drop_stale_pid_file(cluster)
    return cluster


def _make(place: ClusterLocation, cluster: Path, superuser_password: str, log: Path) -> None:
    """Run initdb in another directory and rename it, so that an existing cluster is always complete."""
    fresh = cluster.with_name("pgdata.new")
    shutil.rmtree(fresh, ignore_errors=True)
    password_file = place.directory / "password.new"
    write_private(password_file, superuser_password)
    if place.account is not None:
        os.chown(password_file, place.account.uid, place.account.gid)
    try:
        _run_initdb(place, fresh, password_file, log)
    finally:
        password_file.unlink()
    fresh.rename(cluster)


def _run_initdb(place: ClusterLocation, fresh: Path, password_file: Path, log: Path) -> None:
    argv: list[str | Path] = [place.programs / "initdb", "--pgdata", fresh, "--pwfile", password_file]
    argv += ["--username", SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
    # The built-in collation sorts the same on every system and release.
    argv += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    with log.open("ab") as output:
        done = subprocess.run(
            argv,
            env=server_environment.for_server(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=place.account.uid if place.account else None,
            group=place.account.gid if place.account else None,
            extra_groups=[] if place.account else None,
            timeout=MAKE_WITHIN_S,
            check=False,
        )
    if done.returncode != 0:
        raise ProcessStartError(failure("PostgreSQL", f"initdb {describe_exit(done.returncode)}", log))


def _check_release(place: ClusterLocation, cluster: Path, log: Path) -> None:
    made_by = (cluster / "PG_VERSION").read_text().strip()
    reply = subprocess.run([place.programs / "pg_config", "--version"], capture_output=True, text=True, check=False)
    release = reply.stdout.rsplit(" ", 1)[-1].split(".")[0].strip()
    if release and release != made_by:
        reason = f"{cluster} was made by release {made_by} and this is {release}: dump it with the old one first"
        raise ProcessStartError(failure("PostgreSQL", reason, log))


def _drop_stale_pid_file(cluster: Path) -> None:
    """Delete a pid file that names another program, as after a restart of a container. PostgreSQL would take that
    program for a running server.
    """
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        if psutil.Process(pid).name() != "postgres":
            pid_file.unlink()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
