"""State that the preload of a zygote leaves to its forks: each child draws anew what a fresh process would."""

import json
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tidemill.model.host.zygote_process import ZygoteProcess

INSTANCES = 3
# Every generator that can be found in the process, and what else a library draws once and keeps.
STATE = """
import gc, hashlib, multiprocessing, random, secrets, ssl, sys, tempfile, uuid
import numpy, torch

def digest(state):
    return hashlib.sha256(repr(state).encode()).hexdigest()

def generators():
    known = {id(g): g for g in (torch.default_generator, numpy.random.mtrand._rand, random._inst)}
    for thing in (*gc.get_objects(), *(v for m in list(sys.modules.values()) for v in list(vars(m).values()))):
        if type(thing) in (random.Random, numpy.random.RandomState, numpy.random.Generator, torch.Generator):
            known[id(thing)] = thing
    return known.values()

def state(generator):
    if isinstance(generator, torch.Generator):
        return generator.get_state().tolist()
    if isinstance(generator, random.Random):
        return generator.getstate()
    return getattr(generator, "bit_generator", generator._bit_generator).state

numpy.set_printoptions(threshold=sys.maxsize)
result = {f"{type(g).__module__} {n}": digest(state(g)) for n, g in enumerate(generators())}
result |= {
    "torch.initial_seed": torch.initial_seed(),
    "torch.rand": torch.rand(1).item(),
    "torch.randperm": torch.randperm(10**6)[:4].tolist(),
    "numpy.random": numpy.random.random(),
    "default_rng": numpy.random.default_rng().random(),
    "random": random.random(),
    "secrets": secrets.token_hex(8),
    "uuid1": str(uuid.uuid1()),
    "uuid4": str(uuid.uuid4()),
    "ssl": ssl.RAND_bytes(8).hex(),
    "tempfile": tempfile.mktemp(),
    "authkey": bytes(multiprocessing.current_process().authkey).hex(),
}
"""
SEEDED = """
import random, numpy, torch
for seed in (random.seed, numpy.random.seed, torch.manual_seed):
    seed(7)
result = [random.random(), numpy.random.random(), torch.rand(1).item(), torch.initial_seed()]
"""


@pytest_asyncio.fixture(scope="module")
async def zygote(zygote_env) -> AsyncIterator[ZygoteProcess]:
    """As a worker makes them: what is not installed here is left out."""
    pytest.importorskip("torch")
    preload = ["torch", "numpy", "transformers"]
    zygote = await ZygoteProcess.start(sys.executable, preload=preload, env=zygote_env)
    yield zygote
    await zygote.close()


@pytest_asyncio.fixture
async def results(zygote, make_launcher):
    """Runs code in so many instances of one worker."""
    launch = make_launcher(zygote)

    async def run(code):
        children = [await launch("proc_basic") for _ in range(INSTANCES)]
        return [(await child.predict("x", do="probe", text=code))["output"] for child in children]

    yield run
    await launch.end_all()


async def test_torch_and_all_that_is_preloaded_draws_different_numbers_in_every_instance(results):
    found = await results(STATE)
    assert all(isinstance(one, dict) for one in found), found
    assert sum(name.startswith(("torch", "numpy", "random")) for name in found[0]) >= 6
    equal = [name for name in found[0] if len({json.dumps(one[name]) for one in found}) < INSTANCES]
    assert equal == []


async def test_what_a_model_seeds_itself_is_the_same_in_every_instance(results):
    found = await results(SEEDED)
    assert found[0][3] == 7, found
    assert all(one == found[0] for one in found)
