"""What tests ask of processes that are not their children."""

import psutil


def runs(pid: int) -> bool:
    """A zombie does not: whoever adopted it may take its time, or never look, as the first process of a container."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
