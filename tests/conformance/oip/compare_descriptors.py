"""Imports our stubs and the stock client's into one process and prints where they differ."""

from __future__ import annotations

import json
import sys
from typing import Any

import tritonclient.grpc
from sealane_agent.oip.wire import open_inference_pb2 as ours
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as theirs

OURS_ALONE = {"ModelMetadataResponse.properties", "ModelMetadataResponse.PropertiesEntry"}


def fields(message: Any, prefix: str = "") -> dict[str, Any]:
    name = prefix + message.name
    found = {
        f"{name}.{field.name}": [field.number, field.type, field.is_repeated]
        for field in message.fields
    }
    for nested in message.nested_types:
        found |= fields(nested, f"{name}.")
    return found


def main() -> None:
    assert tritonclient.grpc.InferenceServerClient
    known = {**model_config_pb2.DESCRIPTOR.message_types_by_name}
    known |= theirs.DESCRIPTOR.message_types_by_name
    differing = []
    for name, message in ours.DESCRIPTOR.message_types_by_name.items():
        stock = fields(known[name])
        differing += [
            key
            for key, value in fields(message).items()
            if stock.get(key) != value and not any(key.startswith(alone) for alone in OURS_ALONE)
        ]
    request = ours.ModelInferRequest(model_name="cam", id="1", raw_input_contents=[b"abc"])
    request.inputs.add(name="x", datatype="FP32", shape=[1, -1])
    request.parameters["p"].double_param = 0.5
    parsed = theirs.ModelInferRequest.FromString(request.SerializeToString())
    sys.stdout.write(
        json.dumps(
            {
                "differing": differing,
                "same": parsed.SerializeToString(deterministic=True)
                == request.SerializeToString(deterministic=True),
            }
        )
    )


main()
