"""Which process of a distributed run this is."""

import os


def main_process() -> bool:
    """True in the first (or only) process of a run: the one that reports, registers and prints."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))
