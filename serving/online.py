"""The route that reads features as of this moment, and how the online store does."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, Field

from feature_store.online.watch import Watch
from feature_store.online_features.follow import Follower
from feature_store.online_features.store import OnlineFeatures
from feature_store.point_in_time.definitions import Entity
from feature_store.served_log.writer import ServedWriter
from recsys.errors import RecsysError, StorageError, UsageError
from serving.schemas import FailureResponse, Moment, closed

MAX_KEYS = 1_000
MAX_PART = 2_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": FailureResponse, "description": "No feature of that entity or name, or an instant that is past."},
    422: {"model": FailureResponse, "description": "A field is missing, of the wrong type or beyond its limit."},
    503: {"model": FailureResponse, "description": "Nothing is published, or the online store does not answer."},
}
Part = Annotated[str, Field(max_length=MAX_PART)]


class FeaturesRequest(BaseModel):
    """Whose features are wanted."""

    model_config = closed({"entity": "product", "keys": ["P000012", "P000042"]})

    entity: Annotated[
        Entity, Field(description="user, product, query; or pairs: user_product, query_product, follow.")
    ] = "product"
    keys: Annotated[
        list[Part | list[Part]],
        Field(max_length=MAX_KEYS, description="Ids or queries; of pairs both parts, as [user, product]."),
    ]
    features: Annotated[list[str], Field(description="Names; all that are published if left out.")] = []
    at: Annotated[Moment | None, Field(description="The instant, not before the newest event; now if left out.")] = None


class FeaturesResponse(BaseModel):
    """Features in the order of the keys asked for."""

    entity: Entity
    at: Annotated[datetime, Field(description="The instant as of which they are.")]
    features: Annotated[list[str], Field(description="The names, in the order of the values.")]
    values: Annotated[list[list[float | None]], Field(description="A list for each key; null where nothing is known.")]


@dataclass(slots=True)
class OnlineDesk:
    """What the service has of an online store.

    Attributes:
        histories: how the store of histories does.
        features: of the shop; None where the service has none.
        follower: lets them follow the event log; None likewise.
        served: takes a sample of what is answered; None where nothing is logged.
    """

    histories: Watch
    features: OnlineFeatures | None = None
    follower: Follower | None = None
    served: ServedWriter | None = None

    @property
    def behind(self) -> float:
        """Events that the features do not know yet."""
        return 0.0 if self.follower is None else float(self.follower.behind)

    def failures(self) -> dict[str, RecsysError | None]:
        """By part why it does not answer; None where it did when it was asked last."""
        follows = {} if self.follower is None else {"features": self.follower.failure}
        return {"histories": self.histories.failure, **follows}

    def start(self) -> None:
        """Begin to follow the events, and to log what is served."""
        if self.follower is not None:
            self.follower.start()
        if self.served is not None:
            self.served.start()

    def close(self) -> None:
        """End both."""
        if self.follower is not None:
            self.follower.close()
        if self.served is not None:
            self.served.close()


def online_routes(desk: OnlineDesk) -> APIRouter:
    """The route over one desk."""
    router = APIRouter(prefix="/v1", responses=FAILURES)

    @router.post("/features", summary="Read features as of this moment")
    async def features(body: FeaturesRequest) -> FeaturesResponse:
        """Features of many keys in one call: what a training row at this moment would get.

        An event that `/v1/events` acknowledged is in them within a second.
        """
        return await asyncio.to_thread(answer, desk, body)

    return router


def answer(desk: OnlineDesk, body: FeaturesRequest) -> FeaturesResponse:
    """What the features of the desk say.

    Raises:
        StorageError: there are none, or the store does not answer.
        UsageError: no feature of that entity or name is published, or the instant is past.
    """
    if desk.features is None:
        raise StorageError(
            "no online features", expected="a service that has them", action="start it by `recsys serve`"
        )
    keys = [(key,) if isinstance(key, str) else tuple(key) for key in body.keys]
    now = None if body.at is None else (min(body.at, LATEST) - EPOCH) // timedelta(microseconds=1)
    found = desk.features.read(body.entity, keys, now=now)
    if unknown := [name for name in body.features if name not in found.names]:
        raise UsageError(
            f"no feature {', '.join(unknown)} of {body.entity}",
            expected=f"some of {', '.join(found.names)}",
            action="correct `features`",
        )
    if body.features:
        found = found.only(body.features)
    if desk.served is not None and now is None:  # of an instant to come nobody knows yet what will be known by then
        desk.served.note(found)
    values = found.values.astype(object)
    values[np.isnan(found.values)] = None
    return FeaturesResponse(
        entity=body.entity,
        at=EPOCH + timedelta(microseconds=found.now),
        features=list(found.names),
        values=values.tolist(),
    )
