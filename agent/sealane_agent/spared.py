"""What a supervisor and an endpoint are spared: parts of their libraries that they never call.

Each way leaves the libraries as they are, and a library that comes to need more gets more:
* Where a library does without a part that is not installed, the part is made to look as if it were
  not while the process's files are imported. Whoever needs it later imports it as ever: a key in a
  token, for one.
* Where a library imports a whole module that it calls only on other machines, the module is read
  at the first look into it.
* Where it takes from a package what the standard library has, it gets the standard library's.
* Where it takes functions from a module that nobody calls here, it gets ones that read the module
  when they are called.
* What the standard library makes anew for each frozen class is shared among them.
* What is there once a process has begun is not looked through for garbage any more.
"""

from __future__ import annotations

import gc
import sys
import typing
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from functools import partial
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import LazyLoader, find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec

PARTS: Final = (
    "pkcs11",  # securesystemslib signs with it; a supervisor only verifies: 2.4 MB
    "ssl",  # asyncio's TLS; all TLS here is gRPC's: 0.8 MB
)
HASHES: Final = "_hashlib"
"""The standard library's OpenSSL; models are hashed by another (`hashing.py`): 0.5 MB, and 3 MB of
its pages.
"""
POSTPONED: Final = frozenset(
    {
        "google.protobuf.internal.python_message",  # messages where they are not made in C: 0.6 MB
        "asyncio.sslproto",  # as `ssl`: 0.1 MB
    }
)
NEWER: Final = "typing_extensions"  # gRPC wants no more of it than this: 0.2 MB
SAME: Final[Mapping[str, object]] = {"Self": typing.Self}
_SSH: Final = "cryptography.hazmat.primitives.serialization.ssh"
CALLED: Final[Mapping[str, tuple[str, ...]]] = {
    "email.utils": ("parseaddr",),  # for mail addresses in certificates: 0.3 MB
    _SSH: (  # no key here is SSH's: 0.4 MB
        *("SSHCertificate", "SSHCertificateBuilder", "SSHCertificateType"),
        *("SSHCertPrivateKeyTypes", "SSHCertPublicKeyTypes"),
        *("SSHPrivateKeyTypes", "SSHPublicKeyTypes"),
        *("load_ssh_private_key", "load_ssh_public_identity", "load_ssh_public_key"),
        "ssh_key_fingerprint",
    ),
}
"""What libraries take from these modules at their import, and call elsewhere alone."""
_OWN_HASHES: Final = (
    *("_md5", "_sha1", "_sha3", "_blake2"),
    *(("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")),
)
_OWN: Final = ("sealane.", "sealane_agent.")
_COLLECTIONS: Final = (700, 2, 1)
"""Objects to each of the youngest, and how many of one age go before one of the next."""


@contextmanager
def spared(*needed: str) -> Iterator[None]:
    """Import the process's files inside, before anything else imports these parts.

    `needed` are parts that this process calls all the same.
    """
    barred = [name for name in _parts() if name not in sys.modules and name not in needed]
    for name in barred:
        sys.modules[name] = None  # type: ignore[assignment]  # None bars the import
    placed = [each for each in _stand_ins() if sys.modules.setdefault(each.__name__, each) is each]
    sys.meta_path.insert(0, _Postponing)
    try:
        yield
    finally:
        for each in placed:
            each.leave()
        sys.meta_path.remove(_Postponing)
        for name in barred:
            del sys.modules[name]


def _parts() -> Iterator[str]:
    """A standard library that was built to hash by OpenSSL alone keeps it."""
    yield from PARTS
    if all(find_spec(name) is not None for name in _OWN_HASHES):
        yield HASHES


class _StandIn(ModuleType):
    """In a module's place, with some of its names; whoever asks for another gets the module's.

    `given` are what they are; what bears one of the names `called` reads the module when called.
    """

    def __init__(self, name: str, given: Mapping[str, object], called: tuple[str, ...]) -> None:
        super().__init__(name)
        self._given, self._called = given, called

    def __getattr__(self, name: str) -> object:
        """A name that somebody imports from here."""
        if name in self._given:
            return self._given[name]
        if name in self._called:
            return partial(self._call, name)
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        return self._read(name)

    def leave(self) -> None:
        """Free the place."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def _read(self, name: str) -> Any:
        self.leave()
        return getattr(import_module(self.__name__), name)

    def _call(self, name: str, *given: object, **named: object) -> object:
        return self._read(name)(*given, **named)


def _stand_ins() -> Iterator[_StandIn]:
    yield _StandIn(NEWER, SAME, ())
    for module, names in CALLED.items():
        yield _StandIn(module, {}, names)


class _Postponing:
    """Finds the modules that are to be read at the first look into them."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the import system asks each finder; None leaves it to the others."""
        if name not in POSTPONED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def share_refusals() -> None:
    """Give the frozen classes two methods in common that refuse changes: 0.4 MB.

    Each has its own otherwise. With slots these also keep alive the class that the standard library
    made first, without slots, for they name it. A class that others extend keeps its own: those may
    have attributes that can be set.
    """
    for each in _frozen_classes():
        for name, refusal in _REFUSALS.items():
            setattr(each, name, refusal)


def collect_what_is_new() -> None:
    """Look often for garbage, and only among what came after this.

    Among everything a full collection holds the process for 12 ms, among the new for less than one.
    Full ones are worth having: they alone give back the tuples that Python keeps for use again,
    whose number would grow with each load of a model, by 2 KB.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # so that it counts from here what is new
    gc.set_threshold(*_COLLECTIONS)


def _frozen_classes() -> Iterator[type]:
    for name, module in list(sys.modules.items()):
        for each in list(vars(module).values()) if name.startswith(_OWN) else ():
            if isinstance(each, type) and each.__module__ == name and _is_last_and_frozen(each):
                yield each


def _is_last_and_frozen(own: type) -> bool:
    parameters = vars(own).get("__dataclass_params__")
    slotted = "__slots__" in vars(own)
    return slotted and parameters is not None and parameters.frozen and not own.__subclasses__()


def _refuse_setting(_: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(_: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_REFUSALS: Final = {"__setattr__": _refuse_setting, "__delattr__": _refuse_deleting}
