"""What a preload draws once for all forks of its zygote, and a fresh process draws for itself: seeds and keys. They are
drawn again in each fork, before a line of the model's has run; what a model seeds itself stays as it says.

Python reseeds `random` after a fork; `tempfile` looks at the process; `secrets`, `uuid`, `ssl` and numpy's new
generators ask the kernel each time; CUDA's generators are made in the child. Shared is only the key of hash(), which
an interpreter takes at its start: with it the order of a set of texts, and no random number.
"""

import os
import sys


def renew() -> None:
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()  # the old functions' own generator; scipy and scikit-learn draw from it too
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()  # of the CPU; torch.seed() would go on to devices
    process = sys.modules.get("multiprocessing.process")
    if process is not None:  # what may connect to a manager or a listener of the model's
        process.current_process().authkey = os.urandom(32)
