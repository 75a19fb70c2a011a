import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tidemill.stack.services import environment
from tidemill.stack.services.environment import StackSettings

SHELL_SAFE_TEXT = st.text(st.characters(exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=40)


def setting(**user):
    return StackSettings(
        user=user,
        servers={"TIDEMILL_NATS_URL": "nats://ours"},
        home=Path("/home/x/.tidemill"),
        programs=Path("/venv/bin"),
        port=8300,
        signing_key="ab",
    )


def test_defaults_give_way_to_the_user():
    env = environment.shared(setting(TIDEMILL_LOG_FORMAT="text", TIDEMILL_RETENTION_S="60"))
    assert env["TIDEMILL_LOG_FORMAT"] == "text"
    assert env["TIDEMILL_RETENTION_S"] == "60"
    assert env["TIDEMILL_PUBLIC_URLS"] == "http://127.0.0.1:8300"
    assert env["TIDEMILL_WORKER_HOME"] == "/home/x/.tidemill/worker"


def test_public_urls_are_taken_under_their_old_name_too():
    env = environment.shared(setting(TIDEMILL_PUBLIC_URL="https://tide.example"))
    assert env["TIDEMILL_PUBLIC_URLS"] == "https://tide.example"


def test_a_stale_server_url_does_not_win():
    assert environment.shared(setting(TIDEMILL_NATS_URL="nats://stale"))["TIDEMILL_NATS_URL"] == "nats://ours"


def test_the_port_is_the_gateways_alone():
    assert "TIDEMILL_PORT" not in environment.shared(setting(TIDEMILL_PORT="1234"))


def test_programs_come_first_on_the_path():
    assert environment.shared(setting(PATH="/usr/bin"))["PATH"] == "/venv/bin:/usr/bin"


def test_commands_never_get_a_stale_token():
    env = environment.for_commands({"REPLICATE_API_TOKEN": "stale"}, 8300, None)
    assert "REPLICATE_API_TOKEN" not in env
    assert environment.for_commands(env, 8300, "fresh")["REPLICATE_API_TOKEN"] == "fresh"


def test_env_file_holds_what_is_known_and_the_path():
    text = environment.render_env_file({"TIDEMILL_HOME": "/a b", "OTHER": "no"}, Path("/venv/bin"))
    assert text == "export TIDEMILL_HOME='/a b'\nexport PATH='/venv/bin':\"$PATH\"\n"


@given(SHELL_SAFE_TEXT)
def test_a_shell_reads_back_what_was_quoted(value):
    script = f"printf %s {environment.quoted(value)}"
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode() == value
