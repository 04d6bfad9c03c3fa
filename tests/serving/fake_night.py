"""A night whose children and registry are fakes, for the tests of its order, its gate and its reasons."""

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from feature_store.config import load_config
from feature_store.manifest import Manifest, Split
from recsys.engine.manifest import MANIFEST, IndexManifest, stored_files
from recsys.errors import RegistryError
from recsys.settings import Settings
from serving.job import NightlyJob
from serving.nightly import Nightly
from serving.processes import NewProcess
from serving.stages import Stages

CHILD = """
import json, os, shutil, sys
from pathlib import Path
home, log, arguments = Path(os.environ["RECSYS_HOME"]), Path(sys.argv[1]), sys.argv[2:]
log.open("a").write(" ".join(arguments) + "\\n")
snapshot = home / "snapshots" / json.loads((home / "manifest.json").read_text())["snapshot_id"]
if arguments[0] == "features":
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / "manifest.json").write_text((home / "manifest.json").read_text())
    report = {"snapshot": str(snapshot)}
elif arguments[0] == "index":
    shutil.copytree(home / "built", home / "indexes" / "sample" / "one", dirs_exist_ok=True)
    index = home / "indexes" / "sample" / "one"
    (index.parent / "current.json").write_text(json.dumps({"path": str(index)}))
    histories = home / "online" / "sample" / "generation-g1"
    histories.mkdir(parents=True, exist_ok=True)
    for name, content in (("data.mdb", "x"), ("size", "1")):
        (histories / name).write_text(content)
    (home / "online" / "sample" / "current").write_text("g1")
    report = {"index": str(index), "digest": "d1", "shop": "sample", "histories": "g1", "live": True}
elif (home / "fails" / arguments[1]).is_file():
    print((home / "fails" / arguments[1]).read_text())
    sys.exit(1)
elif (home / "reports" / arguments[1]).is_file():
    report = json.loads((home / "reports" / arguments[1]).read_text())
elif arguments[0] == "evaluate":
    report = json.loads((home / "measured.json").read_text())
elif arguments[:2] == ["batch", "run"]:
    report = {"night": arguments[5], "rows": 7}
else:
    report = {"quarantine": None, "tiers": json.loads((home / "tiers.json").read_text())}
print(json.dumps(report))
"""
TIERS = ("lexical", "relevance", "popularity", "behavioural", "personalised")
EVENING = datetime(2024, 3, 1, 20, tzinfo=UTC)


@dataclass
class Shelf:
    """A registry that holds one version for each alias."""

    aliases: dict[tuple[str, str], Any] = field(default_factory=dict)
    bundles: dict[str, dict[str, str]] = field(default_factory=dict)
    measured: dict[str, dict[str, float]] = field(default_factory=dict)
    history: list[Any] = field(default_factory=list)
    place: Path = Path("nowhere")
    learned_over: dict[str, str] = field(default_factory=dict)
    blended: dict[str, str] = field(default_factory=dict)
    anew: str = ""

    def put(self, kind: str, alias: str, digest: str, components: dict[str, str]) -> None:
        self.aliases[kind, alias] = self.version(kind, 1, digest=digest, components=components)

    def version(self, kind: str, number: int, *, digest: str, components: dict[str, str]) -> Any:
        self.bundles[digest] = components
        name = f"sample.{kind}"
        tags = {"components": ",".join(components)}
        made = SimpleNamespace(uri=f"models:/{name}/{number}", name=name, kind=kind, shop="sample", digest=digest)
        made.tags, made.metrics = tags, {}
        self.history.insert(0, made)
        return made

    def versions(self, name: str) -> list[Any]:
        return [version for version in self.history if version.name == name]

    def find(self, kind: str, *, shop: str, alias: str = "champion") -> Any:
        return self.aliases.get((kind, alias))

    def fetch(self, version: Any) -> Any:
        of = self.bundles[version.digest]
        components = {
            name: SimpleNamespace(snapshot=snapshot, digest=f"{name} of {snapshot}", config={})
            for name, snapshot in of.items()
        }
        if "two_tower" in components and self.anew:
            components["two_tower"].config["learned_anew"] = self.anew
        if "calibration" in components:
            read = {name: f"{name} of {of[name]}" for name in ("text_encoder", "image_tower") if name in of}
            components["calibration"].config.update(read | {"cross_encoder": f"cross_encoder of {of['calibration']}"})
        if "blender" in components:
            over = {name: f"{name} of {snapshot}" for name, snapshot in self.learned_over.items()}
            components["blender"].config.update(over)
        if "recommend_blender" in components:
            components["recommend_blender"].config["learned_over"] = self.blended
        return SimpleNamespace(
            manifest=SimpleNamespace(components=components),
            component=lambda name: self.place / name if name in components else None,
        )

    def measure(self, version: Any, metrics: dict[str, float]) -> None:
        self.measured[version.uri] = metrics


@dataclass
class Steps:
    """Promotes whatever the rule lets through."""

    registry: Shelf
    taken: list[str] = field(default_factory=list)

    def bootstrap(self, kind: str, *, shop: str, allowed: bool) -> None:
        if not allowed:
            raise RegistryError("no champion, bootstrap is false", expected="a champion", action="run `recsys promote`")
        self.taken.append(kind)
        self.registry.aliases[kind, "champion"] = self.registry.aliases.pop((kind, "challenger"))

    def promote(self, version: Any, *, by: str, reason: str, approved_by: str) -> None:
        self.taken.append(f"{version.uri} by {approved_by}: {reason}")
        self.registry.aliases[version.kind, "champion"] = version


@dataclass
class Night:
    """One shop and everything around it."""

    home: Path
    shelf: Shelf
    steps: Steps

    def manifest(self, *, day: datetime | None = EVENING, snapshot: str = "s1", users: int = 300) -> None:
        manifest = Manifest.model_construct(
            format_version=1,
            snapshot_id=snapshot,
            shop="sample",
            currency=None,
            max_grade=3.0,
            timestamps="calendar" if day else "order",
            split=Split(kind="time"),
            counts={"users": users},
            watermark=day,
            as_of=None,
            quarantine={},
            unknown_columns={},
            sources={},
            files={},
            settings={},
            versions={},
        )
        (self.home / "manifest.json").write_text(manifest.model_dump_json())

    def tiers(self, *reached: str) -> None:
        (self.home / "tiers.json").write_text(json.dumps([tier(name, name in reached) for name in TIERS]))

    def measured(self, low: float) -> None:
        interval = {"mean": low, "low": low, "high": low}
        told = {"metrics": {"ndcg@10": 0.1}, "difference": {"ndcg@10": interval}}
        body = {"protocol": "p", "metrics": {"ndcg@10": 0.2}, "baselines": {"bm25": told, "popularity": told}}
        (self.home / "measured.json").write_text(json.dumps(body))

    def job(self, **options: Any) -> NightlyJob:
        return NightlyJob(**{"shop": self.home / "shop", "out": self.home / "out"} | options)

    def run(self, **options: Any) -> dict[str, Any]:
        (self.home / "log").unlink(missing_ok=True)
        settings = Settings(home=self.home, tracking_uri="sqlite:///x")
        stages = Stages(
            folder=self.home / "stages",
            settings=settings,
            announce=lambda line: None,
            runner=NewProcess((sys.executable, str(self.home / "child.py"), str(self.home / "log"))),
        )
        return Nightly(
            job=self.job(**options),
            settings=settings,
            config=load_config(self.home / "shop"),
            stages=stages,
            promotions=self.steps,  # type: ignore[arg-type]
        ).run()

    def calls(self) -> list[str]:
        return [" ".join(line.split()[:2]) for line in (self.home / "log").read_text().splitlines()]

    def lines(self) -> list[str]:
        return (self.home / "log").read_text().splitlines()


def tier(name: str, supported: bool) -> dict[str, Any]:
    return {"name": name, "supported": supported}


def build_folder(folder: Path) -> None:
    """The least that counts as a whole index."""
    folder.mkdir()
    (folder / "catalogue.parquet").write_bytes(b"PAR1")
    manifest = IndexManifest(shop="sample", catalogue_digest="c", products=1, files=stored_files(folder))
    (folder / MANIFEST).write_text(manifest.model_dump_json())


def new_night(folder: Path) -> Night:
    """A shop's first evening: every tier is supported, and two challengers stand in the registry."""
    (folder / "shop").mkdir()
    (folder / "shop" / "shop.toml").write_text('name = "sample"\n')
    (folder / "child.py").write_text(CHILD)
    build_folder(folder / "built")
    shelf = Shelf()
    night = Night(home=folder, shelf=shelf, steps=Steps(shelf))
    night.manifest()
    night.tiers(*TIERS)
    night.measured(0.1)
    shelf.put("product-search", "challenger", "ps1", {})
    shelf.put("recommender", "challenger", "re1", {})
    return night
