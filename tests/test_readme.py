"""The README tells the truth about the project: its files, its versions, its commands."""

import re
from pathlib import Path

import gradio

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
UNLISTED = {"__pycache__", "screenshots", "starter", "__init__.py"}


def listed() -> set[str]:
    """The paths in the README's tree, read by indentation."""
    tree = re.search(r"```\n(LICENSE.*?)```", README, re.DOTALL)
    assert tree, "the README has a tree that begins with LICENSE"
    paths, above = set(), []
    for line in tree[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name.rstrip("/")]
        if not name.endswith("/"):
            paths.add("/".join(above))
    return paths


def existing() -> set[str]:
    found = set()
    for folder in ("gpt2demo", "tests", "assets"):
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            hidden = any(part.startswith(".") for part in parts)  # caches of tools
            if path.is_file() and not hidden and not UNLISTED & set(parts) and path.suffix != ".pyc":
                found.add("/".join(parts))
    return found


def test_the_tree_lists_every_file_and_no_other():
    shown = {path for path in listed() if path.split("/")[0] in ("gpt2demo", "tests", "assets")}
    assert shown == existing()


def test_every_line_of_the_tree_says_what_the_file_is():
    tree = re.search(r"```\n(LICENSE.*?)```", README, re.DOTALL)
    assert tree and all(
        len(line.split(maxsplit=1)) == 2 for line in tree[1].splitlines() if not line.endswith("/")
    )


def test_the_space_runs_the_version_that_is_required_and_installed():
    header = re.search(r'sdk_version: "([\d.]+)"', README)
    required = re.search(r"^gradio==([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert header and required
    assert header[1] == required[1] == gradio.__version__


def test_both_commands_stand_there_as_they_are_run():
    assert "pip install -r requirements.txt && python app.py" in README
    assert "pip install -r requirements.txt -r tests/requirements.txt && pytest" in README
    assert "pip install -q -r requirements.txt -r tests/requirements.txt" in (ROOT / ".ci/run").read_text()


def test_pictures_that_it_shows_exist():
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / name).is_file(), name
