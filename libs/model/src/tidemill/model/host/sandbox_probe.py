"""Finds out which layers of the sandbox this system provides."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from tidemill.model.sandbox.settings import Sandbox, SandboxLayer

_PROBE_WITHIN_S: Final = 30.0


async def probe_layers(settings: Sandbox, env: Mapping[str, str], python: str = sys.executable) -> list[SandboxLayer]:
    """Enter the sandbox in a process of its own and return its layers. `settings.required` is not enforced.

    Raise OSError if the sandbox cannot be entered at all.
    """
    wanted = {**settings.to_json(), "required": []}
    arguments = ["-m", "tidemill.model.sandbox", json.dumps(wanted)]
    process = await asyncio.create_subprocess_exec(
        python, *arguments, env=dict(env), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), _PROBE_WITHIN_S)
    if process.returncode != 0:
        raise OSError(f"the sandbox cannot be entered: {errors.decode('utf-8', 'replace')[-2000:]}")
    return [SandboxLayer(**layer) for layer in json.loads(output)]
