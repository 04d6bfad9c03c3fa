"""Learning from teachers: losses by hand, logits computed once, pairs that teachers grade alone, the student."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import infer, score_pairs
from recsys.models.ensemble import CrossEncoderEnsemble, member_folders
from recsys.models.layers import keep_layers
from recsys.testing.tiny import tiny_backbone as tiny_backbone_of
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from tests.command import recsys
from tests.training.commands import options
from training.batches import FILLING
from training.relevance import teacher as teaching
from training.relevance.config import RelevanceConfig
from training.relevance.cut_points import CutPoints
from training.relevance.data import product_texts
from training.relevance.distillation import soft_cross_entropy, squared_difference, taught
from training.relevance.learn import learn, new_network
from training.relevance.members import learn_members
from training.relevance.module import Pairs
from training.relevance.objective import GROUPED, objective
from training.relevance.sources import Reader, Sources
from training.relevance.teacher import Teachers
from training.relevance.transfer import WORD, title_queries, unjudged_pairs

LN2 = np.log(2)


def config_of(backbone: Path, **values: object) -> RelevanceConfig:
    given = {"precision": "fp32", "max_length": 24, "freeze_embeddings": False, "backbone": str(backbone)}
    return RelevanceConfig.model_validate(given | values)


@pytest.fixture(scope="module")
def teacher(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder that has learned the small shop's training part."""
    folder = tmp_path_factory.mktemp("teacher")
    config = config_of(tiny_backbone, epochs=40, learning_rate=0.01, batch_size=16, dropout=0.0)
    reader = Reader(small_snapshot, Sources(), TextTokenizer.load(tiny_backbone), config, folder)
    pairs = reader.pairs("train")
    assert pairs is not None
    learn(pairs, None, config=config, start=tiny_backbone, work=folder / "work").save(folder / "component")
    return folder / "component"


def test_losses_by_hand() -> None:
    """At T = 2 logits of 2 and 0 are 1 and 0; the cross-entropy of a half at 0 is ln 2."""
    zero, even = torch.tensor([0.0]), torch.tensor([0.0])
    assert soft_cross_entropy(zero, even).item() == pytest.approx(LN2)
    assert soft_cross_entropy(zero, even, temperature=2.0).item() == pytest.approx(4 * LN2)
    wanted = 1 / (1 + np.exp(-1.0))
    by_hand = 4 * -(wanted * np.log(wanted) + (1 - wanted) * np.log(1 - wanted))
    same = torch.tensor([2.0], requires_grad=True)
    loss = soft_cross_entropy(same, torch.tensor([2.0]), temperature=2.0)
    assert loss.item() == pytest.approx(by_hand)
    loss.backward()
    assert same.grad is not None
    assert same.grad.item() == pytest.approx(0.0, abs=1e-7)
    assert squared_difference(torch.tensor([1.0, -1.0]), torch.tensor([3.0, -1.0])).item() == pytest.approx(2.0)


def batch_of(weights: list[float], *, groups: list[int] | None = None) -> dict[str, torch.Tensor]:
    count = len(weights)
    return {
        "targets": torch.ones(count),
        "grades": torch.ones(count),
        "groups": torch.tensor(groups or [0] * count),
        "weights": torch.tensor(weights),
        "teacher": torch.zeros(count),
        "rows": torch.arange(count),
    }


def test_the_mixture_by_hand() -> None:
    """Both terms are ln 2 at a score of 0; a pair without a grade counts in the teachers' term alone."""
    scores = torch.zeros(2)
    for share, weights, wanted in (
        (0.25, [1.0, 1.0], LN2),
        (0.25, [1.0, 0.0], (0.75 * 0.5 + 0.25) * LN2),
        (0.25, [0.0, 0.0], 0.25 * LN2),
        (1.0, [1.0, 1.0], LN2),
        (0.0, [1.0, 1.0], LN2),
    ):
        config = RelevanceConfig(teachers=("t",), teacher_weight=share)
        both = taught(objective("graded"), config=config)
        assert both(scores, batch_of(weights)).item() == pytest.approx(wanted)


@pytest.mark.parametrize("loss", ["graded", "ordinal", *GROUPED])
def test_filling_and_ungraded_pairs_change_no_own_loss(loss: str) -> None:
    config = RelevanceConfig.model_validate({"loss": loss, "teachers": ["t"], "teacher_weight": 0.0})
    own = objective(config.loss, cuts=CutPoints({0: 3.0}) if loss == "ordinal" else None)
    both = taught(own, config=config)
    scores = torch.tensor([0.3, -0.2, 1.0, 0.0])
    batch = batch_of([1.0, 1.0, 1.0, 1.0], groups=[0, 0, 0, FILLING]) | {"grades": torch.tensor([0.0, 1.0, 3.0, 3.0])}
    batch["targets"] = batch["grades"] / 3
    batch["shops"] = torch.zeros(4, dtype=torch.int64)
    kept = {key: value[:3] for key, value in batch.items()}
    assert both(scores, batch).item() == pytest.approx(own(scores[:3], kept).item())
    batch["weights"] = torch.tensor([1.0, 1.0, 0.0, 1.0])
    kept = {key: value[:2] for key, value in batch.items()}
    assert both(scores, batch).item() == pytest.approx(2 / 3 * own(scores[:2], kept).item())


def test_teachers_read_each_their_fields_and_are_averaged(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    tokenizer = TextTokenizer.load(tiny_backbone)
    folders = []
    for seed, fields in ((0, ("title",)), (1, ("title", "description"))):
        network = new_network(config_of(tiny_backbone, seed=seed, fields=fields), tiny_backbone)
        network.save(tmp_path / str(seed))
        tokenizer.save(tmp_path / str(seed))
        folders.append(tmp_path / str(seed))
    judgments = small_snapshot.judgments("train")
    teachers = Teachers(tuple(folders), tmp_path / "cache", "fp32")
    found = teachers.logits(small_snapshot, judgments)
    alone = []
    for folder in folders:
        network = CrossEncoder.load(folder)
        texts = product_texts(small_snapshot, judgments, fields=network.fields)
        alone.append(score_pairs(network, tokenizer, judgments["query"].to_list(), texts, precision="fp32"))
    assert found == pytest.approx(np.mean(alone, axis=0), abs=1e-6)
    assert found.dtype == np.float32


def test_logits_are_computed_once_and_a_killed_run_goes_on(
    small_snapshot: Snapshot, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the second chunk, the next run scores from there; a third scores nothing."""
    judgments, scored = small_snapshot.judgments("train"), []
    size = len(judgments) // 3 + 1
    whole = Teachers((teacher,), tmp_path / "other", "fp32").logits(small_snapshot, judgments)
    monkeypatch.setattr(teaching, "CHUNK", size)
    stop_at = 2

    def score(*given: object, **options: object) -> np.ndarray:
        scored.append(len(given[2]))  # type: ignore[arg-type]
        if len(scored) == stop_at:
            raise KeyboardInterrupt
        return score_pairs(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(teaching, "score_pairs", score)
    teachers = Teachers((teacher,), tmp_path / "cache", "fp32")
    with pytest.raises(KeyboardInterrupt):
        teachers.logits(small_snapshot, judgments)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert teachers.logits(small_snapshot, judgments) == pytest.approx(whole, abs=1e-6)
    assert len(scored) == 2 + 2
    assert teachers.logits(small_snapshot, judgments) == pytest.approx(whole, abs=1e-6)
    assert len(scored) == 4
    Teachers((teacher,), tmp_path / "cache", "bf16").logits(small_snapshot, judgments.head(3))
    assert len(scored) == 5


def test_unjudged_pairs_are_of_the_training_queries_and_not_judged(small_snapshot: Snapshot, tmp_path: Path) -> None:
    judgments = small_snapshot.judgments("train")
    pairs = unjudged_pairs(small_snapshot, judgments, count=15, work=tmp_path)
    assert not pairs.is_empty()
    assert set(pairs["query"]) <= set(judgments["query"])
    assert pairs.join(judgments, on=["query_id", "product_id"]).is_empty()
    assert pairs.select("query_id", "product_id").is_unique().all()
    assert pairs.group_by("query_id").len()["len"].max() <= 15  # type: ignore[operator]
    known = set(small_snapshot.catalogue().product_ids)
    assert set(pairs["product_id"]) <= known
    assert list(tmp_path.iterdir()) == []


def test_transfer_pairs_weigh_nothing_in_the_grades_loss(
    small_snapshot: Snapshot, tiny_backbone: Path, teacher: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_backbone, teachers=(str(teacher),), transfer=12)
    reader = Reader(small_snapshot, Sources(teachers=(teacher,)), TextTokenizer.load(tiny_backbone), config, tmp_path)
    pairs = reader.pairs("train")
    assert pairs is not None
    count = len(small_snapshot.judgments("train"))
    assert len(pairs) > count
    assert pairs.weights[:count].mean() == pytest.approx(1.0)
    assert not pairs.weights[count:].any()
    assert not set(pairs.queries[:count]) & set(pairs.queries[count:])
    assert pairs.teacher is not None
    network = CrossEncoder.load(teacher)
    assert pairs.teacher == pytest.approx(
        infer(network, TextTokenizer.load(teacher), pairs.tokens, precision="fp32"), abs=1e-5
    )


def test_made_up_queries_are_spans_of_titles_and_never_a_judged_query(small_snapshot: Snapshot) -> None:
    made = title_queries(small_snapshot, count=400, seed=3)
    assert made.equals(title_queries(small_snapshot, count=400, seed=3))
    assert not made.equals(title_queries(small_snapshot, count=400, seed=4))
    assert made["query"].is_unique().all()
    assert made["query_id"].str.starts_with("title:").all()
    judged = {normalise(query) for query in small_snapshot.judgments()["query"]}
    assert not judged & set(made["query"])
    shown = [" ".join(WORD.findall(normalise(title))) for title in small_snapshot.catalogue().frame["title"]]
    most = min(4, max(len(title.split()) for title in shown))
    assert set(made["query"].str.split(" ").list.len()) == set(range(1, most + 1))
    titles = " | ".join(shown)
    assert all(query in titles for query in made["query"])
    assert title_queries(small_snapshot, count=0, seed=3).is_empty()


def test_made_up_queries_stand_behind_the_judged_ones(
    small_snapshot: Snapshot, tiny_backbone: Path, teacher: Path, tmp_path: Path
) -> None:
    """Each with the products BM25 finds for it, and no grade."""
    counts = []
    for titles in (0, 9):
        config = config_of(tiny_backbone, teachers=(str(teacher),), transfer=5, transfer_titles=titles)
        sources = Sources(teachers=(teacher,))
        pairs = Reader(small_snapshot, sources, TextTokenizer.load(tiny_backbone), config, tmp_path).pairs("train")
        assert pairs is not None
        counts.append((len(pairs), np.count_nonzero(pairs.weights), len(np.unique(pairs.queries))))
    made = title_queries(small_snapshot, count=9, seed=0)
    assert counts[1][2] - counts[0][2] == len(made)
    assert counts[1][1] == counts[0][1]
    assert len(made) <= counts[1][0] - counts[0][0] <= 5 * len(made)


@pytest.mark.parametrize("kind", ["cross-entropy", "mse"])
def test_a_student_learns_its_teacher_without_grades(
    kind: str, small_snapshot: Snapshot, tiny_backbone: Path, teacher: Path, tmp_path: Path
) -> None:
    """Queries never graded, pairs that BM25 found: the student's logits come close to the teacher's."""
    config = config_of(
        tiny_backbone,
        epochs=25,
        learning_rate=0.01,
        batch_size=32,
        dropout=0.0,
        teachers=(str(teacher),),
        teacher_loss=kind,
        teacher_weight=1.0,
        transfer=15,
        label_share=0.0,
    )
    reader = Reader(small_snapshot, Sources(teachers=(teacher,)), TextTokenizer.load(tiny_backbone), config, tmp_path)
    pairs = reader.pairs("train")
    assert pairs is not None
    assert not pairs.weights.any()
    learned = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path / "work")
    before, after = (
        infer(network, reader.tokenizer, pairs.tokens, precision="fp32")
        for network in (new_network(config, tiny_backbone), learned.network)
    )
    assert pairs.teacher is not None
    errors = [np.abs(scores - pairs.teacher).mean() for scores in (before, after)]
    assert errors[1] < 0.5 * errors[0]


def test_a_student_by_the_command(
    small_snapshot: Snapshot, tiny_backbone: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher is an ensemble that another run registered; the student keeps a layer of it."""
    arguments = ["train", "relevance", small_snapshot.path, "--json"]
    done = recsys(capsys, *arguments, "-o", tmp_path / "ensemble", *options(tiny_backbone, "epochs=1", "members=2"))
    assert done.code == 0, done.err
    assert sorted(done.report["metrics"])[-2:] == ["validation/member.ndcg@10", "validation/ndcg@10"]
    assert isinstance(CrossEncoderEnsemble.load(tmp_path / "ensemble" / "cross_encoder").members[1], CrossEncoder)
    more = [f"teachers={done.report['uri']} {teacher}", "teacher_weight=0.9", "transfer=5", "loss=listnet", "epochs=2"]
    done = recsys(capsys, *arguments, "-o", tmp_path / "student", *options(tiny_backbone, *more))
    assert done.code == 0, done.err
    network = CrossEncoder.load(tmp_path / "student" / "cross_encoder")
    assert network.backbone.layers == 1


def test_a_student_starts_from_layers_of_an_ensemble_s_member(tmp_path: Path) -> None:
    """Layers 0, 2 and 5 of six and the head; a start with no more layers than asked for stays whole."""
    backbone = tiny_backbone_of(tmp_path / "backbone", seed=0, layers=6)
    tokenizer, folder = TextTokenizer.load(backbone), tmp_path / "ensemble"
    members = [new_network(config_of(backbone, seed=seed), backbone) for seed in (0, 1)]
    CrossEncoderEnsemble(members).save(folder)
    for place in (folder, *member_folders(folder)):
        tokenizer.save(place)
    config = config_of(backbone, layers=3, layer_choice="spaced", epochs=1, learning_rate=1e-12, dropout=0.0)
    tokens = tokenizer.encode(["red sofa", "lamp"], pairs=["sofa", "a lamp"])
    pairs = Pairs(tokens, np.ones(2, np.float32), np.ones(2, np.float32), np.zeros(2, np.int64), 1.0)
    (student,) = learn_members(pairs, None, config=config, start=folder, work=tmp_path / "work").learned
    wanted = members[0]
    keep_layers(wanted.backbone, 3, choice="spaced")
    scores = [infer(network, tokenizer, tokens, precision="fp32") for network in (student.network, wanted)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    student.save(tmp_path / "student")
    assert new_network(config, tmp_path / "student").backbone.layers == 3
    assert new_network(config_of(backbone, layers=5), tmp_path / "student").backbone.layers == 3


def test_wrong_uses_are_one_line(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting, message in (
        ("transfer=5", "transfer without teachers"),
        (f"teachers={tmp_path}", "manifest.json"),
        ("replay=0.5", "replay without a model"),
        ("label_share=0", "nothing to learn a cross-encoder from"),
        ("members=0", "members"),
    ):
        done = recsys(capsys, "train", "relevance", small_snapshot.path, *options(tiny_backbone, setting))
        assert done.code in (1, 2), setting
        assert len(done.lines) == 1, done.err
        assert message in done.err


def test_a_frame_of_no_pairs_has_no_logits(small_snapshot: Snapshot, teacher: Path, tmp_path: Path) -> None:
    nothing = small_snapshot.judgments("train").clear()
    assert isinstance(nothing, pl.DataFrame)
    assert Teachers((teacher,), tmp_path, "fp32").logits(small_snapshot, nothing).shape == (0,)
