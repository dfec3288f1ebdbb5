"""One ONNX model behind LitServe, in an environment of its own: JSON is all it speaks."""

import os
from typing import Any

import litserve
import numpy as np
import onnxruntime
from fastapi import Request

KINDS = {"FP32": np.float32, "UINT8": np.uint8}


class Api(litserve.LitAPI):  # type: ignore[misc] # the library ships no types
    """Answers `y` for `x`."""

    def setup(self, device: str) -> None:
        """Load by path, with the same options as every other server of the bench."""
        del device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.kind = KINDS[os.environ["BENCH_DATATYPE"]]

    def decode_request(self, request: Request) -> Any:
        """JSON to an array."""
        return np.array(request["x"], self.kind)

    def predict(self, x: Any) -> Any:
        """One request."""
        return self.session.run(["y"], {"x": x})[0]

    def encode_response(self, output: Any) -> Any:
        """An array to JSON."""
        return {"y": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_HTTP"]),
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )
