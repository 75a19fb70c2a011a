"""Secrets of a model stay out of its logs and errors, and results stay as they are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.hosting.child.frames import DoneFrame, FailedFrame, HealthFrame, decode
from tidemill.worker.model_output.redaction import KEPT_ENDED, MARK, Redactor, begun_part, secrets_in

SECRET = 'hf_"quoted"\\and\nof two lines ü'
REDACTOR = Redactor([SECRET, "hf_plain-token", "short"])


def frame(**members):
    return json.dumps(members).encode()


@pytest.mark.parametrize("ids", [("x",), None, ()])
def test_logs_of_runs_and_of_set_up(ids):
    assert REDACTOR.piece(ids, f"a {SECRET} b") == f"a {MARK} b"


def test_lines_of_a_secret_that_are_printed_one_by_one():
    assert REDACTOR.text("of two lines ü\n") == f"{MARK}\n"


def test_errors_of_boots_and_of_runs():
    failed = decode(REDACTOR.frame(frame(t="failed", kind="setup", error="no: hf_plain-token")))
    assert failed == FailedFrame(f"no: {MARK}", "setup")
    body = frame(t="done", id="x", status="failed", error="hf_plain-token hf_plain-token", ms=3.0, output=None)
    done = decode(REDACTOR.frame(body))
    assert isinstance(done, DoneFrame)
    assert (done.id, done.status, done.error, done.ms) == ("x", "failed", f"{MARK} {MARK}", 3.0)


@pytest.mark.parametrize(
    "body",
    [
        frame(t="done", id="x", status="succeeded", output="hf_plain-token"),
        frame(t="output", id="x", value="hf_plain-token"),
        frame(t="metric", id="x", key="k", value="hf_plain-token"),
        frame(t="done", id="x", status="failed", error="nothing to hide, in short"),
    ],
)
def test_results_stay_to_the_byte(body):
    assert REDACTOR.frame(body) is body


def test_what_a_healthcheck_says():
    health = decode(REDACTOR.frame(frame(t="health", error="bad key hf_plain-token")))
    assert health == HealthFrame(f"bad key {MARK}")


def test_what_c_code_prints():
    assert REDACTOR.log_bytes(b"\xff hf_plain-token\n") == b"\xff [secret]\n"
    assert REDACTOR.rest() == b""


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_secret_in_two_or_three_pieces(first, second):
    text = b"before hf_plain-token between hf_plain-tokem after"
    redactor, cuts = Redactor(["hf_plain-token"]), sorted((first, second))
    pieces = (text[: cuts[0]], text[cuts[0] : cuts[1]], text[cuts[1] :])
    said = b"".join(redactor.log_bytes(piece) for piece in pieces) + redactor.rest()
    assert said == b"before [secret] between hf_plain-tokem after"


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_secret_in_pieces_of_one_owner_with_anothers_between(first, second):
    text = "before hf_plain-token between hf_plain-tokem after"
    redactor, cuts = Redactor(["hf_plain-token"]), sorted((first, second))
    said = ""
    for piece in (text[: cuts[0]], text[cuts[0] : cuts[1]], text[cuts[1] :]):
        said += redactor.piece(("x",), piece)
        assert redactor.piece(("y",), "other\n") == "other\n"
    said += "".join(rest for _, rest in redactor.rest_of_texts("x"))
    assert said == "before [secret] between hf_plain-tokem after"


def test_what_never_went_on_is_shown_only_when_it_tells_nothing():
    redactor = Redactor(["hf_plain-token"])
    assert (redactor.log_bytes(b"x hf"), redactor.rest()) == (b"x ", b"hf")
    assert (redactor.log_bytes(b"x hf_plain-toke"), redactor.rest()) == (b"x ", MARK.encode())
    assert redactor.rest() == b""


@given(st.binary(max_size=12), st.binary(min_size=2, max_size=8))
def test_how_much_of_a_secret_has_begun(data, value):
    counts = [count for count in range(1, len(value)) if data.endswith(value[:count])]
    assert begun_part(data, value) == max(counts, default=0)


def test_one_secret_within_another():
    assert Redactor(["password", "password-of-mine"]).text("password-of-mine, password") == f"{MARK}, {MARK}"


def test_without_secrets_there_is_nothing_to_do():
    assert not Redactor([])
    assert REDACTOR


@given(st.lists(st.text(min_size=8), min_size=1), st.text(), st.text())
def test_no_secret_is_left_anywhere(secrets, before, after):
    redactor = Redactor(secrets)
    cleaned = redactor.text(f"{before}{secrets[0]}{after}").replace(MARK, "\0")
    assert not [value for value in secrets if value.strip() and len(value.strip()) >= 8 and value in cleaned]


def test_secret_inputs_are_looked_for_in_what_is_printed_and_owners_secrets_too():
    redactor = Redactor(["hf_plain-token"])
    redactor.hide("p", ["of-p-alone", "abc"])
    assert redactor.log_bytes(b"of-p-alone hf_plain-token abc\n") == b"[secret] [secret] abc\n"
    assert redactor.piece(("p",), "of-p-alone hf_plain-token abc\n") == "[secret] [secret] abc\n"
    body = frame(t="done", id="p", status="failed", error="of-p-alone")
    assert redactor.frame(body) is body  # the child says no secret of an input in a frame


def test_what_ended_lately_is_still_looked_for():
    """A process that it started may print later, into the logs of somebody else's prediction."""
    redactor = Redactor()
    assert not redactor
    redactor.hide("p", ["of-p-alone"])
    redactor.forget("p")
    assert redactor.log_bytes(b"of-p-alone\n") == b"[secret]\n"
    for number in range(KEPT_ENDED):
        redactor.hide(str(number), [f"number {number}"])
        redactor.forget(str(number))
    assert redactor.log_bytes(b"of-p-alone\n") == b"of-p-alone\n"


def test_the_texts_of_secret_inputs():
    given = {"token": "one", "logins": [{"user": "two", "age": 3}], "text": "four", "none": None}
    assert secrets_in(given, ["token", "logins", "none", "absent"]) == ["one", "two"]
