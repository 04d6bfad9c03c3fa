"""The straight line for real: one small night through the command line, then everything that stands on it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from recsys.cli.app import main
from recsys.registry.client import Registry
from recsys.settings import load_settings

pytestmark = pytest.mark.timeout(1800)

RECSYS = (sys.executable, "-m", "recsys")
BLOCKED = "import sys\nfor name in {names!r}:\n    sys.modules[name] = None\nfrom recsys.cli.app import main\nmain()\n"


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        report: dict[str, Any] = json.loads(self.out)
        return report

    def refusal(self, code: int = 1) -> str:
        """The error line; nothing that looks like a trace stands beside it."""
        assert self.code == code, self.out + self.err
        assert "Traceback" not in self.err
        (line,) = (text for text in self.err.splitlines() if text.startswith("error: "))
        return line


@dataclass(frozen=True)
class Line:
    """A shop, its state folder, and what the first night said."""

    home: Path
    shop: Path
    out: Path
    report: dict[str, Any]

    def copy(self, tmp_path: Path) -> Path:
        """A state folder of one's own, with the index pointing into it."""
        home = tmp_path / "home"
        shutil.copytree(self.home, home)
        for path in [*home.rglob("current.json"), *(home / "indexes").rglob("manifest.json")]:
            path.write_text(path.read_text().replace(str(self.home), str(home)))
        return home


def start(*arguments: str, home: Path, program: tuple[str, ...] = RECSYS) -> Done:
    """A command in a process of its own."""
    done = subprocess.run(
        [*program, *arguments],
        env={**os.environ, "RECSYS_HOME": str(home), "OMP_NUM_THREADS": "1"},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def call(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """A command in this process."""

    def command(*arguments: str, home: Path, server: str = "") -> Done:
        monkeypatch.setenv("RECSYS_HOME", str(home))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server or f"sqlite:///{home / 'mlflow.db'}")
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        out, err = capsys.readouterr()
        return Done(int(left.value.code or 0), out, err)

    return command


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    base = tmp_path_factory.mktemp("line")
    home, shop, out = base / "home", base / "shop", base / "nights"
    assert start("sample", str(shop), "--products", "300", "--users", "250", home=home).code == 0
    report = start("nightly", str(shop), "-o", str(out), "--k", "5", *ONLY, "--json", home=home).report
    return Line(home=home, shop=shop, out=out, report=report)


ONLY = ("--only", "popularity", "--only", "item-knn", "--only", "als")


def test_the_night_serves_every_user(line: Line) -> None:
    batch = line.report["batch"]
    rows = pl.read_parquet(Path(batch["path"]) / "*.parquet")
    users = pl.read_parquet(line.shop / "users.parquet")["user_id"]
    assert set(rows["user_id"]) == set(users)
    assert rows.group_by("user_id").len()["len"].unique().to_list() == [5]
    assert batch["rows"] == rows.height == 5 * len(users)
    assert sum(told["share"] for told in batch["rungs"].values()) == pytest.approx(1)
    assert batch["loyal_personal_share"] >= 0.95
    assert rows["model_version"].unique().to_list() == ["sample.recommender/3"]


def test_the_first_recommender_was_promoted_by_the_rule(line: Line, call: Any) -> None:
    told = line.report["models"]["recommender"]
    assert (told["step"], told["champion"]) == ("bootstrap", "models:/sample.recommender/3")
    assert told["gain_low"] > 0
    steps = call("history", "sample.recommender", "--json", home=line.home).report["steps"]
    assert [(step["action"], step["approved_by"]) for step in steps] == [("bootstrap", "bootstrap")]


def test_the_same_night_again_is_kept(line: Line, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_stages(line, monkeypatch)
    before = {path.name: path.read_bytes() for path in Path(line.report["batch"]["path"]).iterdir()}
    again = call("nightly", str(line.shop), "-o", str(line.out), "--k", "5", *ONLY, "--json", home=line.home).report
    assert again["trained"] == []
    kept = {one["stage"] for one in again["stages"] if one["resumed"]}
    assert {"validate", "doctor", "features", "index"} <= kept
    assert {path.name: path.read_bytes() for path in Path(again["batch"]["path"]).iterdir()} == before
    assert call("batch", "verify", str(line.out), "--json", home=line.home).report["verified"] is True


def test_a_stage_ends_with_the_night_that_is_killed(tmp_path: Path) -> None:
    child = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    stage = f"from recsys.cli import app; app.run = lambda *given: exec({child!r}); app.main(['validate'])"
    night = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage!r}], env={{'RECSYS_STAGE': 'x'}})"
    with subprocess.Popen([sys.executable, "-c", night], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        stage_id = int(killed.stdout.readline())
        killed.kill()
    assert until_gone(stage_id)


def test_a_stage_whose_night_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    done = subprocess.run(
        [*RECSYS, "validate", str(tmp_path)],
        env={**os.environ, "RECSYS_STAGE": "validate", "RECSYS_PARENT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == ""


def until_gone(process: int) -> bool:
    """True as soon as no such process runs; the pause is an event nobody sets."""
    never = threading.Event()
    for _ in range(6000):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        never.wait(0.01)
    return False


def keep_stages(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the checkout did not move since the first night, as it may where tests run in one."""
    record = json.loads((line.home / "nights" / "sample" / "stages" / "index.json").read_text())
    monkeypatch.setattr("serving.stages.git_commit", lambda: record["inputs"]["code"].split()[-1])


def test_questions_from_the_command_line(line: Line, call: Any) -> None:
    def ask(*arguments: str) -> dict[str, Any]:
        return call(*arguments, "--json", home=line.home).report  # type: ignore[no-any-return]

    products = pl.read_parquet(line.shop / "products.parquet").sort("product_id")
    title, product = str(products["title"][0]), str(products["product_id"][0])
    found = ask("search", title, "--k", "3")
    assert found["rung"] == "query"
    assert product in [hit["product_id"] for hit in found["hits"]]
    user = str(pl.read_parquet(line.shop / "users.parquet")["user_id"][0])
    night = pl.read_parquet(Path(line.report["batch"]["path"]) / "*.parquet").filter(pl.col("user_id") == user)
    answer = ask("recommend", user, "--k", "5")
    assert [hit["product_id"] for hit in answer["hits"]] == night["product_id"].to_list()
    assert ask("recommend", "nobody", "--k", "2")["rung"] == "popularity"
    assert ask("similar", product, "--k", "2")["hits"]
    people = call("search", title, "--explain", home=line.home)
    assert title.split(maxsplit=1)[0] in people.out
    assert "answered by" in people.out


@pytest.fixture
def service(line: Line) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """`recsys serve` as users start it, with the training libraries out of reach."""
    blocked = BLOCKED.format(names=["lightning", "pytorch_lightning", "implicit", "matplotlib", "scipy", "training"])
    with subprocess.Popen(
        [sys.executable, "-c", blocked, "serve", "--port", "0", "--json"],
        env={**os.environ, "RECSYS_HOME": str(line.home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read() if process.stderr else ""
        with httpx.Client(base_url=json.loads(first)["address"], timeout=60) as client:
            yield process, client
        process.kill()


def test_the_service_answers_like_the_command_line_and_ends_when_told(
    line: Line, call: Any, service: tuple[subprocess.Popen[str], httpx.Client]
) -> None:
    process, client = service
    assert client.get("/health/ready").json()["model_version"] == "sample.recommender/3"
    user = str(pl.read_parquet(line.shop / "users.parquet")["user_id"][0])
    products = pl.read_parquet(line.shop / "products.parquet").sort("product_id").head(3)
    ids, title = products["product_id"].to_list(), str(products["title"][0])
    known = client.post("/v1/recommend", json={"user_id": user, "k": 5}).json()
    asked = call("recommend", user, "--k", "5", "--json", home=line.home).report
    assert [hit["product_id"] for hit in known["hits"]] == [hit["product_id"] for hit in asked["hits"]]
    session = client.post("/v1/recommend", json={"events": [{"product_id": one} for one in ids], "k": 5}).json()
    assert session["rung"] in {"session", "popularity"}
    assert len(session["hits"]) == 5
    for body in ({}, {"user_id": "nobody"}, {"events": []}):
        assert client.post("/v1/recommend", json=body).json()["rung"] == "popularity"
    assert client.post("/v1/search", json={"query": title}).json()["rung"] == "query"
    assert client.post("/v1/rank", json={"query": title, "product_ids": ids}).json()["hits"][0]["product_id"] == ids[0]
    assert client.post("/v1/similar", json={"product_id": ids[0]}).json()["hits"]
    texts = [str(one) for one in products["title"]]
    ranked = client.post("/v1/rerank", json={"query": title, "documents": texts}).json()["results"]
    assert ranked[0]["index"] == 0
    only = {"only": ids, "price_max": 10**6}
    filtered = client.post("/v1/recommend", json={"user_id": user, "filters": only}).json()
    assert {hit["product_id"] for hit in filtered["hits"]} <= set(ids)
    assert 'recsys_stage_seconds_count{stage="bm25"}' in client.get("/metrics").text
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def test_no_faiss_is_one_line(line: Line) -> None:
    blocked = (sys.executable, "-c", BLOCKED.format(names=["faiss"]))
    assert "FAISS is not installed" in start("search", "sofa", home=line.home, program=blocked).refusal()


def test_a_bundle_with_a_changed_byte_is_refused(line: Line, tmp_path: Path, call: Any) -> None:
    home = line.copy(tmp_path)
    for weights in home.rglob("als/*.npy"):
        body = bytearray(weights.read_bytes())
        body[-1] ^= 1
        weights.write_bytes(bytes(body))
    assert ".npy" in call("recommend", "U0000000", home=home).refusal()


def test_an_index_from_another_bundle_is_refused(line: Line, tmp_path: Path, call: Any) -> None:
    home = line.copy(tmp_path)
    (live,) = (json.loads(path.read_text())["path"] for path in (home / "indexes").rglob("current.json"))
    manifest = json.loads((Path(live) / "manifest.json").read_text())
    manifest["bundles"]["recommender"]["digest"] = "0" * 64
    (Path(live) / "manifest.json").write_text(json.dumps(manifest))
    assert "no bundle 000000000000" in call("recommend", "U0000000", home=home).refusal()


def test_another_shops_model_is_refused(line: Line, tmp_path: Path, call: Any) -> None:
    shop = tmp_path / "other"
    shutil.copytree(line.shop, shop)
    (shop / "shop.toml").write_text('name = "other"\n[judgments]\nmax_grade = 3\n')
    home = line.copy(tmp_path)
    said = call("index", str(shop), "--recommender", "models:/sample.recommender/3", home=home).refusal()
    assert "sample" in said
    assert "other" in said


def test_no_champion_without_the_bootstrap_rule(
    line: Line, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, out = tmp_path / "shop", tmp_path / "nights"
    shutil.copytree(line.shop, shop)
    toml = (shop / "shop.toml").read_text()
    (shop / "shop.toml").write_text(f"{toml}\n[promotion]\nbootstrap = false\n")
    home = line.copy(tmp_path)
    registry = Registry(load_settings(home=home, tracking_uri=f"sqlite:///{home / 'mlflow.db'}"))
    third = registry.champion("recommender", shop="sample")
    registry.drop_alias(third.name, "champion")
    registry.set_alias(third, "challenger")
    keep_stages(line, monkeypatch)
    said = call("nightly", str(shop), "-o", str(out), "--train", "never", home=home).refusal()
    assert "promotion.bootstrap is false" in said
    assert "recsys promote models:/sample.recommender/3" in said
    assert not out.exists()


@pytest.mark.parametrize("command", [("index", "SHOP"), ("nightly", "SHOP", "-o", "OUT"), ("history", "recommender")])
def test_an_unreachable_server_is_one_line_and_the_live_index_stays(
    line: Line, tmp_path: Path, call: Any, command: tuple[str, ...]
) -> None:
    home = line.copy(tmp_path)
    places = {"SHOP": str(line.shop), "OUT": str(tmp_path / "nights")}
    before = [path.read_bytes() for path in (home / "indexes").rglob("current.json")]
    done = call(*(places.get(one, one) for one in command), home=home, server="http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in done.refusal()
    assert [path.read_bytes() for path in (home / "indexes").rglob("current.json")] == before


def test_answers_need_no_server(line: Line, call: Any) -> None:
    asked = call("recommend", "U0000000", "-k", "2", "--json", home=line.home, server="http://127.0.0.1:9")
    assert len(asked.report["hits"]) == 2


def test_a_full_disk_leaves_the_last_good_night(line: Line, tmp_path: Path, call: Any) -> None:
    out = tmp_path / "nights"
    shutil.copytree(line.out, out)
    before = files(out)
    limited = ("sh", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$0" "$@"', *RECSYS)
    assert "is full" in start("batch", "run", "-o", str(out), "--k", "40", home=line.home, program=limited).refusal()
    assert files(out) == before
    assert call("batch", "verify", str(out), home=line.home).code == 0


def files(folder: Path) -> dict[str, bytes]:
    """The content of every finished file."""
    found = (path for path in folder.rglob("[!.]*") if path.is_file())
    return {str(path): path.read_bytes() for path in found if not path.parent.name.startswith(".")}


@pytest.mark.parametrize(
    "command",
    [
        ("nightly", "SHOP", "-o", "OUT", "--engine", "ray"),
        ("nightly", "SHOP", "-o", "OUT", "--set", "epochs=3"),
        ("nightly", "SHOP", "-o", "OUT", "--date", "yesterday"),
        ("nightly", "SHOP"),
        ("nightly", "ABSENT", "-o", "OUT"),
        ("search",),
        ("search", "sofa", "--k", "0"),
        ("search", "sofa", "--stages", "fast"),
        ("recommend",),
        ("serve", "--port", "99999"),
    ],
)
def test_wrong_usage_ends_with_two(line: Line, call: Any, command: tuple[str, ...]) -> None:
    places = {"SHOP": str(line.shop), "OUT": str(line.out), "ABSENT": str(line.home / "absent")}
    done = call(*(places.get(one, one) for one in command), home=line.home)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
