"""Reseeds random generators after the fork: preloaded modules seeded them once, in the zygote, for all its children.

It runs before the model's code, so seeds that a model sets stay valid. Python itself reseeds `random` after a fork;
`tempfile` compares process ids; `secrets`, `uuid`, `ssl` and numpy's new generators ask the kernel each time; CUDA's
generators are made in the child. Only the key of hash() stays shared: the order of a set of strings depends on it.
"""

import os
import sys


def reseed_generators() -> None:
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()  # the generator of the old functions; scipy and scikit-learn use it too
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()  # of the CPU; torch.seed() would touch devices too
    process = sys.modules.get("multiprocessing.process")
    if process is not None:  # the key for connections to managers and listeners
        process.current_process().authkey = os.urandom(32)
