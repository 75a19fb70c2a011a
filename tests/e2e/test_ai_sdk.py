"""`@ai-sdk/replicate` 3.0.46 with `ai` 7, unmodified. It follows no URL that is of another origin than its base URL."""

import base64
import functools
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from tidemill.stack.processes.ports import PortReservations
from tidemill.testing.running import until

MODEL = "local/e2e_image"
STARTED_WITHIN_S = 60


@pytest.fixture(scope="module")
def elsewhere(stack):
    """Another gateway of the same installation, which is told that its public URL is on `localhost`."""
    port = PortReservations().choose()
    env = {**os.environ, **stack.env, "TIDEMILL_PORT": str(port), "TIDEMILL_PUBLIC_URLS": f"http://localhost:{port}"}
    program = str(Path(sys.executable).with_name("tidemill-gateway"))
    with (stack.home / "log" / "gateway-2.log").open("ab") as log:
        process = subprocess.Popen([program], env=env, stdout=log, stderr=log)
    yield SimpleNamespace(port=port)
    process.terminate()
    process.wait(STARTED_WITHIN_S)


async def answers(url):
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/openapi.json") as response:
            return response.ok
    except aiohttp.ClientError:
        return False


def painted(image):
    """Width, height and colour of a PNG of one colour, by what its model wrote."""
    content = base64.b64decode(image["base64"])
    assert (image["type"], content[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_image_from_either_name_of_the_machine_where_127_0_0_1_is_configured(ai_sdk, stack, host):
    base = stack.base_url.replace("127.0.0.1", host)
    assert stack.base_url.startswith("http://127.0.0.1:")
    images = await ai_sdk("image", model=MODEL, base=base, given={"prompt": "a boat", "seed": 7})
    assert [painted(image) for image in images] == [(8, 4)]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_an_image_from_either_name_of_the_machine_where_localhost_is_configured(ai_sdk, elsewhere, host):
    base = f"http://{host}:{elsewhere.port}"
    await until("the gateway", functools.partial(answers, base))
    images = await ai_sdk("image", model=MODEL, base=base, given={"prompt": "a boat", "seed": 7})
    assert [painted(image) for image in images] == [(8, 4)]


async def test_several_images_and_a_wait_that_runs_out_are_polled_for(ai_sdk, stack):
    base = stack.base_url.replace("127.0.0.1", "localhost")
    options = {"maxWaitTimeInSeconds": 1, "pollIntervalMillis": 100, "num_outputs": 2, "seconds": 2}
    images = await ai_sdk("image", model=MODEL, base=base, given={"prompt": "a mill"}, options=options)
    assert [painted(image) for image in images] == [(8, 4)] * 2


async def test_a_refused_input_says_why(ai_sdk, stack):
    wanted = {"prompt": "a boat", "seed": 256}
    refused = await ai_sdk("refusal", model=MODEL, base=stack.base_url, given=wanted)
    assert refused["name"] == "AI_APICallError"
    assert "input.seed: Must be less than or equal to 255" in refused["message"]


HANGING = """
import time
from cog import BasePredictor
class Predictor(BasePredictor):
    def setup(self):
        time.sleep(600)
    def predict(self, prompt: str) -> str:
        return prompt
"""


async def test_what_was_aborted_is_canceled_for_it_and_for_whoever_does_not_ask(ai_sdk, stack, tmp_path):
    """Of a model that does not come up, whose deadline comes before its beginning."""
    (tmp_path / "cog.yaml").write_text('build: {gpu: false}\npredict: "predict.py:Predictor"\n')
    (tmp_path / "predict.py").write_text(HANGING)
    stack.tidemill("push", "--public", "local/hanging", str(tmp_path))
    wanted = {"model": "local/hanging", "given": {"prompt": "a boat"}, "headers": {"Cancel-After": "5s"}}
    refused = await ai_sdk("refusal", base=stack.base_url, **wanted)
    assert (refused["name"], "image generation canceled" in refused["message"]) == ("AI_InvalidResponseDataError", True)
    token = {"Authorization": f"Bearer {stack.token}"}
    url = f"{stack.base_url}/v1/predictions?model=local/hanging"
    async with aiohttp.ClientSession(headers=token) as http:
        for more, status in (({}, "canceled"), ({"Prefer": "aborted"}, "aborted"), ({"User-Agent": "x/1"}, "canceled")):
            async with http.get(url, headers=more) as response:
                (found,) = (await response.json())["results"]
            assert (found["status"], found["error_code"]) == (status, "deadline")
