"""A registry of its own for each test, and bundles small enough to register in a moment."""

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.cli.app import main
from recsys.registry.client import Registry
from recsys.registry.version import Version
from recsys.settings import Settings, load_settings
from recsys.tracking import Tracker

MakeBundle = Callable[..., Bundle]
MakeVersion = Callable[..., Version]
Run = Callable[..., tuple[int, str, str]]


def listen(server: "subprocess.Popen[str]") -> threading.Thread:
    """Wait until a web server says that it has started, and go on reading what it says."""
    assert server.stdout is not None
    said: list[str] = []
    for line in server.stdout:
        said.append(line)
        if "startup complete" in line:
            break
    else:
        pytest.fail("".join(said))
    listener = threading.Thread(target=server.stdout.read)
    listener.start()
    return listener


@pytest.fixture
def installation(tmp_path: Path) -> Settings:
    """The settings of a fresh home folder whose name needs quoting."""
    return load_settings(home=tmp_path / "home of ünit")


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Write a bundle without weights; `content` makes its digest."""

    def make(content: str = "{}", *, kind: str = "product-search", shop: str = "") -> Bundle:
        name = "cross_encoder" if kind == "product-search" else "popularity"
        source = tmp_path / "components" / name
        source.mkdir(parents=True, exist_ok=True)
        (source / "config.json").write_text(content)
        info = ComponentInfo(name=name, snapshot="5a9", parts=["train"], config={"content": content})
        folder = tmp_path / "bundles" / f"{kind}{shop}{abs(hash(content))}"
        return write_bundle(
            folder, kind=kind, shop=shop, components={name: (source, info)}, policy={}, snapshot="5a9", config={}
        )

    return make


@pytest.fixture
def make_version(installation: Settings, make_bundle: MakeBundle) -> MakeVersion:
    """Register a bundle."""
    registry, tracker = Registry(installation), Tracker(installation)

    def make(
        content: str = "{}", *, kind: str = "product-search", shop: str = "", alias: str = "", **metrics: float
    ) -> Version:
        with tracker.run("test", name="make") as run:
            bundle = make_bundle(content, kind=kind, shop=shop)
            version = registry.register(bundle, run_id=run.id, metrics=metrics)
        if alias:
            registry.set_alias(version, alias)
        return registry.version(version.name, version.version)

    return make


@pytest.fixture
def run(installation: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("RECSYS_HOME", str(installation.home))
    monkeypatch.setattr("recsys.logs.setup_logging", lambda *, verbose: None)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def report(answer: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = answer
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found
