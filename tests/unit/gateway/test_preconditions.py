import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.gateway.files.preconditions import Validators, is_conditional, range_applies, verdict

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"
EARLIER = "Wed, 21 Oct 2015 07:27:59 GMT"
LATER = "Wed, 21 Oct 2015 07:28:01 GMT"
NOW = Validators('"abc"', MODIFIED)
WEAK = Validators('W/"abc"', MODIFIED)
FIELDS = ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, None),
        ({"If-None-Match": '"abc"'}, 304),
        ({"If-None-Match": 'W/"abc"'}, 304),
        ({"If-None-Match": '"x", "abc"'}, 304),
        ({"If-None-Match": '"x",W/"y" , W/"abc"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, None),
        ({"If-None-Match": '"ab"'}, None),
        ({"If-None-Match": "abc"}, None),
        ({"If-None-Match": ""}, None),
        ({"If-Modified-Since": MODIFIED}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": EARLIER}, None),
        ({"If-Modified-Since": "yesterday"}, None),
        ({"If-Modified-Since": "Wed, 21 Oct 2015 07:28:00 -0000"}, None),
        ({"If-None-Match": '"x"', "If-Modified-Since": MODIFIED}, None),
        ({"If-None-Match": '"abc"', "If-Modified-Since": EARLIER}, 304),
        ({"If-Match": '"abc"'}, None),
        ({"If-Match": "*"}, None),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": 'W/"abc"'}, 412),
        ({"If-Match": "abc"}, 412),
        ({"If-Unmodified-Since": MODIFIED}, None),
        ({"If-Unmodified-Since": LATER}, None),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Unmodified-Since": "yesterday"}, None),
        ({"If-Match": '"abc"', "If-Unmodified-Since": EARLIER}, None),
        ({"If-Match": '"abc"', "If-None-Match": '"abc"'}, 304),
        ({"If-Match": '"x"', "If-None-Match": '"abc"'}, 412),
    ],
)
def test_conditions_in_the_order_of_the_standard(asked, expected):
    assert verdict(asked, NOW) == expected


def test_a_weak_tag_never_matches_strongly():
    assert verdict({"If-Match": 'W/"abc"'}, WEAK) == 412
    assert verdict({"If-Match": '"abc"'}, WEAK) == 412
    assert verdict({"If-None-Match": '"abc"'}, WEAK) == 304


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, True),
        ({"If-Range": '"abc"'}, True),
        ({"If-Range": 'W/"abc"'}, False),
        ({"If-Range": '"x"'}, False),
        ({"If-Range": MODIFIED}, True),
        ({"If-Range": LATER}, False),
        ({"If-Range": EARLIER}, False),
        ({"If-Range": "abc"}, False),
        ({"If-Range": ""}, False),
    ],
)
def test_a_range_is_for_those_who_have_the_rest(asked, expected):
    assert range_applies(asked, NOW) is expected


@given(st.dictionaries(st.sampled_from(FIELDS), st.text() | st.just('"abc"') | st.just(MODIFIED)))
def test_any_text_gives_a_verdict(asked):
    for now in (NOW, WEAK, Validators(None, None)):
        assert verdict(asked, now) in {None, 304, 412}
        assert range_applies(asked, now) in {True, False}
    assert is_conditional(asked) == bool(asked)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"')))
def test_a_file_is_not_sent_to_whoever_names_its_tag(opaque):
    now = Validators(f'"{opaque}"', None)
    assert verdict({"If-None-Match": f'"{opaque}"'}, now) == 304
    assert verdict({"If-Match": f'"{opaque}"'}, now) is None
    assert range_applies({"If-Range": f'"{opaque}"'}, now)
