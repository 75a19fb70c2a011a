"""`python -m tidemill.model.sandbox SETTINGS` enters a sandbox and prints its layers: a worker asks so at start."""

import json
import sys

from tidemill.model.sandbox.entry import enter
from tidemill.model.sandbox.settings import Sandbox


def main() -> None:
    settings = Sandbox.from_json(json.loads(sys.argv[1]))
    json.dump([layer.to_json() for layer in enter(settings)], sys.stdout)


if __name__ == "__main__":
    main()
