"""Delegations: in which order roles are asked, who may speak for a path, and odd names."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import pytest
from support.tuf_repository import TOP, Repository
from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, Targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.tuf_client import Client

pytestmark = pytest.mark.slow


class Edge(NamedTuple):
    """Who delegates to whom; `end` ends the search there."""

    above: str
    below: str
    end: bool = False
    paths: Sequence[str] = ("*",)


ROOT = "targets"
GRAPHS: dict[str, tuple[list[Edge], str]] = {
    "one role": ([Edge(ROOT, "A")], "A"),
    "two beside each other": ([Edge(ROOT, "A"), Edge(ROOT, "B")], "AB"),
    "one below the second": ([Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("B", "C")], "ABC"),
    "below the first before the second": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("A", "C"), Edge("A", "D")],
        "ACDB",
    ),
    "three deep before the second": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("A", "C"), Edge("C", "D")],
        "ACDB",
    ),
    "an end two deep": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("A", "C", end=True), Edge("A", "D")],
        "AC",
    ),
    "what is below an end still counts": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("A", "C", end=True), Edge("C", "D")],
        "ACD",
    ),
    "an end at the top": ([Edge(ROOT, "A", end=True), Edge(ROOT, "B")], "A"),
    "an end for other paths is none": (
        [Edge(ROOT, "A", end=True, paths=["*.py"]), Edge(ROOT, "B")],
        "B",
    ),
    "a branch for other paths": (
        [Edge(ROOT, "A", paths=["*.py"]), Edge(ROOT, "B"), Edge("A", "C")],
        "B",
    ),
    "a deeper branch for other paths": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("A", "C", paths=["*.py"]), Edge("C", "D")],
        "AB",
    ),
    "a circle": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("B", "C"), Edge("C", "D"), Edge("D", "B")],
        "ABCD",
    ),
    "a role that delegates to itself": ([Edge(ROOT, "A"), Edge("A", "A")], "A"),
    "a role that two delegate to": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("B", "C"), Edge("A", "C")],
        "ACB",
    ),
    "a role that two delegate to, for other paths": (
        [Edge(ROOT, "A"), Edge(ROOT, "B"), Edge("B", "C"), Edge("A", "C", paths=["*.py"])],
        "ABC",
    ),
}


def _draw(repo: Repository, edges: Sequence[Edge]) -> None:
    for above, below, end, paths in edges:
        repo.delegate(above, DelegatedRole(below, [], 1, terminating=end, paths=list(paths)))
    repo.publish(*{edge.below for edge in edges}, *TOP)


@pytest.mark.parametrize("graph", GRAPHS)
def test_roles_are_asked_depth_first_in_the_order_of_their_delegations(
    client: Client, repo: Repository, graph: str
) -> None:
    edges, order = GRAPHS[graph]
    _draw(repo, edges)
    assert not client.download("missing")
    assert repo.asked[4:] == [(role, 1) for role in order]


PLANT = [
    Edge(ROOT, "A", paths=["*.doc", "*.md"]),
    Edge(ROOT, "B", paths=["models/*/*"]),
    Edge("B", "C", paths=["models/x/*"]),
    Edge("B", "D", paths=["models/y/*.onnx"]),
]


class Search(NamedTuple):
    """A target, the role that lists it, the roles that are asked, and whether it is found."""

    path: str
    by: str
    order: str
    found: bool


@pytest.mark.parametrize(
    "search",
    [
        Search("plain", ROOT, "", found=True),
        Search("read.md", "A", "A", found=True),
        Search("models/x/one", "C", "BC", found=True),
        Search("models/y/one.onnx", "D", "BD", found=True),
        Search("models/z/one.onnx", "D", "B", found=False),
        Search("models/y/one.pkl", "D", "B", found=False),
        Search("models/x/deep/one", "C", "", found=False),
        Search("sub/read.md", "A", "", found=False),
    ],
)
def test_a_target_is_found_where_every_role_on_the_way_may_speak_for_its_path(
    client: Client, repo: Repository, search: Search
) -> None:
    _draw(repo, PLANT)
    repo.add(search.by, search.path, b"model")
    repo.publish(*{search.by} - {ROOT}, *TOP)
    assert client.download(search.path) is search.found
    assert client.downloaded() == ([b"model"] if search.found else [])
    assert [role for role, _ in repo.asked[4:]] == list(search.order)


def test_the_first_role_that_lists_a_path_is_believed(client: Client, repo: Repository) -> None:
    _draw(repo, [Edge(ROOT, "A"), Edge(ROOT, "B")])
    repo.add("B", "same", b"of B")
    repo.add("A", "same", b"of A")
    repo.publish("A", "B", *TOP)
    assert client.download("same")
    assert client.downloaded() == [b"of A"]


def test_a_role_that_is_kept_is_judged_again_by_whoever_delegates_to_it_now(
    client: Client, repo: Repository
) -> None:
    _draw(repo, [Edge(ROOT, "A"), Edge("A", "C")])
    repo.add("C", "mine", b"mine")
    repo.publish("C", *TOP)
    assert client.download("mine")
    # A delegates to it no more; B does, with a key that did not sign what is kept.
    repo.targets("A").delegations = None
    former = repo.signers.pop("C")
    repo.delegate(ROOT, DelegatedRole("B", [], 1, terminating=False, paths=["*"]))
    repo.delegate("B", DelegatedRole("C", [], 1, terminating=False, paths=["*"]))
    repo.signers["C"] = former
    repo.publish("A", "B", *TOP)
    (client.folder / "targets" / "mine").unlink()
    assert not client.download("mine")
    assert client.downloaded() == []


@pytest.mark.parametrize("missing", ["file", "name in the snapshot"])
def test_a_delegated_role_that_is_missing_is_no_answer(
    client: Client, repo: Repository, missing: str
) -> None:
    _draw(repo, [Edge(ROOT, "A")])
    repo.add("A", "mine", b"mine")
    repo.publish("A")
    if missing == "file":
        del repo.published["A"][2]
    else:
        del repo.snapshot.meta["A.json"]
    repo.publish("snapshot", "timestamp")
    assert not client.download("mine")
    assert client.downloaded() == []


def test_an_older_file_of_a_delegated_role_is_refused(client: Client, repo: Repository) -> None:
    _draw(repo, [Edge(ROOT, "A")])
    repo.add("A", "mine", b"mine")
    former = repo.published["A"][1]
    repo.publish("A", *TOP)
    repo.put("A", 2, former)
    assert not client.download("mine")


@pytest.mark.parametrize("bits", [1, 5, 8, 16])
@pytest.mark.parametrize("path", ["vision/defect@7.json", "digits/classifier@1.json"])
def test_bins_by_hash_are_asked_one_at_a_time(
    client: Client, repo: Repository, bits: int, path: str
) -> None:
    number = int(hashlib.sha256(path.encode()).hexdigest(), 16) >> (256 - bits)
    name = f"bin-{number:0{-(-bits // 4)}x}"
    signer = repo.signers["targets"][0]
    repo.targets().delegations = Delegations({}, None, SuccinctRoles([], 1, bits, "bin"))
    repo.targets().add_key(signer.public_key)
    repo.signed[name], repo.signers[name] = Targets(expires=repo.root.expires), [signer]
    repo.add(name, path, b"in its bin")
    repo.publish(name, *TOP)
    assert client.download(path)
    assert client.downloaded() == [b"in its bin"]
    assert repo.asked[4:] == [(name, 1)]


@pytest.mark.parametrize(
    "name", ["?", "#", "/plant", "../plant", "a b", "plant%2Fa", "ü", "..", "a" * 200, "&x=1"]
)
def test_a_role_of_any_name_is_asked_for_quoted_and_kept_in_the_folder(
    client: Client, repo: Repository, name: str
) -> None:
    repo.delegate(ROOT, DelegatedRole(name, [], 1, terminating=False, paths=["*"]))
    repo.publish(name, *TOP)
    assert not client.download("nothing")
    assert repo.asked[4:] == [(quote(name, safe=""), 1)]
    assert len(client.trusted()) == 5
    outside = {path.name for path in client.folder.iterdir()}
    assert outside == {"metadata", "targets", "trusted.json"}
