"""The names under which stages of a search are asked for, and what each does beyond BM25."""

from collections.abc import Mapping, Sequence

from recsys.errors import UsageError

STEPS: Mapping[str, tuple[str, ...]] = {
    "bm25": (),
    "hybrid": ("dense",),
    "full": ("dense", "cross_encoder"),
    "blended": ("dense", "cross_encoder", "blender"),
}
"""What a search does beyond BM25, by the name of its stages; other choices are named "bm25+cross_encoder" and so on."""
STAGES = ("bm25", "dense", "hybrid", "full", "blended")


def steps_of(stages: str) -> tuple[str, ...]:
    """What stages of this name do beyond BM25; nothing for "dense", which stands alone."""
    return STEPS.get(stages, tuple(stages.split("+")[1:]))


def name_of(steps: Sequence[str], *, present: Sequence[str], available: Sequence[str]) -> str:
    """The name of the stages that do just these steps.

    Args:
        steps: in the order of a search.
        present: the steps that the index can do; a name's other steps are passed over.
        available: the names that may be asked for, the most complete last.
    """
    known = {name: [step for step in STEPS[name] if step in present] for name in available if name in STEPS}
    named = [name for name, wanted in known.items() if wanted == list(steps)]
    return named[-1] if named else "+".join(("bm25", *steps))


def check_stages(stages: str, *, available: Sequence[str], absent: Mapping[str, str]) -> str:
    """The name, where it may be asked for.

    Args:
        stages: as asked for.
        available: what this index can do.
        absent: by stage, why it isn't there.

    Raises:
        UsageError: there are no such stages, or this index does not have them.
    """
    if stages not in STAGES:
        raise UsageError(f"stages `{stages}`", expected=f"one of {', '.join(STAGES)}", action="correct the name")
    if stages not in available:
        missing = {"full": "cross-encoder", "blended": "blender"}.get(stages, "dense")
        raise UsageError(
            f"stages `{stages}`, but this index has no {missing} stage ({absent.get(missing, 'not built')})",
            expected=f"one of {', '.join(available)}",
            action="ask for these, or train the stage and run `recsys index` again",
        )
    return stages
