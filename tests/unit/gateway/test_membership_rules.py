import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidemill.contracts.access import (
    ALL_SCOPES,
    ROLE_SCOPES,
    WILDCARD,
    Scope,
    excess_scopes,
    granted_scopes,
    unknown_scopes,
)
from tidemill.contracts.errors import Problem
from tidemill.gateway.membership_rules import MEMBERS_LIMIT, MembershipChange, check

roles = st.sampled_from(["owner", "member", "viewer"])
scopes = st.lists(st.sampled_from([*Scope, WILDCARD, "nonsense"]), max_size=8)


def refusal(**facts):
    try:
        check(MembershipChange(**{"actor": "owner", "own": False, "before": None, "after": "member", **facts}))
    except Problem as problem:
        return problem.status
    return None


@given(actor=roles, own=st.booleans(), before=st.none() | roles, after=st.none() | roles, others=st.integers(0, 3))
def test_an_organization_never_loses_its_last_owner(actor, own, before, after, others):
    assume(not own or before == actor)
    owners = others + (before == "owner") + (actor == "owner" and not own)
    assume(owners > 0)
    if refusal(actor=actor, own=own, before=before, after=after, owners=owners, members=owners) is None:
        assert owners - (before == "owner") + (after == "owner") > 0


@given(actor=st.sampled_from(["member", "viewer"]), before=st.none() | roles, after=st.none() | roles)
def test_only_owners_change_others(actor, before, after):
    assert refusal(actor=actor, before=before, after=after, owners=2, members=3) == 403


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_members_may_leave_but_not_promote_themselves(role):
    assert refusal(actor=role, own=True, before=role, after=None, owners=1, members=2) is None
    assert refusal(actor=role, own=True, before=role, after="owner", owners=1, members=2) == 403


def test_the_last_owner_stays():
    for after in (None, "member", "viewer"):
        assert refusal(own=True, before="owner", after=after, owners=1, members=5) == 409
        assert refusal(own=True, before="owner", after=after, owners=2, members=5) is None
    assert refusal(own=True, before="owner", after="owner", owners=1, members=1) is None


def test_an_organization_has_room_for_so_many():
    assert refusal(before=None, owners=1, members=MEMBERS_LIMIT) == 422
    assert refusal(before="viewer", owners=1, members=MEMBERS_LIMIT) is None


@given(held=scopes, wanted=scopes, role=roles, later=roles)
def test_what_a_token_may_be_given_grants_no_more_than_its_maker_has(held, wanted, role, later):
    if not excess_scopes(wanted, held, role):
        assert granted_scopes(wanted, role) <= granted_scopes(held, role)
        # Whatever the role becomes: the new token gains nothing that the old one would not.
        if WILDCARD in wanted:
            assert granted_scopes(wanted, later) <= granted_scopes(held, later)


@given(held=scopes, role=roles)
def test_whoever_has_everything_may_give_everything(held, role):
    assert excess_scopes([WILDCARD], [*held, WILDCARD], role) == []
    assert excess_scopes(held, [WILDCARD]) == []


def test_all_scopes_of_today_are_not_those_of_tomorrow():
    assert excess_scopes([WILDCARD], list(ALL_SCOPES)) == [WILDCARD]
    assert excess_scopes(list(ALL_SCOPES), [WILDCARD]) == []


def test_roles():
    assert excess_scopes([Scope.ACCOUNT_WRITE, Scope.MODELS_WRITE], [WILDCARD], "member") == [Scope.ACCOUNT_WRITE]
    assert granted_scopes([WILDCARD], "owner") == ALL_SCOPES
    assert ROLE_SCOPES["member"] == ALL_SCOPES - {Scope.ACCOUNT_WRITE}
    assert all(scope.endswith(":read") for scope in ROLE_SCOPES["viewer"])
    assert Scope.WEBHOOKS_READ not in ROLE_SCOPES["viewer"]


def test_names_that_are_no_scopes():
    assert unknown_scopes(["*", "models:read", "x", "models:*"]) == ["models:*", "x"]
