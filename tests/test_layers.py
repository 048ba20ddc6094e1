"""The house rules, read from the source: who imports whom, and what is never written."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEVELS = {
    "errors": 0,
    "model": 1,
    "text": 1,
    "training": 2,
    "generation": 2,
    "inspection": 2,
    "hub": 2,
    "runs": 3,
    "ui": 4,
}
SIDE = "figures"  # knows nobody but errors; known to ui alone
COMMANDS = ("__main__", "commands")  # may use everything below ui
SOURCES = [
    ROOT / "app.py",
    *sorted((ROOT / "gpt2demo").rglob("*.py")),
    *sorted((ROOT / "assets").rglob("*.py")),
]
PAGE = [p for p in sorted((ROOT / "gpt2demo" / "ui").rglob("*")) if p.suffix in (".py", ".js")]


def imported(source: str, package: str = "gpt2demo") -> Iterator[str]:
    """Every module that this source imports, dotted; also by import_module("…") and __import__("…")."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _name(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            yield from (
                a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
            )


def _name(node: ast.AST) -> str:
    """The dotted name of `torch.load` and the like; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


def import_faults(path: str, source: str) -> list[str]:
    """What this file (path from the root, with /) imports and must not."""
    parts = path.removesuffix(".py").split("/")
    package = ".".join(parts[:-1])
    room = "app" if parts[0] == "app" else "" if parts[0] != "gpt2demo" else parts[1]
    faults = []
    for module in imported(source, package):
        top, _, rest = module.partition(".")
        reason = _own_fault(room, rest.split(".")[0]) if top == "gpt2demo" else _foreign_fault(room, top)
        if reason:
            faults.append(f"{path} imports {module}: {reason}")
    return faults


def _own_fault(room: str, other: str) -> str | None:
    if room in ("", "app") or room == other or (room == "__init__" and other == "errors"):
        return None
    if other in COMMANDS:
        return None if room in COMMANDS else "nobody uses the command line"
    if other not in LEVELS and other != SIDE:
        return "no room of that name in DESIGN.md"
    if other == SIDE:
        return None if room == "ui" else "only ui uses figures"
    if room == SIDE:
        return None if other == "errors" else "figures stand at the side"
    if room in COMMANDS:
        return None if LEVELS[other] < LEVELS["ui"] else "ui is the page's"
    if room not in LEVELS:
        return "no level in DESIGN.md for this file"
    if LEVELS[other] < LEVELS[room]:
        return None
    return "siblings do not know each other" if LEVELS[other] == LEVELS[room] else "that is above it"


def _foreign_fault(room: str, top: str) -> str | None:
    if top == "gradio" and room not in ("ui", "app"):
        return "gradio belongs to ui/ and app.py"
    if top == "plotly" and room != SIDE:
        return "plotly belongs to figures/"
    if top == "torch" and room == SIDE:
        return "figures know no torch"
    if room == "model" and top not in sys.stdlib_module_names and top != "torch":
        return "the model core knows torch and the standard library only"
    if top in ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"):
        return "no pickle anywhere"
    return None


PICKLING = ("load", "save", "FileSystemReader", "FileSystemWriter")  # of torch; the latter are DCP's own


def pickle_faults(path: str, source: str) -> list[str]:
    """Calls that read or write pickles: torch.load, torch.save, numpy with allow_pickle=True."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        name = _name(node) if isinstance(node, ast.Attribute) else ""
        if name.startswith("torch.") and name.split(".")[-1] in ("load", "save"):
            faults.append(f"{path}:{node.lineno} {name}")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            faults += [f"{path} from torch import {a.name}" for a in node.names if a.name in PICKLING]
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                faults.append(f"{path}:{node.value.lineno} allow_pickle")
    return faults


UNSAFE = re.compile(
    r"\{\{\s*value\s*\}\}|\$\{\s*value\s*\}|\b(?:inner|outer)HTML\b|\binsertAdjacentHTML\b|\bdocument\.write\b"
)
MACHINE_PATH = re.compile(r"(?<![\w./~<-])/(?:work|home|root)(?:/|\b)")


def page_faults(path: str, source: str) -> list[str]:
    """Ways by which a visitor's text would become HTML or code."""
    return [f"{path}: {found.group()}" for found in UNSAFE.finditer(source)]


def machine_paths(path: str, text: str) -> list[str]:
    """Folders of the machine it was written on, which no other machine has."""
    return [f"{path}: {line.strip()[:80]}" for line in text.splitlines() if MACHINE_PATH.search(line)]


def _texts() -> Iterator[tuple[str, str]]:
    folders = [ROOT / name for name in ("gpt2demo", "tests", "assets", ".ci")]
    files = [p for p in ROOT.iterdir() if p.is_file() and p.name != ".git"] + [  # in a second work tree
        p for f in folders for p in f.rglob("*") if p.is_file()
    ]
    for path in files:
        if "__pycache__" in path.parts:
            continue
        data = path.read_bytes()
        if b"\0" not in data[:8192]:
            yield path.relative_to(ROOT).as_posix(), data.decode("utf-8", errors="replace")


def _each(check: Callable[[str, str], list[str]], paths: list[Path]) -> list[str]:
    return [
        fault
        for path in paths
        if path.is_file()
        for fault in check(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]


def test_imports_run_downwards_only() -> None:
    assert len(SOURCES) > 10, "the sources were not found"
    assert _each(import_faults, SOURCES) == []


def test_nothing_is_pickled() -> None:
    assert _each(pickle_faults, SOURCES) == []


def test_the_page_has_no_way_from_text_to_code() -> None:
    assert _each(page_faults, PAGE) == []


def test_no_path_of_one_machine_is_written_down() -> None:
    assert [fault for path, text in _texts() for fault in machine_paths(path, text)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gpt2demo/model/gpt2.py", "from gpt2demo.text.corpus import Corpus"),
        ("gpt2demo/model/gpt2.py", "import numpy"),
        ("gpt2demo/model/gpt2.py", "from ..training import loop"),
        ("gpt2demo/errors.py", "import gpt2demo.model.config"),
        ("gpt2demo/training/loop.py", "from gpt2demo.generation.writing import generate"),
        ("gpt2demo/training/loop.py", "def late():\n    from gpt2demo import generation"),
        ("gpt2demo/training/loop.py", "from gpt2demo.runs.store import RunStore"),
        ("gpt2demo/inspection/capture.py", "from gpt2demo.hub import names"),
        ("gpt2demo/runs/store.py", "import gpt2demo.ui.app"),
        ("gpt2demo/runs/store.py", "from gpt2demo.figures import curves"),
        ("gpt2demo/figures/curves.py", "from gpt2demo.model.gpt2 import GPT2"),
        ("gpt2demo/figures/curves.py", "import torch"),
        ("gpt2demo/figures/curves.py", "import gradio as gr"),
        ("gpt2demo/runs/store.py", "import importlib\nimportlib.import_module('gradio')"),
        ("gpt2demo/ui/theme.py", "import plotly.graph_objects as go"),
        ("gpt2demo/__main__.py", "from gpt2demo.ui.app import build"),
        ("gpt2demo/__main__.py", "import gradio"),
        ("gpt2demo/elsewhere.py", "from gpt2demo.model import gpt2"),
        ("gpt2demo/ui/app.py", "import gpt2demo.elsewhere"),
        ("gpt2demo/training/checkpoint.py", "import pickle"),
        ("gpt2demo/runs/store.py", "from gpt2demo.commands.exchange import fetch"),
        ("gpt2demo/hub/download.py", "from gpt2demo.training.files import write_json"),
    ],
)
def test_a_forbidden_import_is_found(path: str, source: str) -> None:
    assert len(import_faults(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "gpt2demo/model/gpt2.py",
            "import torch.nn.functional as F\nfrom gpt2demo.errors import UserError\nimport math",
        ),
        ("gpt2demo/model/gpt2.py", "from gpt2demo.model.block import Block\nfrom .cache import KVCache"),
        (
            "gpt2demo/training/loop.py",
            "from gpt2demo.text.batches import batch\nfrom gpt2demo.model import gpt2",
        ),
        ("gpt2demo/runs/store.py", "from gpt2demo.training.folder import RunFolder"),
        (
            "gpt2demo/figures/curves.py",
            "import plotly.graph_objects\nfrom gpt2demo.figures.text import plot_text",
        ),
        ("gpt2demo/ui/theme.py", "from importlib.util import find_spec\nfind_spec('plotly')\nimport gradio"),
        (
            "gpt2demo/ui/train_tab.py",
            "from gpt2demo.figures.curves import loss_figure\nimport gpt2demo.runs.store",
        ),
        ("gpt2demo/__main__.py", "from gpt2demo.runs.store import RunStore\nfrom gpt2demo.model import gpt2"),
        ("gpt2demo/__main__.py", "from gpt2demo.commands import exchange"),
        ("app.py", "import gradio\nfrom gpt2demo.ui.app import build"),
    ],
)
def test_an_allowed_import_is_left_alone(path: str, source: str) -> None:
    assert import_faults(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('model.pt')",
        "save = torch.save",
        "torch.jit.load(f)",
        "from torch import load",
        "from torch.serialization import save",
        "np.load(f, allow_pickle=True)",
        "from torch.distributed.checkpoint import FileSystemWriter",
    ],
)
def test_a_pickle_is_found(source: str) -> None:
    assert len(pickle_faults("x.py", source)) == 1


def test_safetensors_are_no_pickles() -> None:
    source = (
        "import safetensors.torch\nsafetensors.torch.save_file(t, f)\nsafetensors.torch.load(b)\nnp.load(f)"
    )
    assert pickle_faults("x.py", source) == []


@pytest.mark.parametrize(
    "source",
    [
        "html_template='{{value}}'",
        "`<b>${value}</b>`",
        "`${ value }`",
        "node.innerHTML = x",
        "n.outerHTML",
        "{{ value }}",
    ],
)
def test_an_unsafe_sink_is_found(source: str) -> None:
    assert len(page_faults("x.js", source)) == 1


def test_safe_ways_to_write_text_are_left_alone() -> None:
    assert page_faults("x.js", "node.textContent = `${values.length} px`; const {value} = props;") == []


@pytest.mark.parametrize("folder", ["work", "home", "root"])
def test_a_machine_path_is_found(folder: str) -> None:
    assert machine_paths("x.py", f'open("/{folder}/notes.txt")\nok\n/{folder}') == [
        f'x.py: open("/{folder}/notes.txt")',
        f"x.py: /{folder}",
    ]


def test_other_slashes_are_no_machine_paths() -> None:
    assert (
        machine_paths("x.md", "https://a.org/home/ ./work/x </root> homework/root path/work /usr/bin") == []
    )
