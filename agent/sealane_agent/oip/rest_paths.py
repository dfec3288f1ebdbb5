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
    METRICS = auto()
    INDEX = auto()
    LOAD = auto()
    UNLOAD = auto()
    MODEL = auto()
    MODEL_READY = auto()
    MODEL_CONFIG = auto()
    MODEL_STATISTICS = auto()
    MODEL_INFER = auto()
    MEMORY_STATUS = auto()
    MEMORY_REGISTER = auto()
    MEMORY_UNREGISTER = auto()
    GPU_MEMORY_STATUS = auto()
    GPU_MEMORY_REGISTER = auto()
    GPU_MEMORY_UNREGISTER = auto()
    TRACE = auto()
    LOGGING = auto()


@dataclass(frozen=True, slots=True)
class Route:
    """One resource; `model` and `version` where it is a model's, `region` where it is memory."""

    resource: Resource
    model: str = ""
    version: int | None = None
    region: str = ""


class NoSuchPath(ServingError):  # noqa: N818 - the word says what is wrong
    """The protocol has no such path."""


class WrongMethod(ServingError):  # noqa: N818 - the word says what is wrong
    """The path exists, with another method."""


_FIXED: Final = {
    "/v2": Resource.SERVER,
    "/v2/health/live": Resource.LIVE,
    "/v2/health/ready": Resource.READY,
    "/metrics": Resource.METRICS,
    "/v2/repository/index": Resource.INDEX,
    # Before the models: one of them may be called "stats".
    "/v2/models/stats": Resource.MODEL_STATISTICS,
    "/v2/trace/setting": Resource.TRACE,
    "/v2/logging": Resource.LOGGING,
}
_OF_MODEL: Final = {
    "": Resource.MODEL,
    "/ready": Resource.MODEL_READY,
    "/config": Resource.MODEL_CONFIG,
    "/stats": Resource.MODEL_STATISTICS,
    "/infer": Resource.MODEL_INFER,
    "/trace/setting": Resource.TRACE,
}
_OF_REPOSITORY: Final = {"load": Resource.LOAD, "unload": Resource.UNLOAD}
_OF_MEMORY: Final = {
    ("system", "status"): Resource.MEMORY_STATUS,
    ("system", "register"): Resource.MEMORY_REGISTER,
    ("system", "unregister"): Resource.MEMORY_UNREGISTER,
    ("cuda", "status"): Resource.GPU_MEMORY_STATUS,
    ("cuda", "register"): Resource.GPU_MEMORY_REGISTER,
    ("cuda", "unregister"): Resource.GPU_MEMORY_UNREGISTER,
}
_POSTED: Final = {
    Resource.INDEX,
    Resource.LOAD,
    Resource.UNLOAD,
    Resource.MODEL_INFER,
    Resource.MEMORY_REGISTER,
    Resource.MEMORY_UNREGISTER,
    Resource.GPU_MEMORY_REGISTER,
    Resource.GPU_MEMORY_UNREGISTER,
}
_EITHER: Final = {Resource.TRACE, Resource.LOGGING}
_MODEL_PATH: Final = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
    r"(?P<rest>/ready|/config|/stats|/infer|/trace/setting)?"
)
_REPOSITORY_PATH: Final = re.compile(
    r"/v2/repository(?:/[^/]+)?/models/(?P<model>[^/]+)/(?P<act>load|unload)"
)
_MEMORY_PATH: Final = re.compile(
    r"/v2/(?P<kind>system|cuda)sharedmemory(?:/region/(?P<region>[^/]+))?"
    r"/(?P<act>status|register|unregister)"
)


@lru_cache(maxsize=512)
def parse_route(method: str, path: str) -> Route:
    """The route; raises NoSuchPath, WrongMethod or ModelUnknown."""
    route = _route(path)
    wanted = "POST" if route.resource in _POSTED else "GET"
    if method != wanted and not (method == "POST" and route.resource in _EITHER):
        raise WrongMethod(f"{path[:80]} takes {wanted}")
    return route


def _route(path: str) -> Route:
    if path in _FIXED:
        return Route(_FIXED[path])
    if found := _REPOSITORY_PATH.fullmatch(path):
        return Route(_OF_REPOSITORY[found["act"]], unquote(found["model"]))
    if found := _MEMORY_PATH.fullmatch(path):
        resource = _OF_MEMORY[found["kind"], found["act"]]
        return Route(resource, region=unquote(found["region"] or ""))
    found = _MODEL_PATH.fullmatch(path)
    if found is None:
        raise NoSuchPath(f"no {path[:80]!r} here", hint="the protocol begins at /v2")
    return Route(
        _OF_MODEL[found["rest"] or ""],
        unquote(found["model"]),
        parse_version(found["version"] or ""),
    )


def slot_in(path: str) -> str:
    """Of which slot a path speaks; empty when of none."""
    found = _MODEL_PATH.fullmatch(path)
    return unquote(found["model"]) if found else ""


def parse_version(text: str) -> int | None:
    """A version; none means any. Raises ModelUnknown: a version is a release's number."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ModelUnknown(f"no version {text[:40]!r} here", hint="a version is a number")
    return int(text)
