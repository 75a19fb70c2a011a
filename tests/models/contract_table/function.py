"""A function is a model, too; its secret is its caller's."""

import os
import sys

from cog import Input, Secret


def run(token: Secret, fail: bool = False, text: str = Input(default="x")) -> str:
    print(f"as text {token}, as it is {token.get_secret_value()}")
    print("unfinished " + token.get_secret_value(), end="", file=sys.stderr)
    print(token.get_secret_value()[:9], end="", flush=True)
    print(token.get_secret_value()[9:], "in two pieces")
    os.environ["TOKEN"] = token.get_secret_value()
    os.system("echo $TOKEN of a process")
    if fail:
        raise ValueError(f"{token.get_secret_value()} is wrong")
    return f"{len(token)} {text}"
