"""What a program writes alike for both releases of `replicate` for Python, and how a scenario is run.

Runs in an environment of its own, with nothing of Tidemill in it.
"""

import base64
import json
import sys
from pathlib import Path

import replicate


def text(model, given):
    return replicate.run(model, input=given)


def file_of(model, url):
    return shown(replicate.run(model, input={"image": url}))


def file(model, path):
    with Path(path).open("rb") as image:
        return shown(replicate.run(model, input={"image": image}))


def shown(output):
    return {"type": type(output).__name__, "content": base64.b64encode(output.read()).decode()}


def main(own):
    """Prints the JSON result of the scenario that the command line names; `own` are those of one release alone."""
    scenario = {**globals(), **own}[sys.argv[1]]
    print(json.dumps(scenario(**json.loads(sys.argv[2]))))
