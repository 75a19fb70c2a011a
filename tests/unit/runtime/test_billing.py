import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.hardware import HARDWARE
from tidemill.contracts.prediction import TERMINAL, Status
from tidemill.runtime.billing import Tariff, bill, prices

SECONDS = st.floats(0, 1e6)


@given(st.sampled_from(sorted(TERMINAL)), SECONDS, SECONDS, st.floats(0, 1))
def test_what_succeeded_or_was_canceled_costs_the_time_it_ran(status, started_at, ran_s, price):
    found = bill(Tariff("cpu", price), status, started_at, started_at + ran_s)
    if status in {Status.FAILED, Status.ABORTED}:
        assert found == {"hardware": "cpu", "cost": 0}
    else:
        assert found["cost"] == pytest.approx(ran_s * price, rel=1e-6, abs=1e-8)


def test_what_never_began_costs_nothing():
    assert bill(Tariff("cpu", 1.0), Status.CANCELED, None, 5.0) == {"hardware": "cpu", "cost": 0}


def test_clocks_that_disagree_make_no_credit():
    assert bill(Tariff("cpu", 1.0), Status.SUCCEEDED, 10.0, 5.0)["cost"] == 0


def test_what_is_billed_by_its_instances_has_no_cost():
    assert bill(Tariff("cpu", None), Status.SUCCEEDED, 1.0, 5.0) == {"hardware": "cpu"}
    assert bill(None, Status.SUCCEEDED, 1.0, 5.0) == {}


def test_an_operators_prices_replace_the_defaults():
    assert prices("") == {sku: kind.price_usd_per_s for sku, kind in HARDWARE.items()}
    found = prices("cpu=0, gpu-t4 = 0.5 ,")
    assert (found["cpu"], found["gpu-t4"]) == (0, 0.5)
    assert found["gpu-l4"] == HARDWARE["gpu-l4"].price_usd_per_s


@pytest.mark.parametrize("setting", ["abacus=1", "cpu", "cpu=", "cpu=-1", "cpu=nan", "cpu=inf", "cpu=much"])
def test_prices_that_are_none_are_refused(setting):
    with pytest.raises(ValueError, match=r"no hardware|price|float"):
        prices(setting)


def test_runs_that_had_the_hardware_at_once_share_its_price():
    assert bill(Tariff("cpu", 1.0), Status.SUCCEEDED, 1.0, 5.0, sharers=8)["cost"] == 0.5
