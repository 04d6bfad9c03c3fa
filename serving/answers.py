"""Between people's words and the engine's: sessions in, the catalogue's columns out."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from recsys.errors import UsageError
from recsys.types import EVENT_CODES, Answer, Histories, Hit
from serving.live import Answering
from serving.schemas import AnswerResponse, SessionEvent

SHOWN = ("title", "brand", "category", "price", "currency")


def details(engine: Answering, hits: Sequence[Hit], *, fields: Sequence[str]) -> list[dict[str, Any]] | None:
    """The catalogue's columns of each hit; None where none were asked for."""
    if not fields:
        return None
    frame = engine.catalogue.frame
    unknown = [name for name in fields if name not in frame.columns]
    if unknown:
        raise UsageError(
            f"no column {', '.join(map(repr, unknown))} in the catalogue",
            expected=f"some of {', '.join(frame.columns)}",
            action="correct `fields`",
        )
    rows = engine.catalogue.positions([hit.product_id for hit in hits])
    return frame.select(list(dict.fromkeys(fields)))[rows].fill_nan(None).to_dicts()


def session(events: Sequence[Sequence[SessionEvent]]) -> Histories:
    """Anonymous shoppers' events as histories; their order stands for their time."""
    flat = [event for shopper in events for event in shopper]
    return Histories(
        offsets=np.cumsum([0, *map(len, events)], dtype=np.int64),
        product_ids=tuple(event.product_id for event in flat),
        timestamps=np.array([number for shopper in events for number in range(len(shopper))], dtype=np.int64),
        event_types=np.array([EVENT_CODES[event.event_type] for event in flat], dtype=np.int8),
        segments=("",) * len(events),
    )


def report(engine: Answering, answer: Answer, **asked: str) -> dict[str, Any]:
    """An answer as a JSON report, with what was asked and what people want to see of each product."""
    shown = [name for name in SHOWN if name in engine.catalogue.frame.columns]
    describe = partial(details, engine, fields=shown)
    return asked | AnswerResponse.of(answer, describe=describe).model_dump(mode="json", exclude_none=True)
