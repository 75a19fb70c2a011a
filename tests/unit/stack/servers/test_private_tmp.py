"""A program that creates sockets in /tmp gets a private /tmp, or makes the sockets private."""

import os
from pathlib import Path

from tidemill.stack.servers import private_tmp


def test_where_no_mount_is_allowed_the_program_runs_all_the_same_and_keeps_others_out(monkeypatch, tmp_path, capfd):
    ran, before = [], os.umask(0o022)

    def replace(_directory, _kept):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(private_tmp, "replace", replace)
    monkeypatch.setattr(private_tmp.os, "execv", lambda program, argv: ran.append((program, argv)))
    try:
        private_tmp.main([str(tmp_path), "", "/bin/program", "argument"])
        made = tmp_path / "made"
        made.touch(0o777)
        assert made.stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)
    assert ran == [("/bin/program", ["/bin/program", "argument"])]
    assert "no private /tmp: [Errno 1] Operation not permitted" in capfd.readouterr().err


def test_the_command_line_names_what_is_kept():
    command = private_tmp.command(
        Path("/home/x/tmp"), [Path("/tmp/data"), Path("/tmp/bin")], ["/tmp/bin/weed", "server"]
    )
    assert command[-4:] == ["/home/x/tmp", "/tmp/data:/tmp/bin", "/tmp/bin/weed", "server"]
