"""Settings that are checked by more than their type."""

import pytest

from tidemill.runtime.billing import prices
from tidemill.runtime.service import StartError, parse_setting


def test_a_setting_that_cannot_be_parsed_stops_the_start_and_names_its_variable():
    assert parse_setting("TIDEMILL_PRICES", prices, "cpu=2")["cpu"] == 2
    with pytest.raises(StartError, match="TIDEMILL_PRICES cannot be read: could not convert string to float: 'x'"):
        parse_setting("TIDEMILL_PRICES", prices, "cpu=x")
    with pytest.raises(StartError, match="TIDEMILL_PRICES cannot be read: 'abacus' is no hardware"):
        parse_setting("TIDEMILL_PRICES", prices, "abacus=1")
