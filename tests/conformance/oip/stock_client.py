"""What a user of the stock client would write; run in a process of its own.

Usage: stock_client.py http|grpc ADDRESS CASE. Prints what the case saw as one JSON object.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

MODEL = "cam"
ROWS = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)


def health(client: Any, _: Any) -> dict[str, Any]:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready(MODEL),
        "version": client.is_model_ready(MODEL, "1"),
        "other_version": client.is_model_ready(MODEL, "9"),
        "unknown": client.is_model_ready("nobody"),
    }


def metadata(client: Any, _: Any) -> dict[str, Any]:
    json_too = (
        {"as_json": True} if isinstance(client, tritonclient.grpc.InferenceServerClient) else {}
    )
    return {
        "server": client.get_server_metadata(**json_too),
        "model": client.get_model_metadata(MODEL, **json_too),
        "index": client.get_model_repository_index(**json_too),
    }


def infer(client: Any, kind: Any, *, binary: bool = True, **options: Any) -> dict[str, Any]:
    over_http = kind is tritonclient.http
    given = kind.InferInput("x", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS, **({"binary_data": binary} if over_http else {}))
    wanted = kind.InferRequestedOutput("y", **({"binary_data": binary} if over_http else {}))
    result = client.infer(MODEL, [given], outputs=[wanted], request_id="r-1", **options)
    response = result.get_response() if over_http else result.get_response(as_json=True)
    return {
        "y": result.as_numpy("y").tolist(),
        "name": response["model_name"],
        "version": response["model_version"],
        "id": response["id"],
    }


def infer_json(client: Any, kind: Any) -> dict[str, Any]:
    return infer(client, kind, binary=False)


def infer_gzip(client: Any, kind: Any) -> dict[str, Any]:
    if kind is tritonclient.grpc:
        return infer(client, kind, compression_algorithm="gzip")
    return infer(client, kind, request_compression_algorithm="gzip")


def infer_deflate(client: Any, kind: Any) -> dict[str, Any]:
    if kind is tritonclient.grpc:
        return infer(client, kind, compression_algorithm="deflate")
    return infer(client, kind, request_compression_algorithm="deflate")


def infer_version(client: Any, kind: Any) -> dict[str, Any]:
    return infer(client, kind, model_version="1")


def infer_all_outputs(client: Any, kind: Any) -> dict[str, Any]:
    given = kind.InferInput("x", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    return {"y": client.infer(MODEL, [given]).as_numpy("y").tolist()}


def errors(client: Any, kind: Any) -> dict[str, Any]:
    def said(model: str, name: str, rows: Any, **options: Any) -> list[Any]:
        given = kind.InferInput(name, list(rows.shape), "FP32")
        given.set_data_from_numpy(rows)
        try:
            client.infer(model, [given], **options)
        except kind.InferenceServerException as error:
            return [error.status(), error.message()]
        return ["no error", ""]

    return {
        "unknown_model": said("nobody", "x", ROWS),
        "unknown_version": said(MODEL, "x", ROWS, model_version="9"),
        "wrong_shape": said(MODEL, "x", ROWS.reshape(4, 3)),
        "wrong_name": said(MODEL, "z", ROWS),
        "too_many_rows": said(MODEL, "x", np.zeros((2_000_000, 4), np.float32)),
    }


def main() -> None:
    door, address, case = sys.argv[1:]
    kind = {"http": tritonclient.http, "grpc": tritonclient.grpc}[door]
    client = kind.InferenceServerClient(address)
    try:
        sys.stdout.write(json.dumps(globals()[case](client, kind)))
    finally:
        client.close()


main()
