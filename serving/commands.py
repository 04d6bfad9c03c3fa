"""Signatures of the commands that answer one question; what is heavy is imported when a command runs."""

from typing import Annotated

import typer

from feature_store.options import Home, Log, Machine, Online
from recsys.cli.output import emit_json
from recsys.errors import UsageError
from recsys.settings import load_settings
from serving.options import (
    Available,
    Brand,
    Category,
    CategoryDepth,
    Diversity,
    Exclude,
    InStock,
    PerBrand,
    PerCategory,
    PriceBand,
    PriceMax,
    PriceMin,
    ReturnDays,
    ReturnHalfLife,
    ReturnInterval,
    Shop,
    filters,
    shape,
)

Hits = Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="At most so many products.")]


def search(
    query: Annotated[str, typer.Argument(help='What the shopper types, as "blue velvet sofa".')],
    *,
    k: Hits = 10,
    brand: Brand = None,
    category: Category = None,
    price_min: PriceMin = None,
    price_max: PriceMax = None,
    in_stock: InStock = None,
    exclude: Exclude = None,
    stages: Annotated[
        str | None, typer.Option(help="bm25, dense, hybrid or full; the most complete that there is if left out.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Show what was read in the query, what each stage adds to a score, and the words behind it.",
        ),
    ] = False,
    explain_hits: Annotated[
        int | None,
        typer.Option(
            "--explain-hits", min=1, max=20, help="As --explain, with the words of so many first hits (else of 3)."
        ),
    ] = None,
    correct: Annotated[
        bool, typer.Option("--correction/--no-correction", help="Search for what mistyped words most likely mean.")
    ] = True,
    min_probability: Annotated[
        float | None, typer.Option(min=0, max=1, help="Show nothing that is a good match with a lower probability.")
    ] = None,
    good_only: Annotated[
        bool | None, typer.Option("--good-only/--all", help="Show good matches alone, by the model's own cut-off.")
    ] = None,
    shop: Shop = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Search the shop's products by words.

    Needs an index: `recsys demo`, `recsys nightly` and `recsys index` make one.
    Words may be joined by AND, OR and NOT, and "quoted words" stand together. Where nothing is a good match, the answer
    says so and what to ask instead.
    """
    from recsys.engine.searcher import ATTRIBUTED
    from serving.answers import report
    from serving.opening import open_live
    from serving.show import show_answer

    engine = open_live(load_settings(home=home), shop=shop)
    allowed = filters(
        brand=brand,
        category=category,
        price_min=price_min,
        price_max=price_max,
        in_stock=in_stock,
        exclude=exclude,
    )
    explain = explain or explain_hits is not None
    answer = engine.search(
        [query],
        k=k,
        filters=allowed,
        explain="tokens" if explain else False,
        explain_hits=explain_hits or ATTRIBUTED,
        stages=stages,
        correct=correct,
        min_probability=min_probability,
        good_only=good_only,
    )[0]
    found = report(engine, answer, query=query)
    if machine:
        emit_json(found)
    else:
        show_answer(found, title=f"“{query}”", explain=explain)


def recommend(
    user: Annotated[str | None, typer.Argument(help="The user's id; without one give --viewed.")] = None,
    *,
    viewed: Annotated[
        list[str] | None,
        typer.Option("--viewed", help="A product that the shopper has just looked at, oldest first; repeatable."),
    ] = None,
    k: Hits = 20,
    brand: Brand = None,
    category: Category = None,
    price_min: PriceMin = None,
    price_max: PriceMax = None,
    in_stock: InStock = None,
    exclude: Exclude = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="The moment to recommend for, with its zone, as 2026-03-01T12:00:00Z; else now."),
    ] = None,
    repeats: Annotated[
        bool | None, typer.Option("--repeats/--no-repeats", help="May bought products come back; else the model says.")
    ] = None,
    diversity: Diversity = None,
    per_category: PerCategory = None,
    per_brand: PerBrand = None,
    category_depth: CategoryDepth = None,
    price_band: PriceBand = None,
    available: Available = None,
    return_days: ReturnDays = None,
    return_interval: ReturnInterval = None,
    return_half_life: ReturnHalfLife = None,
    shop: Shop = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Recommend products to a known user, to an anonymous shopper by what was looked at, or to a user by both."""
    from serving.answers import report, session
    from serving.moments import asked_moment, parse_moment, wall_clock
    from serving.opening import open_live
    from serving.schemas import SessionEvent
    from serving.show import show_answer

    if user is None and not viewed:
        raise UsageError(
            "neither a user nor --viewed",
            expected="one of them, or both",
            action="give a user's id, or --viewed PRODUCT for an anonymous shopper",
        )
    moment = asked_moment(parse_moment(at), clock=wall_clock)
    engine = open_live(load_settings(home=home), shop=shop)
    allowed = filters(
        brand=brand,
        category=category,
        price_min=price_min,
        price_max=price_max,
        in_stock=in_stock,
        exclude=exclude,
    )
    wishes = shape(
        diversity=diversity,
        per_category=per_category,
        per_brand=per_brand,
        category_depth=category_depth,
        price_band=price_band,
        available=available,
        return_days=return_days,
        return_interval=return_interval,
        return_half_life=return_half_life,
    )
    now = session([[SessionEvent(product_id=product) for product in viewed or ()]])
    if user is not None:
        running = now if viewed else None
        answer = engine.recommend(
            [user], sessions=running, at=[moment], k=k, filters=allowed, repeats=repeats, shape=wishes
        )[0]
        found, title = report(engine, answer, user_id=user), f"for user {user}"
    else:
        answer = engine.recommend_histories(now, at=[moment], k=k, filters=allowed, repeats=repeats, shape=wishes)[0]
        found, title = report(engine, answer), "for an anonymous shopper"
    if machine:
        emit_json(found)
    else:
        show_answer(found, title=title)


def similar(
    product: Annotated[str, typer.Argument(help="The product's id.")],
    *,
    k: Hits = 10,
    brand: Brand = None,
    category: Category = None,
    price_min: PriceMin = None,
    price_max: PriceMax = None,
    in_stock: InStock = None,
    exclude: Exclude = None,
    shop: Shop = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """List the products nearest to a given one."""
    from serving.answers import report
    from serving.opening import open_live
    from serving.show import show_answer

    engine = open_live(load_settings(home=home), shop=shop)
    allowed = filters(
        brand=brand,
        category=category,
        price_min=price_min,
        price_max=price_max,
        in_stock=in_stock,
        exclude=exclude,
    )
    found = report(engine, engine.similar([product], k=k, filters=allowed)[0], product_id=product)
    if machine:
        emit_json(found)
    else:
        show_answer(found, title=f"like {product}")


def serve(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks for a newer index.")] = 2.0,
    max_batch: Annotated[int, typer.Option(min=1, max=1024, help="Concurrent calls answered together.")] = 32,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Hash every file before an index answers, about a second for each gigabyte; else only lengths are "
            "compared.",
        ),
    ] = True,
    log_features: Annotated[
        float | None,
        typer.Option(
            "--log-features",
            min=0,
            max=1,
            help="The share of answers of /v1/features that is logged for `recsys table parity`; 0 logs none, "
            "`[online] log_share` of the shop.toml that was published counts if left out.",
        ),
    ] = None,
    shop: Shop = None,
    log: Log = None,
    online: Online = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Start the online service; /docs describes its routes.

    A newer index is taken over while it runs; no request is lost. Ctrl-C or SIGTERM ends it when open requests are
    answered.
    """
    from serving.server import run_server

    settings = load_settings(home=home, event_log=log, online_store=online)
    run_server(
        settings,
        shop=shop,
        host=host,
        port=port,
        interval=interval,
        max_batch=max_batch,
        verify=verify,
        machine=machine,
        log_features=log_features,
    )
