"""What each distribution depends on: declared, explained and locked."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

import pytest
from support.repository import DISTRIBUTIONS, ROOT, project, relative, sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TABLE_ROW = re.compile(r"^\| (sealane[\w\[\]-]*) \| ([\w-]+) \| (.+) \|$", re.MULTILINE)
_PROVIDES = {
    "pyyaml": {"yaml"},
    "python-pkcs11": {"pkcs11"},
    "backports-zstd": {"backports", "compression"},
    "argon2-cffi": {"argon2"},
    "fastapi": {"fastapi", "pydantic", "starlette"},
    "grpcio": {"grpc"},
    "opentelemetry-proto": {"opentelemetry"},
    "protobuf": {"google"},
    "sqlmodel": {"sqlmodel", "sqlalchemy"},
}
"""Modules whose name is not that of their distribution."""
_OWN = {"core": "sealane", "agent": "sealane_agent", "manager": "sealane_manager"}


def declared(distribution: str) -> Iterator[tuple[str, str]]:
    table = project(distribution)
    groups = {"": table["dependencies"], **table.get("optional-dependencies", {})}
    for extra, requirements in groups.items():
        for requirement in requirements:
            match = _NAME.match(requirement)
            assert match
            if match[0] != "sealane":
                yield table["name"] + (f"[{extra}]" if extra else ""), match[0]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_every_dependency_has_a_reason_in_the_decision_record() -> None:
    text = (ROOT / "docs" / "adr" / "0009-dependencies.md").read_text()
    explained = {(owner, name) for owner, name, _ in _TABLE_ROW.findall(text)}
    assert explained == {row for each in DISTRIBUTIONS for row in declared(each)}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_whatever_is_imported_is_declared(distribution: str) -> None:
    names = {name for _, name in declared(distribution)}
    own = {_OWN[distribution], "sealane"}
    if distribution != "core":
        names |= {name for _, name in declared("core")}
    known = own.union(
        *(_PROVIDES.get(name, {name}) for name in names),
        sys.stdlib_module_names,
        {"_typeshed"},  # exists for type checkers alone
    )
    undeclared = {
        f"{relative(path)}: {module}"
        for path in sources(distribution)
        for module in imported(path)
        if module not in known
    }
    assert undeclared == set()


def test_the_three_distributions_have_one_version_and_pin_each_other() -> None:
    version = project("core")["version"]
    for distribution in DISTRIBUTIONS:
        assert project(distribution)["version"] == version
        if distribution != "core":
            assert f"sealane=={version}" in project(distribution)["dependencies"]


def test_the_lock_holds_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    pins = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==", lock, re.MULTILINE)
    assert len(pins) > 20
    assert lock.count("--hash=sha256:") >= len(pins)


def test_every_declared_dependency_is_locked() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==", lock, re.MULTILINE))
    assert {name for each in DISTRIBUTIONS for _, name in declared(each)} - locked == set()


def test_the_lock_of_the_resolver_is_not_committed() -> None:
    assert "uv.lock" in (ROOT / ".gitignore").read_text().split()
