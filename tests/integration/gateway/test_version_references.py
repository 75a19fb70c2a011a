"""What a bare version id means: one version of one model; of versions from before that, what it meant then."""

import hashlib

import pytest

from tidemill.contracts.ids import new_id
from tidemill.testing import rows

SCHEMA = rows.schema(Input={"type": "object"})


@pytest.fixture
def make(gateway):
    """Makes a model with a version; its name."""

    async def make(account, version_id, *, visibility="public", **columns):
        name = f"m{new_id()}"
        database = gateway.parts.database
        model = await rows.model(
            database, account.id, owner=account.username, name=name, visibility=visibility, hardware="cpu"
        )
        await rows.version(database, model, id=version_id, openapi_schema=SCHEMA, **columns)
        return f"{account.username}/{name}"

    return make


@pytest.fixture
def old_id():
    """The digest of some files: what was an id once."""
    return hashlib.sha256(new_id().encode()).hexdigest()


async def model_of(ask, account, reference):
    status, answer = await ask("POST", "/predictions", {"version": reference, "input": {}}, account)
    return answer["model"] if status == 201 else status


async def test_an_id_from_before_means_ones_own_model_else_the_oldest(ask, make, old_id, alice, mallory, new_account):
    oldest = await make(alice, old_id)
    second = await make(alice, old_id)
    hers = await make(mallory, old_id)
    assert await model_of(ask, alice, old_id) == oldest
    assert await model_of(ask, await new_account(), old_id) == oldest
    assert await model_of(ask, mallory, old_id) == hers
    for each in (oldest, second, hers):
        assert await model_of(ask, mallory, f"{each}:{old_id}") == each


async def test_the_same_files_pushed_now_take_no_calls_of_an_id_from_before(ask, make, old_id, alice, mallory):
    first = await make(alice, old_id)
    new = hashlib.sha256(old_id.encode()).hexdigest()
    hers = await make(mallory, new, digest=old_id)
    assert await model_of(ask, mallory, old_id) == first
    assert await model_of(ask, alice, new) == hers
    assert await model_of(ask, alice, f"{first}:{new}") == 422


async def test_a_bare_id_of_a_private_model_is_unknown_to_others(ask, make, alice, mallory):
    version = hashlib.sha256(new_id().encode()).hexdigest()
    private = await make(alice, version, visibility="private", digest="d" * 64)
    assert await model_of(ask, alice, version) == private
    assert await model_of(ask, mallory, version) == 422


async def test_a_version_tells_the_digest_of_its_files(ask, make, old_id, alice):
    for digest in (None, "e" * 64):
        version = hashlib.sha256(new_id().encode()).hexdigest()
        model = await make(alice, version, digest=digest)
        status, answer = await ask("GET", f"/models/{model}/versions/{version}")
        assert (status, answer["id"], answer["digest"]) == (200, version, digest or version)
