"""What is done around a prediction's arguments: strangers are named, secrets kept out of logs and errors."""

import dataclasses

import pytest

from cog import Secret
from tidemill.model.introspection.callables import inspect_callable
from tidemill.model.logs.owners import LogOwner, set_owner
from tidemill.model.logs.streams import Logs
from tidemill.model.values.arguments import ArgumentBuilder
from tidemill.model.values.outcomes import FAILED, SUCCEEDED, ModelOutcome
from tidemill.model.values.secret_inputs import KEPT_ENDED, MARK, SecretInputs


@dataclasses.dataclass
class Login:
    user: str
    password: Secret


def predict(
    text: str = "", token: Secret | None = None, tokens: list[Secret] | None = None, login: Login | None = None
) -> str:
    return text


def plain(text: str = "") -> str:
    return text


@pytest.fixture
def secrets():
    return SecretInputs()


def arguments(function, secrets):
    return ArgumentBuilder(inspect_callable(function), secrets)


def test_unknown_inputs_are_named_and_left_out(secrets, capsys):
    assert arguments(plain, secrets).build("p", {"text": "a", "stray": 1, "other": None}) == {"text": "a"}
    assert capsys.readouterr().err == "Warning: the model has no inputs called 'stray', 'other'; they are left out.\n"


def test_nothing_is_said_of_known_ones(secrets, capsys):
    arguments(plain, secrets).build("p", {"text": None})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "given",
    [
        {"token": "hunter2"},
        {"tokens": ["a b c d", "hunter2"]},
        {"login": {"user": "ada", "password": "hunter2"}},
        {"token": "first line\nhunter2\nlast line"},
    ],
)
def test_secrets_of_any_shape_are_hidden_while_it_runs(secrets, given):
    arguments(predict, secrets).build("p", given)
    assert secrets.redact("ada has hunter2.") == f"ada has {MARK}."
    failed = secrets.redact_outcome("p", ModelOutcome(FAILED, error="wrong: hunter2"))
    assert failed.error == f"wrong: {MARK}"


def test_a_secret_is_forgotten_when_others_have_ended_after_it(secrets):
    """A thread of its prediction's may print it later, into the logs of somebody else's."""
    for number in range(KEPT_ENDED + 1):
        arguments(predict, secrets).build(str(number), {"token": f"token-{number:02}"})
        secrets.redact_outcome(str(number), ModelOutcome(SUCCEEDED))
    assert secrets.redact("token-00 token-01") == f"token-00 {MARK}"


def test_what_would_take_letters_out_of_every_line_stays(secrets):
    arguments(predict, secrets).build("p", {"token": "a"})
    assert secrets.redact("a banana") == "a banana"


def test_the_longer_of_two_goes_whole(secrets):
    arguments(predict, secrets).build("p", {"tokens": ["secret", "secret-and-more"]})
    assert secrets.redact("secret-and-more") == MARK


def test_each_run_has_its_own(secrets):
    for prediction, token in (("p", "first-token"), ("q", "second-token")):
        arguments(predict, secrets).build(prediction, {"token": token})
    secrets.redact_outcome("p", ModelOutcome(SUCCEEDED))
    assert secrets.redact("first-token second-token third-token") == f"{MARK} {MARK} third-token"


def test_an_outcome_without_secrets_is_the_same_object(secrets):
    outcome = ModelOutcome(FAILED, error="x")
    assert secrets.redact_outcome("p", outcome) is outcome


@pytest.fixture
def printing():
    """What is printed is the prediction's."""
    owner = LogOwner(("p",))
    before = set_owner(owner)
    yield owner
    set_owner(before)


def test_logs_are_cleaned_line_by_line(printing):
    sent = []
    logs = Logs(lambda owner, text: sent.append((*owner.ids, text)))
    arguments(predict, logs.secrets).build("p", {"token": "hunter2-hunter2"})
    logs.write("stdout", "it is hunter2-")
    logs.write("stdout", "hunter2\nand ")
    logs.finish(printing)
    assert sent == [("p", f"it is {MARK}\n"), ("p", "and ")]


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["it is hunter2-", "hunter2\n"], [f"it is {MARK}\n"]),
        (["it is hun", "ter: no\n"], ["it is ", "hunter: no\n"]),
        (["\r10% hunter2", "-hunter2\r"], ["\r10% ", f"{MARK}\r"]),
        (["it is hunter2-"], ["it is ", MARK]),
        (["it is hu"], ["it is ", "hu"]),
        (["nothing"], ["nothing"]),
    ],
)
def test_a_secret_that_is_flushed_in_two_pieces(printing, pieces, said):
    sent = []
    logs = Logs(lambda _, text: sent.append(text))
    arguments(predict, logs.secrets).build("p", {"token": "hunter2-hunter2"})
    for piece in pieces:
        logs.write("stderr", piece)
        logs.flush("stderr")
    logs.finish(printing)
    assert "".join(filter(None, sent)) == "".join(said)
