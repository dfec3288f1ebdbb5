"""The security page names tests that exist and steps that the verifier has."""

from __future__ import annotations

import re
from pathlib import Path

from sealane.trust.steps import Step

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_security_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    existing = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert len(named) > 40
    assert named - existing == set()


def test_the_security_page_lists_the_verifiers_steps_in_their_order() -> None:
    listed = re.findall(r"^(\d+)\. \*\*([\w ]+)\*\*", PAGE, re.MULTILINE)
    steps = [str(step) for step in Step if step is not Step.STATE]
    assert [f"{number} {name}" for number, name in listed] == steps
