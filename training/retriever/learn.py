"""One run of the retriever: from examples to an encoder, and from an encoder to a shorter one."""

from pathlib import Path

from recsys.models.encode import Precision, encode_texts, infer
from recsys.models.text_encoder import TextEncoder
from recsys.models.truncation import Truncation, fit_truncation
from recsys.text.tokenizer import TextTokenizer
from recsys.types import Scores
from training.fit import FitResult, fit, seed_all
from training.metric_log import MetricLog
from training.relevance.module import mean_ndcg
from training.retriever.config import RetrieverConfig
from training.retriever.examples import Examples, Judged, loaders
from training.retriever.module import RetrieverModule


def learn(
    train: Examples,
    judged: Judged | None,
    *,
    config: RetrieverConfig,
    start: Path,
    work: Path,
    run: MetricLog | None = None,
    stop_after: int = 0,
) -> tuple[TextEncoder, FitResult]:
    """One run from the start's weights, at their whole width; arguments as in `training.relevance.learn.learn`."""
    seed_all(config.seed)
    network = TextEncoder.load(start, layers=config.layers)
    network.max_length = config.max_length
    network.truncation = None
    first, second, steps = loaders(train, judged, tokenizer=TextTokenizer.load(start), config=config)
    module = RetrieverModule(network, config=config, steps=steps, examples=train, judged=judged)
    result = fit(
        module,
        train=first,
        validation=second,
        config=config,
        folder=work,
        log=run,
        monitor="validation/ndcg@10" if judged is not None else "",
        stop_after=stop_after,
    )
    return network.eval(), result


def truncate(
    network: TextEncoder, tokenizer: TextTokenizer, texts: list[str], *, config: RetrieverConfig
) -> dict[str, float]:
    """Make the network's vectors as short as the settings say.

    Args:
        network: changed in place.
        tokenizer: of the network.
        texts: of the catalogue, whose vectors a projection keeps best.
        config: dimensions, truncation and precision are read.

    Returns:
        The vectors' dimensions, and the share of their squared length that a projection loses; none where they stay.
    """
    if config.dimensions is None:
        return {}
    if config.truncation == "prefix":
        network.truncation, lost = Truncation(config.dimensions), {}
    else:
        vectors = encode_texts(network, tokenizer, texts, precision=config.precision, label="vectors to project")
        centred = config.truncation == "centred-pca"
        network.truncation, share = fit_truncation(vectors, dimensions=config.dimensions, centred=centred)
        lost = {"projection.lost": share}
    return {"dimensions": float(config.dimensions), **lost}


def cosines(network: TextEncoder, tokenizer: TextTokenizer, judged: Judged, *, precision: Precision = "auto") -> Scores:
    """float32 [pairs]: the cosine of each judged pair's vectors by an encoder."""
    queries, products = (
        infer(network, tokenizer, texts, precision=precision) for texts in (judged.queries, judged.products)
    )
    found: Scores = (queries[judged.query] * products[judged.product]).sum(axis=1)
    return found


def cosine_ndcg(
    network: TextEncoder, tokenizer: TextTokenizer, judged: Judged, *, precision: Precision = "auto"
) -> float:
    """NDCG@10 of the judged pairs by the cosine of an encoder's vectors."""
    scores = cosines(network, tokenizer, judged, precision=precision)
    return mean_ndcg(judged.query, judged.grades, scores)
