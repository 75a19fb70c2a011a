import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ECHO = '#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; else printf "%s\\n" "{name}" "$@"; fi\n'


@pytest.fixture
def checkout(tmp_path):
    checkout = tmp_path / "check out"
    checkout.mkdir()
    shutil.copy(ROOT / "just", checkout)
    shutil.copy(ROOT / "justfile", checkout)
    return checkout


@pytest.fixture
def machine(tmp_path):
    """A PATH with the system's own programs and nothing else, to which tests add."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "dirname", "sed", "mkdir", "mktemp", "rm", "mv", "cat"):
        (programs / name).symlink_to(shutil.which(name))
    return programs


def add(machine, name, text):
    (machine / name).write_text(text)
    (machine / name).chmod(0o755)


def run(checkout, machine, *arguments, cwd="/", **env):
    return subprocess.run(
        [checkout / "just", *arguments], cwd=cwd, env={"PATH": str(machine), **env}, capture_output=True, text=True
    )


def test_programs_of_the_machine_are_used_from_any_directory(checkout, machine):
    add(machine, "uv", ECHO.format(version="uv 0.13.9 (linux)", name="uv"))
    add(machine, "just", ECHO.format(version="just 1.40.0", name="just"))
    done = run(checkout, machine, "up", "two words")
    expected = ["just", "--justfile", f"{checkout}/justfile", "--working-directory", str(checkout), "up", "two words"]
    assert done.stdout.splitlines() == expected
    assert not (checkout / ".tools").exists()


def test_an_old_uv_is_passed_over(checkout, machine):
    add(machine, "uv", ECHO.format(version="uv 0.4.0", name="uv"))
    add(machine, "just", ECHO.format(version="just 1.40.0", name="just"))
    add(machine, "python3", "#!/bin/sh\nexit 1\n")
    done = run(checkout, machine)
    assert done.returncode == 1
    assert "fetching uv into .tools/" in done.stderr


def test_a_wrapper_on_the_path_does_not_call_itself(checkout, machine):
    add(machine, "uv", ECHO.format(version="uv 0.13.9", name="uv"))
    done = subprocess.run(
        [checkout / "just"], env={"PATH": f"{checkout}:{machine}"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert "fetching rust-just" in done.stderr


def test_missing_python_is_named(checkout, machine):
    done = run(checkout, machine)
    assert done.returncode == 1
    assert "python3 is missing" in done.stderr


def test_missing_venv_is_named(checkout, machine):
    add(machine, "python3", "#!/bin/sh\nexit 1\n")
    done = run(checkout, machine)
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


FETCHING_PYTHON = """#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && printf '%s' '{pip}' >"$3/bin/python" && chmod 755 "$3/bin/python" ;;
esac
"""


def test_a_failed_fetch_leaves_nothing_half_made(checkout, machine):
    add(machine, "python3", FETCHING_PYTHON.format(pip="#!/bin/sh\necho no such index >&2\nexit 1\n"))
    (machine / "chmod").symlink_to(shutil.which("chmod"))
    done = run(checkout, machine)
    assert done.returncode == 1
    assert "no such index" in done.stderr
    assert list((checkout / ".tools").iterdir()) == [checkout / ".tools" / "bin"]
    assert list((checkout / ".tools" / "bin").iterdir()) == []


def test_what_was_fetched_is_used_the_next_time(checkout, machine):
    tools = checkout / ".tools" / "bin"
    tools.mkdir(parents=True)
    add(tools, "uv", ECHO.format(version="uv 0.13.9", name="own uv"))
    add(tools, "just", ECHO.format(version="just 1.40.0", name="own just"))
    assert run(checkout, machine).stdout.splitlines()[0] == "own just"


def test_a_relative_home_is_the_callers(checkout, machine, tmp_path):
    add(machine, "uv", ECHO.format(version="uv 0.13.9", name="uv"))
    add(machine, "just", '#!/bin/sh\nprintf %s "$TIDEMILL_HOME"\n')
    assert run(checkout, machine, cwd=tmp_path, TIDEMILL_HOME="mine").stdout == f"{tmp_path}/mine"


def test_tests_do_not_see_a_running_stack():
    script = ROOT / "deploy" / "clean-env.sh"
    env = {"PATH": os.environ["PATH"], "TIDEMILL_HOME": "x", "REPLICATE_API_TOKEN": "y", "KEPT": "z"}
    done = subprocess.run([script, "env"], env=env, capture_output=True, text=True, check=True)
    assert "KEPT=z" in done.stdout
    assert "TIDEMILL" not in done.stdout
    assert "REPLICATE" not in done.stdout
