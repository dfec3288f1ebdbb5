"""Fills in the scripts of packages: the build's own words, and the functions they share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from packager.stage import Stage

_INCLUDE: Final = re.compile(r"^# include (\S+)\n", re.MULTILINE)


def filled(source: Path, stage: Stage) -> str:
    """A script as it goes into the package; files it includes lie in packaging/shell."""
    shared = next(folder for folder in source.parents if folder.name == "packaging") / "shell"
    text = _INCLUDE.sub(lambda match: (shared / match[1]).read_text(), source.read_text())
    build = stage.build
    words = {
        "@HOME@": stage.final_home,
        "@PYTHON@": f"python{build.target.python}",
        "@NAME@": build.package.name,
        "@MACHINE@": build.target.machine,
        "@VERSION@": build.version,
        "@VERSIONS@": build.package.home if build.package.side_by_side else "-",
    }
    for word, value in words.items():
        text = text.replace(word, value)
    return text
