"""What outside subscribers are allowed, and how it is signed."""

import base64

import msgspec
import nkeys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts import subjects
from tidemill.contracts.access import ALL_SCOPES, Scope
from tidemill.gateway.events import nats_jwt
from tidemill.gateway.events.connection_monitor import with_outdated_label
from tidemill.gateway.events.external_subscribers import (
    LISTED_AFTER_S,
    ConnectionCounts,
    ExternalConnection,
    over_limit,
)
from tidemill.gateway.events.permissions import (
    SCOPES,
    EventConsumer,
    Permissions,
    label,
    permissions,
    readable_kinds,
    token_of,
)

SEED = bytes(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_ACCOUNT)).decode()
ids = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26)
kinds = st.lists(st.sampled_from(subjects.KINDS), min_size=1, unique=True)
consumers = st.lists(st.builds(EventConsumer, id=ids, kinds=kinds.map(tuple)), max_size=20)


@given(st.sets(st.sampled_from(list(Scope))))
def test_scopes_decide_the_kinds(scopes):
    assert {SCOPES[kind] for kind in readable_kinds(scopes)} == scopes & set(SCOPES.values())


@given(ids, ids, kinds, consumers)
def test_every_right_names_its_owner(account, token, may_read, all_consumers):
    allowed = permissions(account, token, may_read, all_consumers)
    assert all(account in subject or subject == f"_INBOX_{token}.>" for subject in allowed.subscribe)
    usable = {c.id for c in all_consumers if set(c.kinds) <= set(may_read)}
    assert {part for s in allowed.publish for part in s.split(".") if part.startswith("events-")} == {
        subjects.consumer(each) for each in usable
    }
    assert not any("*" in subject for subject in (*allowed.publish, *allowed.subscribe))
    assert all(subject.count(".") >= 2 for subject in allowed.publish)


@given(ids, kinds)
def test_a_label_tells_its_token(token, may_read):
    assert token_of(label(token, may_read)) == token


def test_the_watch_ends_what_is_no_longer_due():
    same, narrowed, gone, odd = (
        ExternalConnection("s", number, name)
        for number, name in enumerate(("a.prediction", "b.prediction.training", "c.prediction", ""))
    )
    due = {"a": "a.prediction", "b": "b.prediction"}
    assert with_outdated_label([same, narrowed, gone, odd], due) == [narrowed, gone, odd]


def question(**nats):
    claims = base64.urlsafe_b64encode(msgspec.json.encode({"nats": nats})).rstrip(b"=")
    return b"e30." + claims + b".c2ln"


def test_the_token_is_read_from_either_place():
    asked = {"server_id": {"id": "NX", "name": "n"}, "user_nkey": "UX"}
    by_token = nats_jwt.read(question(**asked, connect_opts={"auth_token": "t", "user": "u"}))
    by_password = nats_jwt.read(question(**asked, connect_opts={"user": "u", "pass": "t"}))
    assert by_token == by_password == nats_jwt.CalloutRequest("NX", "UX", "t")


@given(st.binary(max_size=200))
def test_whatever_is_no_question_is_malformed(data):
    with pytest.raises(nats_jwt.MalformedError):
        nats_jwt.read(data)


@pytest.mark.parametrize("nats", [{}, {"server_id": {"id": 1}}, {"server_id": {"id": "x"}, "user_nkey": "U"}])
def test_questions_that_lack_something_are_malformed(nats):
    with pytest.raises(nats_jwt.MalformedError):
        nats_jwt.read(question(**nats))


def opened(jwt):
    header, claims, signature = (base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in jwt.split(b"."))
    signer = nats_jwt.CalloutSigner(SEED)
    keys = nkeys.from_seed(bytearray(SEED.encode()))
    assert keys.verify(jwt.rpartition(b".")[0], signature)
    assert msgspec.json.decode(header) == {"typ": "JWT", "alg": "ed25519-nkey"}
    decoded = msgspec.json.decode(claims)
    assert decoded["iss"] == signer.issuer
    return decoded


REQUEST = nats_jwt.CalloutRequest("NX", "UX", "t")


def admitted(allowed):
    answer = opened(nats_jwt.CalloutSigner(SEED).admission(REQUEST, "token.prediction", allowed, 1000.5, 2000.5))
    assert (answer["aud"], answer["sub"], answer["nats"]["type"]) == ("NX", "UX", "authorization_response")
    return opened(answer["nats"]["jwt"].encode())


def test_an_admission_names_the_outside_account_and_ends():
    user = admitted(Permissions(("a",), ("b",)))
    assert (user["aud"], user["sub"], user["name"]) == ("EVENTS", "UX", "token.prediction")
    assert (user["iat"], user["exp"]) == (1000, 2000)
    assert user["nats"]["pub"] == {"allow": ["a"]}
    assert user["nats"]["sub"] == {"allow": ["b"]}


def test_no_consumer_means_that_nothing_may_be_published():
    assert admitted(Permissions((), ("b",)))["nats"]["pub"] == {"deny": [">"]}


def test_a_refusal_holds_no_user():
    answer = opened(nats_jwt.CalloutSigner(SEED).refusal(REQUEST, "no", 1000))
    assert answer["nats"] == {"type": "authorization_response", "version": 2, "error": "no"}


def test_all_scopes_cover_all_kinds():
    assert readable_kinds(ALL_SCOPES) == subjects.KINDS


def seen(*keys, account="a", start="2026-11-30T10:00:00Z"):
    return [ExternalConnection("S", cid, "t.prediction", account, key, start) for cid, key in enumerate(keys)]


def test_connections_are_counted_from_their_admission_to_their_end():
    count = ConnectionCounts(limit=2)
    count.admit("a", "k1", 100.0)
    count.admit("b", "k9", 100.0)
    assert (count.of("a"), count.of("b")) == (1, 1)
    count.apply(seen("k1"), 101.0)  # b's is on its way still
    count.admit("a", "k2", 101.5)
    assert (count.of("a"), count.of("b")) == (2, 1)
    count.apply(seen("k2"), 102.0)  # k1 has ended
    assert count.of("a") == 1
    count.apply([], 102.0 + LISTED_AFTER_S)
    assert (count.of("a"), count.of("b")) == (0, 0)


def test_an_admission_that_is_told_twice_or_late_counts_once():
    count = ConnectionCounts(limit=2)
    for _ in range(3):
        count.admit("a", "k1", 100.0)
    count.apply(seen("k1"), 100.5)
    count.admit("a", "k1", 100.6)
    assert count.of("a") == 1


def test_of_too_many_connections_the_youngest_are_over():
    old, young = seen("k1", "k2"), seen("k3", start="2026-11-30T10:00:01Z")
    assert over_limit([*young, *old], 2) == young
    assert over_limit([*young, *old, *seen("k1", account="b")], 3) == []
    assert (
        over_limit([ExternalConnection("S", n, "label") for n in range(9)], 3) == []
    )  # admitted by a gateway of before
