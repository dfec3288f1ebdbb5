"""Keys, thresholds and their rotation: every combination that counts, and those that do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from securesystemslib.signer import CryptoSigner
from support.tuf_repository import TOP, Repository
from tuf.api.metadata import DelegatedRole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.tuf_client import Client

pytestmark = pytest.mark.slow

RING: Final = [CryptoSigner.generate_ed25519() for _ in range(10)]


class Signed(NamedTuple):
    """A version of a role: whose keys count, how many must sign, and who did."""

    keys: str
    threshold: int
    by: str


FIVE = "01234"
ROOTS: dict[str, tuple[bool, list[Signed]]] = {
    "one key follows another": (
        True,
        [Signed("1", 1, "1"), Signed("2", 1, "12"), Signed("2", 1, "2")],
    ),
    "strangers sign too": (
        True,
        [Signed("1", 1, "314"), Signed("2", 1, "3214"), Signed("2", 1, "324")],
    ),
    "three of five, others each time": (
        True,
        [Signed(FIVE, 3, "024"), Signed(FIVE, 3, "041"), Signed(FIVE, 3, "013")],
    ),
    "one of five is replaced": (True, [Signed(FIVE, 3, "024"), Signed("01345", 3, "041")]),
    "one of five is replaced in two steps": (
        True,
        [Signed(FIVE, 3, "024"), Signed("01345", 3, "0245"), Signed("01345", 3, "045")],
    ),
    "all five are replaced": (
        True,
        [Signed(FIVE, 3, "024"), Signed("56789", 3, "024567"), Signed("56789", 3, "567")],
    ),
    "the threshold rises": (True, [Signed("123", 1, "1"), Signed("123", 2, "12")]),
    "the threshold falls": (
        True,
        [Signed("123", 2, "12"), Signed("123", 1, "12"), Signed("123", 1, "1")],
    ),
    "a second key joins and both must sign": (True, [Signed("1", 1, "1"), Signed("12", 2, "12")]),
    "the old key did not sign": (False, [Signed("1", 1, "1"), Signed("2", 1, "234")]),
    "the new key did not sign": (False, [Signed("1", 1, "1"), Signed("2", 1, "134")]),
    "too few of the new keys signed": (False, [Signed(FIVE, 3, "024"), Signed("01345", 3, "024")]),
    "too few of the old keys signed": (False, [Signed(FIVE, 3, "024"), Signed("01345", 3, "045")]),
    "the higher threshold is not met": (False, [Signed("123", 1, "1"), Signed("123", 2, "2")]),
    "the old, higher threshold is not met": (
        False,
        [Signed("123", 2, "12"), Signed("123", 1, "1")],
    ),
}


def _ring(indices: str) -> list[CryptoSigner]:
    return [RING[int(index)] for index in indices]


@pytest.mark.parametrize("case", ROOTS)
def test_a_chain_of_roots_is_followed_as_far_as_old_and_new_keys_sign_it(
    client_of: Callable[[Repository], Client], repo: Repository, case: str
) -> None:
    accepted, chain = ROOTS[case]
    repo.published.pop("root")
    repo.root.version = 0
    for number, version in enumerate(chain, 1):
        repo.replace_keys("root", version.threshold, _ring(version.keys))
        repo.signers["root"] = _ring(version.by)
        repo.back_to("root", number)
    client = client_of(repo)
    assert client.init()
    assert client.refresh() is accepted
    newest = len(chain) if accepted else len(chain) - 1
    assert client.content("root") == repo.published["root"][newest]


OTHERS: dict[str, tuple[bool, Signed]] = {
    "by its new key": (True, Signed("2", 1, "2")),
    "by strangers too": (True, Signed("1", 1, "314")),
    "by everybody but its new key": (False, Signed("2", 1, "134")),
    "by two of three and a former one": (False, Signed("01345", 3, "024")),
    "by two of three": (False, Signed("01345", 3, "04")),
    "by three of five": (True, Signed(FIVE, 3, "024")),
    "by three others of five": (True, Signed(FIVE, 3, "123")),
    "by five of five": (True, Signed(FIVE, 3, FIVE)),
}


@pytest.mark.parametrize("role", TOP)
@pytest.mark.parametrize("case", OTHERS)
def test_a_role_is_taken_when_enough_of_its_keys_signed_it(
    client: Client, repo: Repository, role: str, case: str
) -> None:
    accepted, version = OTHERS[case]
    repo.replace_keys(role, version.threshold, _ring(version.keys))
    repo.signers[role] = _ring(version.by)
    repo.publish("root", *TOP)
    assert client.refresh() is accepted
    assert client.trusted().get(role) == (2 if accepted else None)


def test_more_signatures_demanded_than_there_are_keys_are_never_enough(
    client: Client, repo: Repository
) -> None:
    repo.replace_keys("snapshot", 4, _ring("123"))
    repo.signers["snapshot"] = _ring("123")
    repo.publish("root", *TOP)
    assert not client.refresh()
    assert client.trusted() == {"root": 2, "timestamp": 2}


def test_a_threshold_raised_over_what_is_there_refuses_what_was_trusted(
    client: Client, repo: Repository
) -> None:
    assert client.refresh()
    repo.replace_keys("targets", 2, _ring("12"))
    repo.publish("root")
    assert not client.refresh()


def _change(content: bytes, change: Callable[[dict[str, list[dict[str, str]]]], None]) -> bytes:
    parsed = json.loads(content)
    change(parsed)
    return json.dumps(parsed).encode()


def test_one_key_listed_many_times_counts_once(client: Client, repo: Repository) -> None:
    repo.replace_keys("snapshot", 2, _ring("1"))
    repo.root.roles["snapshot"].keyids *= 5
    repo.signers["snapshot"] = _ring("1")
    repo.publish("root", *TOP)
    doubled = _change(repo.published["snapshot"][2], _double)
    repo.put("snapshot", 2, doubled)
    assert not client.refresh()
    assert "snapshot" not in client.trusted()


def test_two_signatures_of_one_key_are_refused(client: Client, repo: Repository) -> None:
    repo.put("snapshot", 1, _change(repo.published["snapshot"][1], _double))
    assert not client.refresh()
    assert "snapshot" not in client.trusted()


def _double(parsed: dict[str, list[dict[str, str]]]) -> None:
    parsed["signatures"] *= 2


def _generated(kind: str) -> CryptoSigner:
    if kind == "rsassa-pss-sha256":
        return CryptoSigner.generate_rsa()
    if kind == "ecdsa-sha2-nistp256":
        return CryptoSigner.generate_ecdsa()
    return CryptoSigner.generate_ed25519()


@pytest.mark.parametrize("kind", ["rsassa-pss-sha256", "ecdsa-sha2-nistp256", "ed25519"])
def test_each_kind_of_key_of_the_specification_signs_and_is_checked(
    client: Client, repo: Repository, kind: str
) -> None:
    signer = _generated(kind)
    assert signer.public_key.scheme == kind
    repo.add_key("root", signer)
    repo.root.roles["root"].threshold = 2
    repo.publish("root")
    assert client.refresh()
    assert client.trusted()["root"] == 2
    former = _signature(repo.published["root"][2], signer)
    repo.publish("root")
    repo.put("root", 3, _with_signature(repo.published["root"][3], signer, former))
    assert not client.refresh()
    assert client.trusted()["root"] == 2


def _signature(content: bytes, signer: CryptoSigner) -> str:
    found = {each["keyid"]: each["sig"] for each in json.loads(content)["signatures"]}
    return str(found[signer.public_key.keyid])


def _with_signature(content: bytes, signer: CryptoSigner, signature: str) -> bytes:
    def change(parsed: dict[str, list[dict[str, str]]]) -> None:
        for each in parsed["signatures"]:
            if each["keyid"] == signer.public_key.keyid:
                each["sig"] = signature

    return _change(content, change)


@pytest.mark.parametrize("signature", ["00" * 64, "", "nonsense"])
def test_a_wrong_signature_beside_enough_right_ones_does_no_harm(
    client: Client, repo: Repository, signature: str
) -> None:
    second = repo.add_key("timestamp")
    repo.publish("root", "timestamp")
    spoiled = _with_signature(repo.published["timestamp"][2], second, signature)
    repo.put("timestamp", 2, spoiled)
    assert client.refresh()
    assert client.trusted()["timestamp"] == 2


def test_a_field_of_former_specifications_in_a_key_means_nothing(
    client: Client, repo: Repository
) -> None:
    signer = CryptoSigner.generate_ed25519()
    signer.public_key.unrecognized_fields["keyid_hash_algorithms"] = ["md5"]
    repo.replace_keys("snapshot", 1, [signer])
    repo.signers["snapshot"] = [signer]
    repo.publish("root", *TOP)
    assert client.refresh()
    assert client.trusted()["snapshot"] == 2


def _delegated(repo: Repository, threshold: int, keys: Sequence[CryptoSigner]) -> None:
    role = DelegatedRole("plant", [], threshold, terminating=False, paths=["plant/*"])
    repo.delegate("targets", role)
    repo.targets().delegations.roles["plant"].keyids.clear()  # type: ignore[union-attr, index] # made above
    for signer in keys:
        repo.targets().add_key(signer.public_key, "plant")
    repo.add("plant", "plant/a", b"a")


@pytest.mark.parametrize("case", OTHERS)
def test_a_delegated_role_is_believed_when_enough_of_its_keys_signed_it(
    client: Client, repo: Repository, case: str
) -> None:
    accepted, version = OTHERS[case]
    _delegated(repo, version.threshold, _ring(version.keys))
    repo.signers["plant"] = _ring(version.by)
    repo.publish("plant", *TOP)
    assert client.download("plant/a") is accepted
    assert client.downloaded() == ([b"a"] if accepted else [])


def test_a_delegated_role_whose_keys_were_replaced_is_believed_no_more(
    client: Client, repo: Repository
) -> None:
    _delegated(repo, 1, _ring("1"))
    repo.signers["plant"] = _ring("1")
    repo.add("plant", "plant/b", b"b")
    repo.publish("plant", *TOP)
    assert client.download("plant/a")
    _delegated(repo, 1, _ring("2"))
    repo.publish(*TOP)
    assert not client.download("plant/b")
    assert client.downloaded() == [b"a"]
