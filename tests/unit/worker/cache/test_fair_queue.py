from hypothesis import given
from hypothesis import strategies as st

from tidemill.worker.cache.fair_queue import ACCOUNTS, WAITING, FairQueue


def taken(queue):
    """Everything in it, one at a time."""
    order = []
    while (one := queue.take()) is not None:
        order.append(one[1])
        queue.done(one[0])
    return order


def test_a_flood_of_one_account_holds_no_other():
    queue = FairQueue()
    for number in range(10):
        queue.add("mallory", f"m{number}")
    queue.add("alice", "a")
    queue.add("bob", "b")
    assert taken(queue)[:4] == ["m0", "a", "b", "m1"]


def test_an_account_has_one_under_way():
    queue = FairQueue()
    for each in ("x", "y"):
        queue.add("alice", each)
    assert queue.take() == ("alice", "x")
    assert queue.take() is None
    queue.done("alice")
    assert queue.take() == ("alice", "y")


def test_floods_are_bounded_and_push_nobody_elses_out():
    queue = FairQueue()
    queue.add("alice", "a")
    for number in range(WAITING + 5):
        queue.add("mallory", str(number))
        queue.add("mallory", str(number))
    assert taken(queue) == ["a", *(str(number) for number in range(5, WAITING + 5))]
    for number in range(ACCOUNTS + 5):
        queue.add(str(number), str(number))
    assert taken(queue) == [str(number) for number in range(5, ACCOUNTS + 5)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9).map(str)), max_size=40))
def test_everything_is_taken_once_in_each_accounts_own_order(added):
    queue = FairQueue()
    for account, version in added:
        queue.add(account, account + version)
    wanted = list(dict.fromkeys(account + version for account, version in added))
    order = taken(queue)
    assert sorted(order) == sorted(wanted)
    for account in "abc":
        assert [each for each in order if each[0] == account] == [each for each in wanted if each[0] == account]
