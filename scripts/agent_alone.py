"""Checks an environment that holds only core and the agent, as a device has it.

`contents`: no library of the manager is there; what the supervisor imports brings no engine, no
numpy and no server of the endpoint; the command line answers.
`tests`: runs every unit and property test whose imports, followed through the tests' own modules,
this environment can satisfy, and says how many files it left out; what follows goes to pytest.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MANAGER_ONLY = ("sealane_manager", "sqlmodel", "sqlalchemy", "alembic", "apscheduler", "typer")
"""What a device must not have to carry."""

NOT_IN_THE_SUPERVISOR = ("numpy", "onnxruntime", "openvino", "httptools", "sealane_agent.oip")
"""What belongs to the endpoint and its workers: the supervisor stays small and safe from them."""

SUPERVISOR = "sealane_agent.app"
"""The module that `sealane-agent run` wires the supervisor in."""

KINDS = ("unit", "property")
OWN_FOLDERS = (Path("tests"), Path("scripts"))


def absent(modules: tuple[str, ...]) -> list[str]:
    """Complaints about modules that could be imported and should not."""
    return [f"{name} is installed beside the agent" for name in modules if find_spec(name)]


def loaded_by(module: str) -> set[str]:
    """Every module that a fresh interpreter holds after importing this one."""
    program = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )
    return set(answer.stdout.split())


def heavy(module: str) -> list[str]:
    """Complaints about what importing the supervisor brings along."""
    loaded = loaded_by(module)
    return [
        f"importing {module} imports {name}" for name in NOT_IN_THE_SUPERVISOR if name in loaded
    ]


def mute(command: str) -> list[str]:
    """A complaint if the command line cannot explain itself."""
    program = Path(sysconfig.get_path("scripts"), command)
    answer = subprocess.run([program, "--help"], check=False, capture_output=True, text=True)
    if answer.returncode == 0 and "enroll" in answer.stdout:
        return []
    return [f"{command} --help ended with {answer.returncode}: {answer.stderr.strip()}"]


def check_contents() -> int:
    """Print every complaint; the number of them is the exit status."""
    complaints = absent(MANAGER_ONLY) + heavy(SUPERVISOR) + mute("sealane-agent")
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print("the agent alone: no manager, no engine in the supervisor, the command line answers")
    return len(complaints)


def imports_of(path: Path) -> Iterator[str]:
    """Names of the modules that a file imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_module(name: str) -> Path | None:
    """The file of a module that lives in one of the tests' own folders."""
    paths = (folder.joinpath(*name.split(".")).with_suffix(".py") for folder in OWN_FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def satisfied(path: Path, seen: set[Path]) -> bool:
    """Whether everything that a test file reaches can be imported here."""
    if path in seen:
        return True
    seen.add(path)
    return all(_found(name, seen) for name in imports_of(path))


def _found(name: str, seen: set[Path]) -> bool:
    own = own_module(name)
    if own:
        return satisfied(own, seen)
    top = name.partition(".")[0]
    return any((folder / top).is_dir() for folder in OWN_FOLDERS) or find_spec(top) is not None


def run_tests(options: list[str]) -> int:
    """Run what can be run here, with pytest's options; its exit status."""
    files = sorted(file for kind in KINDS for file in Path("tests", kind).glob("test_*.py"))
    files = [path for path in files if not path.name.startswith("test_repository_")]
    chosen = [str(path) for path in files if satisfied(path, set())]
    print(f"{len(chosen)} of {len(files)} test files need nothing but core and the agent")
    if not chosen:
        return 1
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *chosen]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    asked, *rest = sys.argv[1:]
    sys.exit({"contents": lambda _: check_contents(), "tests": run_tests}[asked](rest))
