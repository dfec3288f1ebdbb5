"""Reads which resource of the Open Inference Protocol a request names. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from sealane_agent.serving.types import ModelUnknown, ServingError


class Resource(Enum):
    """What the REST door offers."""

    SERVER = auto()
    LIVE = auto()
    READY = auto()
    INDEX = auto()
    MODEL = auto()
    MODEL_READY = auto()
    MODEL_INFER = auto()


@dataclass(frozen=True, slots=True)
class Route:
    """One resource; `model` and `version` where it is a model's."""

    resource: Resource
    model: str = ""
    version: int | None = None


class NoSuchPath(ServingError):  # noqa: N818 - the word says what is wrong
    """The protocol has no such path."""


class WrongMethod(ServingError):  # noqa: N818 - the word says what is wrong
    """The path exists, with another method."""


_FIXED: Final = {
    "/v2": Resource.SERVER,
    "/v2/health/live": Resource.LIVE,
    "/v2/health/ready": Resource.READY,
    "/v2/repository/index": Resource.INDEX,
}
_OF_MODEL: Final = {
    "": Resource.MODEL,
    "/ready": Resource.MODEL_READY,
    "/infer": Resource.MODEL_INFER,
}
_POSTED: Final = {Resource.INDEX, Resource.MODEL_INFER}
_MODEL_PATH: Final = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<rest>/ready|/infer)?"
)


@lru_cache(maxsize=512)
def parse_route(method: str, path: str) -> Route:
    """The route; raises NoSuchPath, WrongMethod or ModelUnknown."""
    route = _route(path)
    wanted = "POST" if route.resource in _POSTED else "GET"
    if method != wanted:
        raise WrongMethod(f"{path[:80]} takes {wanted}")
    return route


def _route(path: str) -> Route:
    if path in _FIXED:
        return Route(_FIXED[path])
    found = _MODEL_PATH.fullmatch(path)
    if found is None:
        raise NoSuchPath(f"no {path[:80]!r} here", hint="the protocol begins at /v2")
    resource = _OF_MODEL[found["rest"] or ""]
    return Route(resource, unquote(found["model"]), parse_version(found["version"] or ""))


def parse_version(text: str) -> int | None:
    """A version; none means any. Raises ModelUnknown: a version is a release's number."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ModelUnknown(f"no version {text[:40]!r} here", hint="a version is a number")
    return int(text)
