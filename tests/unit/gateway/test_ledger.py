import heapq
import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.gateway.limits import ledger as ledger_module
from tidemill.gateway.limits.gcra import Rate
from tidemill.gateway.limits.ledger import Ledger, RateKey, owed_limit

KEY = RateKey("a", "creates")
RATE = Rate(per_minute=600, burst=600)


class Record:
    """What the database does, with its own clock."""

    def __init__(self):
        self.full_at = {}

    def settle(self, debts, now):
        for key, seconds in debts:
            self.full_at[key] = max(self.full_at.get(key, now), now) + seconds
        return {key: self.full_at[key] - now for key, _ in debts}


def settle(books, record, now):
    debts = books.debts(100)
    books.settled(debts, record.settle(debts, now), now)


def test_a_few_are_admitted_without_asking_and_then_the_record_is_asked():
    books, record = Ledger(), Record()
    for n in range(12):
        assert books.take(KEY, RATE, 1, 0.0).remaining == 599 - n
        assert books.is_pressing(KEY, RATE) == (n >= 5)
    assert books.take(KEY, RATE, 1, 0.0) is None
    settle(books, record, 0.0)
    assert books.take(KEY, RATE, 1, 0.0).remaining == 587


def test_what_others_took_is_known_after_the_first_settlement():
    one, other, record = Ledger(), Ledger(), Record()
    record.full_at[KEY] = 60.0  # the burst is used up
    assert one.take(KEY, RATE, 1, 0.0).admitted
    settle(one, record, 0.0)
    verdict = one.take(KEY, RATE, 1, 0.0)
    assert not verdict.admitted
    assert verdict.retry_in_s > 0.1  # the one too many is waited for
    assert other.take(KEY, RATE, 1, 0.0).admitted  # it has not heard yet


def test_much_at_once_is_decided_on_fresh_knowledge():
    books, record = Ledger(), Record()
    record.full_at[KEY] = 55.0
    assert books.take(KEY, RATE, 100, 0.0) is None
    settle(books, record, 0.0)
    assert not books.take(KEY, RATE, 100, 0.1).admitted
    assert books.take(KEY, RATE, 40, 0.1).admitted
    settle(books, record, 10.0)
    assert books.take(KEY, RATE, 100, 11.0) is None  # known for too long
    settle(books, record, 11.0)
    assert books.take(KEY, RATE, 100, 11.1).admitted


def test_without_the_record_the_gateway_limits_alone_and_nobody_pays_later():
    books, record = Ledger(), Record()
    admitted = 0
    while books.take(KEY, RATE, 1, 0.0, beyond="forget").admitted:
        admitted += 1
    assert admitted == 600
    settle(books, record, 1.0)
    assert books.take(KEY, RATE, 1, 1.0).remaining == 587  # what it may always owe is on the record


def test_when_the_record_is_slow_all_is_owed():
    books, record = Ledger(), Record()
    for _ in range(100):
        assert books.take(KEY, RATE, 1, 0.0, beyond="owe").admitted
    settle(books, record, 0.0)
    assert abs(record.full_at[KEY] - 10.0) < 1e-6


def test_much_at_once_gets_by_others_that_owe():
    books, record = Ledger(), Record()
    assert books.take(KEY, RATE, 100, 0.0) is None
    settle(books, record, 0.0)
    assert books.take(KEY, RATE, 1, 0.0).admitted
    assert books.take(KEY, RATE, 100, 0.0).remaining == 499
    assert books.take(KEY, RATE, 1, 0.0) is None


def test_what_is_taken_while_it_settles_is_owed_still():
    books, record = Ledger(), Record()
    books.take(KEY, RATE, 2, 0.0)
    debts = books.debts(100)
    books.take(KEY, RATE, 3, 0.0)
    books.settled(debts, record.settle(debts, 0.0), 0.0)
    assert books.unsettled
    settle(books, record, 0.0)
    assert not books.unsettled
    assert abs(record.full_at[KEY] - 0.5) < 1e-6


def test_debts_come_in_one_order_everywhere():
    books = Ledger()
    for name in "cab":
        books.take(RateKey(name, "requests"), RATE, 1, 0.0)
    assert [debt.key.account for debt in books.debts(100)] == ["a", "b", "c"]
    assert len(books.debts(2)) == 2


def test_idle_accounts_are_forgotten_first_and_debts_never(monkeypatch):
    monkeypatch.setattr(ledger_module, "METERS_LIMIT", 3)
    books, record = Ledger(), Record()
    books.take(RateKey("idle", "creates"), RATE, 1, 0.0)
    books.take(RateKey("busy", "creates"), RATE, 10, 0.0)
    settle(books, record, 0.0)
    books.take(RateKey("owing", "creates"), RATE, 1, 0.0)
    books.take(RateKey("new", "creates"), RATE, 1, 0.5)
    assert len(books) == 3
    assert [debt.key.account for debt in books.debts(9)] == ["new", "owing"]
    books.take(RateKey("newer", "creates"), RATE, 1, 0.5)
    assert [debt.key.account for debt in books.debts(9)] == ["new", "newer", "owing"]


@st.composite
def days(draw):
    """Gateways, a rate, arrivals at each, and how long settlements take."""
    gateways = draw(st.integers(1, 4))
    rate = Rate(draw(st.sampled_from([60, 600, 3000])), draw(st.sampled_from([50, 100, 600])))
    per_second = draw(st.integers(3, 5)) * rate.per_minute / 60
    return gateways, rate, per_second, draw(st.floats(0.001, 0.1)), draw(st.integers(0, 2**31))


UNTIL_S = 10.0


def arrivals(gateways, rate, per_second, seed):
    """Moments and gateways; the first second brings a burst."""
    source = random.Random(seed)
    for index in range(gateways):
        now = 0.0
        while now < UNTIL_S:
            now += source.expovariate(per_second if now > 1 else rate.burst * 2)
            yield now, index


def drive(gateways, rate, per_second, delay_s, seed):
    """How many are admitted, and when the last one is. Who must wait for a settlement waits for the next one."""
    record, books, waiting, order = Record(), [Ledger() for _ in range(gateways)], [0] * gateways, itertools.count()
    events = [(now, next(order), "take", index, None) for now, index in arrivals(gateways, rate, per_second, seed)]
    events += [(0.0, next(order), "send", index, None) for index in range(gateways)]
    heapq.heapify(events)
    admitted, last = 0, 0.0
    while events:
        now, _, what, index, debts = heapq.heappop(events)
        tries = 1
        if what == "send":
            heapq.heappush(events, (now + delay_s, next(order), "settled", index, books[index].debts(100)))
            continue
        if what == "settled":
            books[index].settled(debts, record.settle(debts, now), now)
            if now < UNTIL_S + 5:
                heapq.heappush(events, (now + 0.01, next(order), "send", index, None))
            tries, waiting[index] = waiting[index], 0
        for _ in range(tries):
            verdict = books[index].take(KEY, rate, 1, now)
            waiting[index] += verdict is None
            if verdict is not None and verdict.admitted:
                admitted, last = admitted + 1, now
    return admitted, last


@settings(max_examples=15, deadline=None)
@given(days())
def test_several_gateways_together_keep_to_the_limit_within_their_shares(day):
    gateways, rate, _, delay_s, _ = day
    admitted, last = drive(*day)

    def most(seconds):
        return rate.burst + seconds * rate.per_minute / 60

    assert admitted <= most(last) + gateways * owed_limit(rate) + 1
    # Those who keep asking for more than there is get all there is, unless the settlements are what holds them up.
    if owed_limit(rate) / (delay_s + 0.01) > 2 * rate.per_minute / 60:
        assert admitted >= most(UNTIL_S) * 0.9 - 1
