import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.ids import ALPHABET, ID_LENGTH_CHARS, id_at, is_id, new_id

moments = st.integers(0, 2**48 - 1)
randoms = st.integers(0, 2**80 - 1)


@given(moments, randoms)
def test_an_id_tells_its_moment(ms, bits):
    identifier = id_at(ms, bits)
    assert len(identifier) == ID_LENGTH_CHARS
    assert set(identifier) <= set(ALPHABET)
    assert [ALPHABET.index(char) for char in identifier[:10]] == [(ms >> shift) & 31 for shift in range(45, -1, -5)]


@given(moments, moments, randoms, randoms)
def test_ids_sort_by_time(first, second, one, other):
    if first < second:
        assert id_at(first, one) < id_at(second, other)


def test_ids_differ():
    assert len({new_id() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("text", ["", "a", "u" * 26, "A" * 26, "0" * 25, "0" * 27, "é" * 26])
def test_what_is_no_id(text):
    assert not is_id(text)


def test_what_is_an_id():
    assert is_id(new_id())


def test_ids_of_one_process_sort_in_the_order_they_were_made():
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(made)
