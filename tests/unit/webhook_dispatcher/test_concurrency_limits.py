from hypothesis import given
from hypothesis import strategies as st

from tidemill.webhook_dispatcher.concurrency_limits import ConcurrencyLimits, EndpointKey

A1, A2, B1 = EndpointKey("a", "one"), EndpointKey("a", "two"), EndpointKey("b", "one")


def limits(**bounds):
    return ConcurrencyLimits(**{"endpoint_tries": 2, "account_tries": 3, "tries": 10, **bounds})


def test_an_endpoint_has_its_places_and_no_more():
    taken = limits()
    assert [taken.acquire(A1) for _ in range(3)] == [True, True, False]
    assert taken.full_endpoints() == ["a one"]
    taken.release(A1)
    assert taken.full_endpoints() == []
    assert taken.acquire(A1)


def test_an_account_with_many_endpoints_leaves_room_for_others():
    taken = limits()
    assert [taken.acquire(EndpointKey("a", f"host{n}")) for n in range(5)] == [True, True, True, False, False]
    assert taken.full_accounts() == ["a"]
    assert taken.acquire(B1)


def test_the_whole_is_bounded():
    taken = limits(tries=1)
    assert taken.acquire(A1)
    assert not taken.acquire(B1)
    assert taken.free_slots == 0


@given(st.lists(st.tuples(st.sampled_from([A1, A2, B1]), st.booleans())))
def test_what_is_given_back_can_be_taken_again(steps):
    taken, held = limits(), []
    for place, wants in steps:
        if wants and taken.acquire(place):
            held.append(place)
        elif not wants and place in held:
            held.remove(place)
            taken.release(place)
        assert taken.free_slots == 10 - len(held)
        assert all(held.count(each) <= 2 for each in (A1, A2, B1))
        assert sum(each.account == "a" for each in held) <= 3
    for place in held:
        taken.release(place)
    assert (taken.free_slots, taken.full_endpoints(), taken.full_accounts()) == (10, [], [])
