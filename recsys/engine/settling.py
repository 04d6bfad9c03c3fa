"""What the later stages add to the first products of a ranking."""

import numpy as np

from recsys.engine.policy import SearchPolicy
from recsys.engine.ranked import Ranked, ordered
from recsys.ranking.calibration import Calibration
from recsys.ranking.feedback import feedback
from recsys.types import Scores, Vectors


def settle(ranked: Ranked, relevance: Scores, *, policy: SearchPolicy, calibration: Calibration | None) -> Ranked:
    """Add the cross-encoder's part to the first products, and their probabilities where its scores have a meaning.

    Args:
        ranked: a ranking by the first stages.
        relevance: float32 [count], the cross-encoder's scores of its first products, 0..1.
        policy: the cross-encoder's weight.
        calibration: what the scores mean; None where nobody has measured it.
    """
    count = len(relevance)
    part = np.zeros(len(ranked.positions), dtype=np.float32)
    part[:count] = np.float32(policy.cross_encoder) * relevance
    chances = None
    if calibration is not None:
        chances = np.full(len(ranked.positions), np.nan, dtype=np.float32)
        chances[:count] = calibration.of_scores(relevance)
    parts = {**ranked.parts, "cross_encoder": part}
    return ordered(ranked.positions, parts, sources=ranked.sources, probabilities=chances)


def listen(ranked: Ranked, vectors: Vectors, *, policy: SearchPolicy) -> Ranked:
    """Add what the first products say of one another; see `recsys.ranking.feedback`.

    Args:
        ranked: a settled ranking.
        vectors: float32 [count, width], of its first products.
        policy: the feedback's weight and temperature.
    """
    count = len(vectors)
    found = feedback(ranked.scores[:count], vectors, temperature=policy.feedback_temperature)
    part = np.zeros(len(ranked.positions), dtype=np.float32)
    part[:count] = np.float32(policy.feedback) * found.clip(min=0)
    parts = {**ranked.parts, "feedback": part}
    return ordered(ranked.positions, parts, sources=ranked.sources, probabilities=ranked.probabilities)
