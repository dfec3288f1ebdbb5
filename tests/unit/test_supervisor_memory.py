"""What a supervisor and an endpoint must not load, because every device would pay for it."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.hashing import Sha256, file_sha256

if TYPE_CHECKING:
    from pathlib import Path

UNCALLED: Final = {
    *("urllib3", "http.client", "http.cookies", "requests"),  # metadata comes by gRPC
    *("pkcs11", "asn1crypto", "decimal"),  # it verifies; its own key may be in a token, then yes
    *("ssl", "_ssl"),  # TLS is gRPC's
    *("numpy", "onnxruntime", "openvino", "uvloop", "httptools"),  # the endpoint's and the workers'
    *("importlib.metadata", "email.message", "tarfile", "zipfile", "uuid", "platform"),
    *("_hashlib", "typing_extensions", "backports.zstd"),  # a second OpenSSL; types; patches
    *("google.protobuf.internal.decoder", "google.protobuf.text_format"),  # messages are made in C
    *("pickle", "_pickle", "email.utils", "email._parseaddr"),
    "cryptography.hazmat.primitives.serialization.ssh",
    *("sealane_agent.cli.enroll", "sealane_agent.cli.doctor", "sealane_agent.overview"),
}

UNCALLED_BY_ENDPOINT: Final = {
    *("cryptography", "typing_extensions", "backports.zstd"),  # samples, if any; types; patches
    *("google.protobuf.internal.extension_dict", "google.protobuf.text_format"),  # made in C
    *("tuf.api", "securesystemslib", "sqlite3", "urllib3"),  # the supervisor's
    *("onnxruntime", "openvino"),  # the workers'
}

SPARED: Final = "from sealane_agent.spared import spared\nwith spared()"
EMPTY: Final = "e3b0c442"
EACH_ONCE: Final = """
from collections import Counter
def below(kind):
    for each in type.__subclasses__(kind):
        yield each
        yield from below(each)
last = {each for each in below(object) if not type.__subclasses__(each)}
found = Counter((each.__module__, each.__qualname__) for each in last)
twice = [name for name, count in found.items() if count > 1 and name[0].startswith("sealane")]
assert len(found) > 1000 and not twice, twice
"""
REFUSED: Final = """
from dataclasses import FrozenInstanceError, replace
from sealane.names import ReleaseName
from sealane_agent.layout import Pointer
one = Pointer(ReleaseName("tiny", 1), "sha256:" + "0" * 64, "v")
def refusals(field):
    for change in (lambda: setattr(one, field, "w"), lambda: delattr(one, field)):
        try:
            change()
        except FrozenInstanceError as error:
            yield str(error)
before, method = list(refusals("variant")), Pointer.__setattr__
share_refusals()
assert Pointer.__setattr__ is not method
assert list(refusals("variant")) == before and len(before) == 2
assert len(list(refusals("unknown"))) == 2
assert one == replace(one) and hash(one) == hash(replace(one))
"""
NEW: Final = """
import gc
from sealane_agent.spared import collect_what_is_new
collect_what_is_new()
there, full = len(gc.get_objects()), gc.get_stats()[2]["collections"]
kept = [[] for _ in range(10_000)]
assert there < 1000 < gc.get_freeze_count()
assert gc.get_stats()[2]["collections"] > full
"""


def loaded_by(program: str) -> set[str]:
    """The modules of a process that ran this program, which prints nothing else."""
    code = f"import sys\n{program}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


@pytest.mark.slow
def test_a_supervisor_loads_nothing_that_it_never_calls_and_no_class_of_its_own_twice(
    tmp_path: Path,
) -> None:
    words = ["run", "--state", str(tmp_path)]  # no device yet: it loads all, and ends
    program = f"from sealane_agent.cli.main import main\nassert main({words}) == 1"
    loaded = loaded_by(f"{program}\n{EACH_ONCE}")
    assert {"tuf.ngclient.updater", "sealane_agent.app", "grpc.aio"} <= loaded
    assert not loaded & UNCALLED


@pytest.mark.slow
def test_an_endpoint_loads_nothing_that_it_never_calls_and_no_class_of_its_own_twice(
    tmp_path: Path,
) -> None:
    words = ["endpoint", "--state", str(tmp_path), "--rest-fd", "99"]  # no such socket: it ends
    program = f"from sealane_agent.cli.main import main\nassert main({words}) == 1"
    loaded = loaded_by(f"{program}\n{EACH_ONCE}")
    assert {"grpc.aio", "uvloop", "numpy", "sealane_agent.serving.app"} <= loaded
    assert not loaded & UNCALLED_BY_ENDPOINT


@pytest.mark.slow
def test_what_a_supervisor_is_spared_can_be_imported_once_somebody_needs_it() -> None:
    program = f"{SPARED}: import sealane_agent.app"
    needed = "import ssl, typing_extensions; from typing_extensions import deprecated"
    assert {"ssl", "typing_extensions"} <= loaded_by(f"{program}\n{needed}")


@pytest.mark.slow
def test_messages_in_python_are_read_at_the_first_look_into_them() -> None:
    program = f"{SPARED}: from google.protobuf.internal import python_message as late"
    assert "google.protobuf.text_format" not in loaded_by(program)
    looked = f"{program}\nassert late.GeneratedProtocolMessageType.__module__ == late.__name__"
    assert "google.protobuf.text_format" in loaded_by(looked)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["", "    "], ids=["afterwards", "while it begins"])
def test_a_function_that_libraries_take_and_nobody_calls_is_read_when_somebody_does(
    when: str,
) -> None:
    taken = f"{SPARED}:\n    from email.utils import parseaddr"
    assert "email._parseaddr" not in loaded_by(taken)
    called = "assert parseaddr('Ann <ann@plant.example>') == ('Ann', 'ann@plant.example')"
    assert "email._parseaddr" in loaded_by(f"{taken}\n{when}{called}")
    other = "from email.utils import formataddr"
    assert "email._parseaddr" in loaded_by(f"{taken}\n{when}{other}")


@pytest.mark.slow
def test_a_key_of_ssh_is_read_by_who_has_one() -> None:
    made = "key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)"
    loaded = loaded_by(
        f"{SPARED}: from cryptography.hazmat.primitives.serialization import *\n"
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey\n"
        "key = Ed25519PrivateKey.generate()\n"
        f"assert load_ssh_public_key({made}) == key.public_key()"
    )
    assert "cryptography.hazmat.primitives.serialization.ssh" in loaded


@pytest.mark.slow
def test_a_library_that_comes_to_need_more_of_the_newer_types_gets_the_package() -> None:
    same = "import typing; from typing_extensions import Self; assert Self is typing.Self"
    assert "typing_extensions" not in loaded_by(f"{SPARED}: {same}")
    more = f"{same}; from typing_extensions import Self, deprecated"
    assert "typing_extensions" in loaded_by(f"{SPARED}: {more}")


@pytest.mark.slow
def test_a_standard_library_that_cannot_hash_by_itself_keeps_its_openssl() -> None:
    program = f"import hashlib\nassert hashlib.sha256(b'').hexdigest()[:8] == {EMPTY!r}"
    assert "_hashlib" not in loaded_by(f"{SPARED}: import hashlib\n{program}")
    without = "sys.modules['_sha1'] = None"  # as where it is built without
    assert "_hashlib" in loaded_by(f"{without}\n{SPARED}: import hashlib\n{program}")


@pytest.mark.slow
def test_objects_that_cannot_be_changed_still_say_so_when_their_classes_share_it() -> None:
    loaded_by(f"from sealane_agent.spared import share_refusals\n{REFUSED}")


@pytest.mark.slow
def test_full_collections_come_early_and_leave_out_what_was_there_at_the_start() -> None:
    loaded_by(NEW)


def test_models_are_hashed_as_the_standard_library_hashes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2_735
    (tmp_path / "model").write_bytes(content)
    with (tmp_path / "model").open("rb") as file:
        assert file.read(3) == content[:3]
        found = file_sha256(file)
        assert found.hexdigest() == sha256(content[3:]).hexdigest()
        assert file.tell() == len(content)
    found.update(b"more")
    assert found.hexdigest() == sha256(content[3:] + b"more").hexdigest()


@given(st.lists(st.binary()))
def test_a_hash_is_of_all_pieces_in_their_order(pieces: list[bytes]) -> None:
    found = Sha256()
    for piece in pieces:
        found.update(piece)
    assert found.hexdigest() == sha256(b"".join(pieces)).hexdigest()
