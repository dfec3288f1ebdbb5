"""What a route of `/api/v1` is answered from: the offices as whoever asks may see them."""

from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import Request


def _seen(request: Request) -> Any:
    return request.state.offices


Seen = Annotated[Any, Depends(_seen)]
"""`dashboard.offices.Offices`, put there when the request was let in."""
