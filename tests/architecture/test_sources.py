"""What every source file keeps to."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("recsys", "feature_store", "training", "serving")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST = 400
FORBIDDEN = {
    *("reco", "recos", "doc", "docs", "prod", "prods", "obj", "objs", "util", "utils"),
    *("helper", "helpers", "manager", "managers", "misc"),
}
PICKLING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
# bases that bring an interface or a framework's own machinery, no code of ours
OUTSIDE_BASES = {
    *(
        "Protocol",
        "Generic",
        "NamedTuple",
        "TypedDict",
        "StrEnum",
        "Enum",
        "IntEnum",
        "Exception",
        "AssertionError",
        "BaseModel",
    ),
    *("nn.Module", "LightningModule", "LightningDataModule", "L.LightningModule", "L.LightningDataModule"),
    *("Dataset", "IterableDataset", "Sampler", "Callback", "Logger", "ProgressBar", "TyperGroup", "dy.Schema"),
    *("dy.Collection", "BaseSettings", "threading.Thread", "logging.Handler"),
}
# our own classes that may be derived from: errors, schemas and settings carry no behaviour
PLAIN_BASES = {"RecsysError", "Line", "BaseModel", "Exception", "dy.Schema"}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def test_words_splits_names() -> None:
    assert words("DocHTTPManager_utils2") == {"doc", "http", "manager", "utils"}
    assert not words("document_product_objective_producer") & FORBIDDEN


@pytest.mark.parametrize("file", [file for file in FILES if file.name == "__init__.py"], ids=name_of)
def test_init_files_hold_a_docstring_and_nothing_else(file: Path) -> None:
    tree = parsed(file)
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


def test_tests_have_no_init_files() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_files_stay_short() -> None:
    lengths = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES + TESTS}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_names_use_the_projects_words() -> None:
    found = [
        f"{name_of(file)}: {name}"
        for file in FILES
        for name in (file.stem, file.parent.name, *defined(parsed(file)))
        if words(name) & FORBIDDEN
    ]
    assert found == []


def test_nothing_is_pickled() -> None:
    found = []
    for file in FILES:
        for node in ast.walk(parsed(file)):
            names = {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom):
                names = {(node.module or "").split(".")[0]}
            loads = isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "torch.save")
            unsafe = isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
            if names & PICKLING or loads or unsafe:
                found.append(f"{name_of(file)}:{getattr(node, 'lineno', '?')}")
    assert found == []


def test_classes_are_composed_not_inherited() -> None:
    """Only a framework's base, an error, a schema or settings may be derived from, and a protocol by a protocol."""
    classes = [(file, node) for file in FILES for node in ast.walk(parsed(file)) if isinstance(node, ast.ClassDef)]
    bases = {node.name: {ast.unparse(base) for base in node.bases} for _, node in classes}
    found = []
    for file, node in classes:
        for base in bases[node.name]:
            bare = base.split("[")[0]
            plain = bare in PLAIN_BASES or bool(bases.get(bare, set()) & PLAIN_BASES)
            extends = "Protocol" in bases[node.name] and "Protocol" in bases.get(bare, {"Protocol"})
            if bare not in OUTSIDE_BASES and not plain and not extends:
                found.append(f"{name_of(file)}: {node.name}({base})")
    assert found == []
