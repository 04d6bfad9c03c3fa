"""Which probability a search's hits must reach, and how a bundle's calibration is found."""

from recsys.bundle.read import Bundle
from recsys.engine.search import Search
from recsys.engine.steps import steps_of
from recsys.errors import UsageError
from recsys.ranking.calibration import Calibration

NONE_YET = "train one with `recsys train calibration` and run `recsys index` again, or ask without a cut-off"


def find_calibration(bundle: Bundle | None) -> tuple[Calibration | None, str]:
    """The calibration of a bundle's cross-encoder; else None, and why there is none.

    Raises:
        BundleError: its file is damaged.
    """
    own = None if bundle is None else bundle.manifest.components.get("cross_encoder")
    if bundle is None or own is None:
        return None, "no cross-encoder"
    place = bundle.component("calibration")
    if place is None:
        return None, "the product-search model has none"
    found = Calibration.load(place)
    if found.cross_encoder != own.digest:
        return None, "it was fitted on another cross-encoder"
    return found, ""


def choose_cutoff(
    search: Search, stages: str, *, min_probability: float | None, good_only: bool | None
) -> float | None:
    """The least probability of a hit; None lets all pass.

    Args:
        search: whose calibration and policy count.
        stages: those that run.
        min_probability: asked for by the caller, 0 to 1.
        good_only: take the calibration's own cut-off; None follows the policy, where index and stages allow it.

    Raises:
        UsageError: a cut-off is asked for that makes no sense, or that this index or these stages can't keep.
    """
    own = None if search.calibration is None else search.calibration.cutoff
    if min_probability is None and good_only is None:
        follows = search.policy.good_only and "cross_encoder" in steps_of(stages) and own is not None
        return own.probability if follows and own is not None else None
    if min_probability is not None and good_only:
        raise UsageError("both a least probability and good_only", expected="one of them", action="leave one out")
    if min_probability is not None and not 0 <= min_probability <= 1:
        raise UsageError(f"a least probability of {min_probability:g}", expected="0 to 1", action="correct it")
    if min_probability is None and not good_only:
        return None
    check_stages(search, stages)
    if min_probability is not None:
        return min_probability
    if own is None:
        raise UsageError(
            "good matches alone, but the calibration of this index has no cut-off that keeps its promise",
            expected="a cut-off that the held-out queries bear out",
            action="name a least probability, or train the calibration for a larger irrelevant_share",
        )
    return own.probability


def check_stages(search: Search, stages: str) -> None:
    """Refuse a cut-off where hits have no probability."""
    if search.calibration is None:
        why = search.absent.get("calibration", search.absent.get("cross-encoder", "not built"))
        raise UsageError(
            f"a cut-off by probability, but this index has no calibration ({why})",
            expected="a calibrated cross-encoder",
            action=NONE_YET,
        )
    if "cross_encoder" not in steps_of(stages):
        raise UsageError(
            f"a cut-off by probability with stages `{stages}`",
            expected="stages with the cross-encoder",
            action="ask for stages `full`, or leave the cut-off out",
        )
