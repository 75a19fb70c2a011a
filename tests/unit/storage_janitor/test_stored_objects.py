import pytest

from tidemill.storage_janitor.stored_objects import StoredObject, batches, older_than, output_prefix


@pytest.mark.parametrize(
    ("key", "owner"),
    [("outputs/p1/0/a.png", "p1"), ("outputs/p1/a", "p1"), ("blobs/abc", "abc"), ("files/f1", "f1")],
)
def test_a_key_says_whose_it_is(key, owner):
    assert StoredObject(key, 0).owner == owner


def test_the_outputs_of_one_prediction_are_not_those_of_another_with_a_longer_id():
    assert StoredObject("outputs/p10/a", 0).key.startswith(output_prefix("p10"))
    assert not StoredObject("outputs/p10/a", 0).key.startswith(output_prefix("p1"))


def test_only_what_is_older_than_the_age_is_old():
    young, just, aged = StoredObject("a", 91), StoredObject("b", 90), StoredObject("c", 89)
    assert older_than([young, just, aged], 100, 10) == [aged]


def test_batches_are_the_whole_in_order():
    assert [list(batch) for batch in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert list(batches([], 2)) == []
