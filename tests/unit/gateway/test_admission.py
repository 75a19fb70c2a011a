import pytest

from tidemill.contracts.errors import Problem
from tidemill.contracts.events import LoadReport, QueueLoad
from tidemill.gateway.caller import Account
from tidemill.gateway.limits.admission import LOAD_LIFE_S, MARGIN_S, OWN_LIFE_S, AdmissionControl, QueueLimits
from tidemill.gateway.limits.allowances import Allowances, account_allowances
from tidemill.gateway.limits.gcra import Rate

LIMITED = Account("a", "a", "a", "user", Allowances(open_predictions=5))
UNLIMITED = Account("u", "u", "u", "user")


@pytest.fixture
def admission():
    return AdmissionControl(QueueLimits(age_s=600, waiting=100))


def admit(admission, count, now, account=LIMITED, queue="q"):
    names = [f"{account.id}{now}{n}" for n in range(count)]
    for name in names:
        admission.admit(account, queue, name, now)
    return names


def load(at=1000.0, behind_s=1.0, queues=(), **open_):
    return LoadReport(at=at, behind_s=behind_s, queues=list(queues), open=open_)


def test_no_more_than_the_cap_and_again_when_one_has_ended(admission):
    admission.apply(load(), 0.0)
    names = admit(admission, 5, 0.0)
    with pytest.raises(Problem) as caught:
        admit(admission, 1, 0.1)
    problem = caught.value
    assert problem.status == 429
    assert problem.headers["Retry-After"] == "5"
    assert problem.body()["retry_after"] == 5
    assert "5 predictions" in problem.detail
    admission.ended(names[0])
    admission.ended(names[0])  # a repeated event counts once
    admission.ended("somebody else's")
    admit(admission, 1, 0.2)
    assert admission.open_predictions("a", 0.2) == 5


def test_what_other_gateways_accepted_counts_too(admission):
    admission.apply(load(a=4), 0.0)
    admit(admission, 1, 0.0)
    with pytest.raises(Problem):
        admit(admission, 1, 0.1)


def test_what_the_scheduler_counts_is_not_counted_twice(admission):
    admit(admission, 3, 10.0)
    admit(admission, 1, 11.9)
    admission.apply(load(behind_s=1.0, a=3), 10.0 + 1.0 + MARGIN_S + 0.1)
    assert admission.open_predictions("a", 12.0) == 4


def test_a_full_queue_refuses_everybody_and_others_take(admission):
    admission.apply(
        load(
            queues=[
                QueueLoad(queue="old", waiting=1, oldest_at=1000 - 601),
                QueueLoad(queue="long", waiting=100, oldest_at=999),
                QueueLoad(queue="busy", waiting=99, oldest_at=1000 - 599),
            ]
        ),
        0.0,
    )
    for account in (LIMITED, UNLIMITED):
        for queue in ("old", "long"):
            with pytest.raises(Problem) as caught:
                admission.admit(account, queue, "p", 1.0)
            assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "30")
        admission.admit(account, "busy", "p", 1.0)
        admission.admit(account, "unknown", "p2", 1.0)
    admission.apply(load(), 2.0)
    admission.admit(UNLIMITED, "old", "p", 2.0)


def test_old_news_refuses_nobody(admission):
    admission.apply(load(queues=[QueueLoad(queue="q", waiting=100, oldest_at=0)], a=50), 0.0)
    with pytest.raises(Problem):
        admit(admission, 1, LOAD_LIFE_S - 0.1)
    admit(admission, 3, LOAD_LIFE_S)
    with pytest.raises(Problem):  # its own it still knows
        admit(admission, 3, LOAD_LIFE_S + 1)
    admit(admission, 5, LOAD_LIFE_S + 1 + OWN_LIFE_S + 1)


def test_an_unlimited_account_leaves_no_trace(admission):
    admit(admission, 1000, 0.0, UNLIMITED)
    assert admission.open_predictions("u", 0.0) == 0


COLUMNS = (
    "unlimited",
    "creates_per_minute",
    "creates_burst",
    "requests_per_minute",
    "requests_burst",
    "open_predictions",
)


def test_an_account_may_differ_from_the_default():
    default = Allowances(creates=Rate(10, 20), requests=Rate(30, 40), open_predictions=50)
    row = dict.fromkeys(COLUMNS)
    assert account_allowances({**row, "unlimited": True, "creates_burst": 1}, default) is None
    assert account_allowances({**row, "unlimited": False}, default) == default
    assert account_allowances({**row, "creates_per_minute": 7, "open_predictions": 0}, default) == Allowances(
        creates=Rate(7, 7), requests=Rate(30, 40), open_predictions=0
    )
    own = account_allowances({**row, "creates_burst": 3, "requests_per_minute": 8, "requests_burst": 9}, default)
    assert (own.creates, own.requests) == (Rate(10, 3), Rate(8, 9))
    assert Allowances().rate("creates") == Rate(600, 600)
    assert Allowances().rate("requests") == Rate(3000, 3000)
