"""Which process of a distributed run this is."""

import os

PLACES = ("RANK", "LOCAL_RANK", "NODE_RANK")


def main_process() -> bool:
    """True in the first (or only) process of a run: the one that reports, registers and prints."""
    return all(os.environ.get(name, "0") == "0" for name in PLACES)


def process_name() -> str:
    """Another one in each process of a run, for files that each writes for itself."""
    return "-".join(os.environ.get(name, "0") for name in PLACES)
