"""Imports run one way: no file leads back to itself, also by what is imported for types or late."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest
from support.repository import DISTRIBUTIONS, ROOT, sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def modules() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sources(*DISTRIBUTIONS):
        _, *words = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(words).removesuffix(".__init__")] = path
    return found


def imported(source: str) -> Iterator[str]:
    """Everything that may be a module's name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def arrows(texts: Mapping[str, str]) -> dict[str, set[str]]:
    """Module to those that it imports; a package's name in front of a module's is passed over."""
    found = {}
    for name, source in texts.items():
        names = set(imported(source)) & texts.keys() - {name}
        parents = {each.rpartition(".")[0] for each in names}
        found[name] = names - parents
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one circle; none where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_imports_what_leads_back_to_it() -> None:
    graph = arrows({name: path.read_text() for name, path in modules().items()})
    assert len(graph) > 500
    assert sum(map(len, graph.values())) > 2000
    assert circle(graph) == []


@pytest.mark.parametrize(
    "back",
    [
        "from a.one import One",
        "def f():\n    from a import one",
        "if TYPE_CHECKING:\n    import a.one",
    ],
)
def test_a_circle_is_found_however_it_is_written(back: str) -> None:
    found = circle(arrows({"a": "", "a.one": "from a.two import Two", "a.two": back}))
    assert set(found) == {"a.one", "a.two"}
