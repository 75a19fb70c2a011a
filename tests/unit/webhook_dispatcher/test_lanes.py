from hypothesis import given
from hypothesis import strategies as st

from tidemill.webhook_dispatcher.lanes import Endpoint, Lanes

A1, A2, B1 = Endpoint("a", "one"), Endpoint("a", "two"), Endpoint("b", "one")


def lanes(**bounds):
    return Lanes(**{"endpoint_tries": 2, "account_tries": 3, "tries": 10, **bounds})


def test_an_endpoint_has_its_places_and_no_more():
    taken = lanes()
    assert [taken.take(A1) for _ in range(3)] == [True, True, False]
    assert taken.full_endpoints() == ["a one"]
    taken.give_back(A1)
    assert taken.full_endpoints() == []
    assert taken.take(A1)


def test_an_account_with_many_endpoints_leaves_room_for_others():
    taken = lanes()
    assert [taken.take(Endpoint("a", f"host{n}")) for n in range(5)] == [True, True, True, False, False]
    assert taken.full_accounts() == ["a"]
    assert taken.take(B1)


def test_the_whole_is_bounded():
    taken = lanes(tries=1)
    assert taken.take(A1)
    assert not taken.take(B1)
    assert taken.room == 0


@given(st.lists(st.tuples(st.sampled_from([A1, A2, B1]), st.booleans())))
def test_what_is_given_back_can_be_taken_again(steps):
    taken, held = lanes(), []
    for place, wants in steps:
        if wants and taken.take(place):
            held.append(place)
        elif not wants and place in held:
            held.remove(place)
            taken.give_back(place)
        assert taken.room == 10 - len(held)
        assert all(held.count(each) <= 2 for each in (A1, A2, B1))
        assert sum(each.account == "a" for each in held) <= 3
    for place in held:
        taken.give_back(place)
    assert (taken.room, taken.full_endpoints(), taken.full_accounts()) == (10, [], [])
