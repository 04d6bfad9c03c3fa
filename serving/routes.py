"""The routes under /v1: requests become calls to the engine, gathered by the micro-batcher."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from fastapi import APIRouter

from recsys.types import Answer
from serving.answers import details, session
from serving.batcher import MicroBatcher
from serving.live import Answering, LiveIndex
from serving.moments import Clock, asked_moment, wall_clock
from serving.rerank_schemas import RerankRequest, RerankResponse, RerankResult, TextDocument
from serving.schemas import (
    AnswerResponse,
    FailureResponse,
    RankRequest,
    RecommendRequest,
    SearchRequest,
    SimilarRequest,
)
from serving.telemetry import Telemetry

FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": FailureResponse, "description": "The body is no JSON, or names what the catalogue has not."},
    413: {"model": FailureResponse, "description": "The body is too large."},
    422: {"model": FailureResponse, "description": "A field is missing, of the wrong type or beyond its limit."},
    503: {
        "model": FailureResponse,
        "description": "No index is loaded, a disk fails, or too many calls wait.",
    },
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What every route needs: the live engine, the batcher in front of it, the measuring, and the time."""

    live: LiveIndex
    batcher: MicroBatcher
    telemetry: Telemetry
    clock: Clock = wall_clock

    async def ask(
        self,
        route: str,
        options: Hashable,
        call: Callable[[Answering, list[Any]], Sequence[Answer]],
        item: object,
        *,
        fields: Sequence[str],
    ) -> AnswerResponse:
        """One item's answer; calls of one route with equal options share a batch, and a batch has one engine."""

        def answer(items: list[object]) -> list[tuple[Answering, Answer]]:
            engine = self.live.engine
            return [(engine, one) for one in call(engine, items)]

        engine, one = await self.batcher.submit((route, options), answer, item)
        self.telemetry.answer(route, one.rung)
        return AnswerResponse.of(one, describe=partial(details, engine, fields=fields))


def routes(desk: Desk) -> APIRouter:
    """The /v1 routes over one desk."""
    router = APIRouter(prefix="/v1", responses=FAILURES)
    add_search(router, desk)
    add_recommend(router, desk)
    add_rerank(router, desk)
    return router


def add_search(router: APIRouter, desk: Desk) -> None:
    """The routes that begin with a query."""

    @router.post("/search", summary="Find products by words", response_model_exclude_none=True)
    async def search(body: SearchRequest) -> AnswerResponse:
        k, filters, explain, stages = body.k, body.filters.filters(), body.explain, body.stages
        correct, least, good_only = body.correct, body.min_probability, body.good_only
        words = body.explain_hits
        return await desk.ask(
            "search",
            (k, filters, explain, words, stages, correct, least, good_only),
            lambda engine, queries: engine.search(
                queries,
                k=k,
                filters=filters,
                explain=explain,
                explain_hits=words,
                stages=stages,
                correct=correct,
                min_probability=least,
                good_only=good_only,
            ),
            body.query,
            fields=body.fields,
        )

    @router.post("/rank", summary="Order your products for a query", response_model_exclude_none=True)
    async def rank(body: RankRequest) -> AnswerResponse:
        return await desk.ask(
            "rank",
            body.k,
            lambda engine, asked: engine.rank([query for query, _ in asked], [ids for _, ids in asked], k=body.k),
            (body.query, body.product_ids),
            fields=body.fields,
        )


def add_recommend(router: APIRouter, desk: Desk) -> None:
    """The routes that begin with a shopper or a product."""

    @router.post("/recommend", summary="Recommend to a user or a session", response_model_exclude_none=True)
    async def recommend(body: RecommendRequest) -> AnswerResponse:
        k, filters, repeats, shape = body.k, body.filters.filters(), body.repeats, body.shape.shape()
        asked = (k, filters, repeats, shape.model_dump_json(exclude_unset=True))
        at = asked_moment(body.at, clock=desk.clock)
        if body.user_id is not None and body.events:
            return await desk.ask(
                "recommend",
                ("user in a session", *asked),
                lambda engine, shoppers: engine.recommend(
                    [user for user, _, _ in shoppers],
                    sessions=session([events for _, events, _ in shoppers]),
                    at=[moment for _, _, moment in shoppers],
                    k=k,
                    filters=filters,
                    repeats=repeats,
                    shape=shape,
                ),
                (body.user_id, body.events, at),
                fields=body.fields,
            )
        if body.user_id is not None:
            return await desk.ask(
                "recommend",
                ("user", *asked),
                lambda engine, users: engine.recommend(
                    [user for user, _ in users],
                    at=[moment for _, moment in users],
                    k=k,
                    filters=filters,
                    repeats=repeats,
                    shape=shape,
                ),
                (body.user_id, at),
                fields=body.fields,
            )
        return await desk.ask(
            "recommend",
            ("session", *asked),
            lambda engine, shoppers: engine.recommend_histories(
                session([events for events, _ in shoppers]),
                at=[moment for _, moment in shoppers],
                k=k,
                filters=filters,
                repeats=repeats,
                shape=shape,
            ),
            (body.events or [], at),
            fields=body.fields,
        )

    @router.post("/similar", summary="Find products like one", response_model_exclude_none=True)
    async def similar(body: SimilarRequest) -> AnswerResponse:
        k, filters = body.k, body.filters.filters()
        return await desk.ask(
            "similar",
            (k, filters),
            lambda engine, products: engine.similar(products, k=k, filters=filters),
            body.product_id,
            fields=body.fields,
        )


def add_rerank(router: APIRouter, desk: Desk) -> None:
    """The route in the shape of the common rerank clients: texts come with the request, no catalogue is asked."""

    @router.post("/rerank", summary="Order texts for a query", response_model_exclude_none=True)
    async def rerank(body: RerankRequest) -> RerankResponse:
        identity = uuid4().hex

        def answer(requests: list[RerankRequest]) -> list[tuple[str, list[float]]]:
            engine = desk.live.engine
            scores = [engine.score_texts(request.query, request.texts()) for request in requests]
            return [(engine.model_version, [float(score) for score in row]) for row in scores]

        model, scores = await desk.batcher.submit(("rerank",), answer, body)
        order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))[: body.top_n]
        texts = body.texts() if body.return_documents else []
        results = [
            RerankResult(
                index=index,
                relevance_score=scores[index],
                document=TextDocument(text=texts[index]) if body.return_documents else None,
            )
            for index in order
        ]
        return RerankResponse(id=identity, model=model, results=results)
