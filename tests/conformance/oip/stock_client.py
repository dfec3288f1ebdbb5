"""What a user of the stock client would write; run in a process of its own.

Usage: stock_client.py http|grpc ADDRESS CASE. Prints what the case saw as one JSON object.
"""

from __future__ import annotations

import json
import os
import queue
import sys
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import shared_memory as memory

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
    both: dict[str, Any] = {
        "request_compression_algorithm": "gzip",
        "response_compression_algorithm": "gzip",
    }
    return infer(client, kind, **both)


def infer_deflate(client: Any, kind: Any) -> dict[str, Any]:
    if kind is tritonclient.grpc:
        return infer(client, kind, compression_algorithm="deflate")
    both: dict[str, Any] = {
        "request_compression_algorithm": "deflate",
        "response_compression_algorithm": "deflate",
    }
    return infer(client, kind, **both)


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


def pages(client: Any, kind: Any) -> dict[str, Any]:
    """Configuration, statistics, logging and tracing."""
    json_too = {"as_json": True} if kind is tritonclient.grpc else {}
    infer_all_outputs(client, kind)
    return {
        "config": client.get_model_config(MODEL, **json_too),
        "statistics": client.get_inference_statistics(MODEL, **json_too),
        "all_statistics": client.get_inference_statistics(**json_too),
        "trace": client.get_trace_settings(**json_too),
        "log": client.get_log_settings(**json_too),
    }


def classes(client: Any, kind: Any) -> dict[str, Any]:
    given = kind.InferInput("x", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    wanted = kind.InferRequestedOutput("y", class_count=2)
    found = client.infer(MODEL, [given], outputs=[wanted]).as_numpy("y")
    return {"y": [[item.decode() for item in row] for row in found.tolist()]}


def terms(client: Any, kind: Any) -> dict[str, Any]:
    """Priority, timeout, parameters of one's own, and what the protocol keeps for itself."""
    given = kind.InferInput("x", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    own = {"mine": "value", "number": 7, "yes": True}
    options = {"priority": 1, "timeout": 10_000_000, "sequence_id": 9, "parameters": own}
    answer = client.infer(MODEL, [given], **options)
    return {
        "y": answer.as_numpy("y").tolist(),
        "expired": refused(kind, lambda: client.infer(MODEL, [given], timeout=1)),
    }


def refused(kind: Any, act: Any) -> list[Any]:
    try:
        act()
    except kind.InferenceServerException as error:
        return [error.status(), error.message()]
    return ["no error", ""]


def repository(client: Any, kind: Any) -> dict[str, Any]:
    """Unload and load; `refused` when the endpoint's owner did not allow it."""
    denied = refused(kind, lambda: client.unload_model(MODEL))
    if denied[0] != "no error":
        return {"refused": denied, "load": refused(kind, lambda: client.load_model(MODEL))}
    gone = client.is_model_ready(MODEL)
    client.load_model(MODEL)
    return {
        "ready_after_unload": gone,
        "ready_after_load": client.is_model_ready(MODEL),
        "config": refused(kind, lambda: client.load_model(MODEL, config="{}")),
        "unknown": refused(kind, lambda: client.load_model("nobody")),
    }


def shared_memory(client: Any, kind: Any) -> dict[str, Any]:
    """Both ways through named memory; the GPU's is asked for first, as perf_analyzer does."""
    client.unregister_cuda_shared_memory()
    client.unregister_system_shared_memory()
    name = f"sealane-test-{kind.__name__}-{os.getpid()}"
    size = ROWS.nbytes
    handle = memory.create_shared_memory_region("both", f"/{name}", 2 * size)
    try:
        memory.set_shared_memory_region(handle, [ROWS])
        denied = refused(
            kind, lambda: client.register_system_shared_memory("both", f"/{name}", 2 * size)
        )
        if denied[0] != "no error":
            return {"refused": denied}
        given = kind.InferInput("x", list(ROWS.shape), "FP32")
        given.set_shared_memory("both", size)
        wanted = kind.InferRequestedOutput("y")
        wanted.set_shared_memory("both", size, offset=size)
        client.infer(MODEL, [given], outputs=[wanted])
        found = memory.get_contents_as_numpy(handle, np.float32, [3, 3], offset=size)
        plain = kind.InferRequestedOutput("y")
        mixed = client.infer(MODEL, [given], outputs=[plain]).as_numpy("y")
        json_too = {"as_json": True} if kind is tritonclient.grpc else {}
        status = client.get_system_shared_memory_status(**json_too)
        beyond = kind.InferInput("x", list(ROWS.shape), "FP32")
        beyond.set_shared_memory("both", size, offset=2 * size)
        seen = {
            "y": found.tolist(),
            "mixed": mixed.tolist(),
            "status": status,
            "beyond": refused(kind, lambda: client.infer(MODEL, [beyond])),
            "path": refused(
                kind, lambda: client.register_system_shared_memory("other", "/../etc/x", 1)
            ),
            "gpu": refused(kind, lambda: client.register_cuda_shared_memory("g", b"YQ==", 0, 1)),
        }
        client.unregister_system_shared_memory("both")
        seen["after"] = refused(kind, lambda: client.infer(MODEL, [given]))
        return seen
    finally:
        memory.destroy_shared_memory_region(handle)


def stream(client: Any, kind: Any) -> dict[str, Any]:
    """Three requests in a stream, one of them wrong; then another client with strict errors."""
    answers: queue.Queue[Any] = queue.Queue()

    def heard(result: Any, error: Any) -> None:
        answers.put((result, error))

    client.start_stream(heard)
    for number, name in enumerate(("x", "z", "x")):
        given = kind.InferInput(name, list(ROWS.shape), "FP32")
        given.set_data_from_numpy(ROWS)
        client.async_stream_infer(MODEL, [given], request_id=str(number))
    found = [answers.get(timeout=30) for _ in range(3)]
    client.stop_stream()
    given = kind.InferInput("z", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    client.start_stream(heard, headers={"triton_grpc_error": "true"})
    client.async_stream_infer(MODEL, [given])
    strict = answers.get(timeout=30)[1]
    client.stop_stream()
    return {
        "ids": [result.get_response().id for result, error in found if not error],
        "y": found[0][0].as_numpy("y").tolist(),
        "error": found[1][1].message(),
        "strict": strict.status(),
    }


def final(client: Any, kind: Any) -> dict[str, Any]:
    """A client that wants to be told of the end of each request's answers."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    given = kind.InferInput("x", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    client.async_stream_infer(MODEL, [given], enable_empty_final_response=True)
    found = [answers.get(timeout=30)[0].get_response() for _ in range(2)]
    client.stop_stream()
    return {"final": [item.parameters["triton_final_response"].bool_param for item in found]}


def heard_nothing(result: Any, error: Any) -> None:
    del result, error


def cancelled(client: Any, kind: Any) -> dict[str, Any]:
    """A call that its client takes back; the next one is answered."""
    given = kind.InferInput("x", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    call = client.async_infer(MODEL, [given], callback=heard_nothing)
    call.cancel()
    return {"y": client.infer(MODEL, [given]).as_numpy("y").tolist()}


def health_service(_: Any, __: Any) -> dict[str, Any]:
    """grpc.health.v1 over a plain channel, as an orchestrator asks."""
    seen = {}
    with grpc.insecure_channel(sys.argv[2]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch", None, None)
        for name in ("", MODEL, "nobody"):
            asked = b"\x0a" + bytes([len(name)]) + name.encode() if name else b""
            try:
                seen[name] = check(asked).hex()
            except grpc.RpcError as error:
                seen[name] = str(error.code())
        seen["watch"] = next(iter(watch(b""))).hex()
    return seen


def main() -> None:
    door, address, case = sys.argv[1:]
    kind = {"http": tritonclient.http, "grpc": tritonclient.grpc}[door]
    client = kind.InferenceServerClient(address)
    try:
        sys.stdout.write(json.dumps(globals()[case](client, kind)))
    finally:
        client.close()


main()
