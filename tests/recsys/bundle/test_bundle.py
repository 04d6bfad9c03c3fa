"""A bundle opens as it was written, and nothing that was done to it since goes unnoticed."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import storage
from recsys.bundle.manifest import MANIFEST, ComponentInfo, manifest_text, safe_path, seal
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.errors import BundleError

WEIGHTS = "cross_encoder/model.safetensors"


@pytest.fixture
def component(tmp_path: Path) -> Path:
    folder = tmp_path / "component"
    (folder / "inner").mkdir(parents=True)
    (folder / "config.json").write_text('{"layers": 2}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    np.save(folder / "inner" / "factors.npy", np.arange(6.0))
    return folder


@pytest.fixture
def bundle(tmp_path: Path, component: Path) -> Bundle:
    return write(tmp_path / "bundle", component)


def write(folder: Path, component: Path, **changes: object) -> Bundle:
    info = ComponentInfo(
        name="cross_encoder", snapshot="s1", metrics={"ndcg@10": 0.7}, config={"lr": 1e-4}, parts=["train"]
    )
    given_fields = {
        "kind": "product-search",
        "shop": "acme",
        "components": {"cross_encoder": (component, info)},
        "policy": {"order": ["cross_encoder"]},
        "snapshot": "s1",
        "config": {"epochs": 2},
    }
    return write_bundle(folder, **(given_fields | changes))  # type: ignore[arg-type]


def reseal(folder: Path, **changes: object) -> None:
    """Change the manifest and seal it again, as a forger would."""
    fields = json.loads((folder / MANIFEST).read_text()) | changes
    fields["digest"] = seal(fields)
    (folder / MANIFEST).write_text(manifest_text(fields))


def test_a_bundle_opens_as_it_was_written(bundle: Bundle) -> None:
    opened = Bundle.open(bundle.path)
    assert opened == bundle
    assert (opened.kind, opened.shop, opened.manifest.snapshot) == ("product-search", "acme", "s1")
    assert opened.component("cross_encoder") == bundle.path / "cross_encoder"
    assert opened.component("text_encoder") is None
    assert opened.catalogue is None
    assert len(opened.manifest.git_commit) >= 7
    assert "torch" in opened.manifest.libraries
    assert len(opened.digest) == 64


def test_a_carried_component_keeps_its_digest(tmp_path: Path, bundle: Bundle) -> None:
    info = bundle.manifest.components["cross_encoder"]
    folder = bundle.component("cross_encoder")
    again = write(tmp_path / "again", folder, components={"cross_encoder": (folder, info)}) if folder else None
    assert again is not None
    assert again.manifest.components["cross_encoder"] == info


def test_a_carried_component_that_changed_is_refused(tmp_path: Path, component: Path, bundle: Bundle) -> None:
    info = bundle.manifest.components["cross_encoder"]
    (component / "config.json").write_text('{"layers": 3}')
    with pytest.raises(BundleError, match="cross_encoder with files of digest"):
        write(tmp_path / "again", component, components={"cross_encoder": (component, info)})
    assert not (tmp_path / "again").exists()


def test_a_recommender_carries_its_products(tmp_path: Path, component: Path) -> None:
    catalogue = tmp_path / "catalogue.parquet"
    catalogue.write_bytes(b"products")
    parts = {"popularity": (component, ComponentInfo(name="popularity"))}
    bundle = write(tmp_path / "b", component, kind="recommender", components=parts, catalogue=catalogue)
    assert bundle.catalogue is not None
    assert Bundle.open(bundle.path).catalogue == bundle.catalogue
    assert bundle.catalogue.read_bytes() == b"products"


@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_is_named(tmp_path_factory: pytest.TempPathFactory, place: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("changed")
    component = folder / "component"
    component.mkdir()
    (component / "model.safetensors").write_bytes(b"weights" * 9)
    bundle = write(folder / "bundle", component)
    names = [*bundle.manifest.files, MANIFEST]
    victim = bundle.path / names[place % len(names)]
    content = bytearray(victim.read_bytes())
    content[place % len(content)] ^= flip
    victim.write_bytes(content)
    with pytest.raises(BundleError, match=re.escape(victim.name)) as caught:
        Bundle.open(bundle.path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named_without_hashing(bundle: Bundle) -> None:
    victim = bundle.path / WEIGHTS
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"model\.safetensors has 2047 bytes; expected 2048 bytes"):
        Bundle.open(bundle.path, verify=False)


def test_a_missing_file_is_named(bundle: Bundle) -> None:
    (bundle.path / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=f"{WEIGHTS} missing"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("extra", ["extra.json", "cross_encoder/model.pkl", ".hidden"])
def test_an_extra_file_is_named(bundle: Bundle, extra: str) -> None:
    (bundle.path / extra).write_text("x")
    with pytest.raises(BundleError, match=extra):
        Bundle.open(bundle.path)


def test_a_link_is_refused(bundle: Bundle) -> None:
    victim = bundle.path / WEIGHTS
    victim.rename(bundle.path.parent / "elsewhere")
    victim.symlink_to(bundle.path.parent / "elsewhere")
    with pytest.raises(BundleError, match="no plain file"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd.txt", "a/../../b.json", "cross_encoder//x.json"])
def test_a_path_that_leaves_the_folder_is_refused(bundle: Bundle, name: str) -> None:
    files = json.loads((bundle.path / MANIFEST).read_text())["files"]
    reseal(bundle.path, files=files | {name: files[WEIGHTS]})
    with pytest.raises(BundleError, match="plain data files inside"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 2}, "format version 2; expected format version 1"),
        ({"kind": "oracle"}, "kind `oracle`"),
        ({"components": {}}, "belongs to no component"),
        ({"surprise": 1}, "unreadable"),
        ({"digest_of": 3, "files": []}, "unreadable"),
    ],
)
def test_a_forged_manifest_is_refused(bundle: Bundle, changes: dict[str, object], said: str) -> None:
    reseal(bundle.path, **changes)
    with pytest.raises(BundleError, match=said):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b'{"format_version": 1}'])
def test_garbage_instead_of_a_manifest_is_one_line(bundle: Bundle, content: bytes) -> None:
    (bundle.path / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=MANIFEST) as caught:
        Bundle.open(bundle.path)
    assert "\n" not in str(caught.value)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no manifest"):
        Bundle.open(tmp_path)


def test_a_component_of_the_other_kind_is_refused(bundle: Bundle, tmp_path: Path, component: Path) -> None:
    with pytest.raises(BundleError, match="no component `als`"):
        bundle.component("als")
    with pytest.raises(BundleError, match="component `als`"):
        write(tmp_path / "b", component, components={"als": (component, ComponentInfo(name="als"))})
    with pytest.raises(BundleError, match="bundle kind `oracle`"):
        write(tmp_path / "b", component, kind="oracle")


@pytest.mark.parametrize("name", ["model.pkl", "pytorch_model.bin", "weights.pt", "run.sh", ".hidden.json"])
def test_formats_that_can_run_code_never_get_in(tmp_path: Path, component: Path, name: str) -> None:
    (component / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=name):
        write(tmp_path / "b", component)
    assert not (tmp_path / "b").exists()


def test_links_never_get_in(tmp_path: Path, component: Path) -> None:
    (component / "link.json").symlink_to(component / "config.json")
    with pytest.raises(BundleError, match="no plain file"):
        write(tmp_path / "b", component)


def test_a_full_disk_leaves_the_old_bundle(
    tmp_path: Path, component: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    monkeypatch.setattr(storage, "sync_file", full)
    with pytest.raises(OSError, match="No space left"):
        write(bundle.path, component, snapshot="s2")
    assert Bundle.open(bundle.path) == bundle
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "component"]


def test_a_killed_writer_leaves_no_bundle(tmp_path: Path, component: Path) -> None:
    target = tmp_path / "killed" / "bundle"
    code = f"""
import os, signal
from pathlib import Path
from recsys import storage
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.write import write_bundle
storage.sync_file = lambda path: os.kill(os.getpid(), signal.SIGKILL)
write_bundle(Path({str(target)!r}), kind="product-search", shop="", policy={{}}, snapshot="", config={{}},
             components={{"cross_encoder": (Path({str(component)!r}), ComponentInfo(name="cross_encoder"))}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert all(path.name.startswith(storage.PARTIAL) for path in target.parent.iterdir())
    storage.sweep(target.parent)
    assert list(target.parent.iterdir()) == []
    assert write(target, component).path == target


@pytest.mark.parametrize(
    ("path", "safe"),
    [("a/b.json", True), ("a.npy", True), ("a", False), ("a/./b.json", False), ("a\\b.json", False), ("", False)],
)
def test_safe_paths(path: str, safe: bool) -> None:
    assert safe_path(path) is safe
