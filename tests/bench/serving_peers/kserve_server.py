"""One ONNX model behind KServe's Python server, in an environment of its own."""

from __future__ import annotations

import os
from typing import Any

import kserve
import onnxruntime


class Served(kserve.Model):  # type: ignore[misc] # the library ships no types
    """Answers `y` for `x`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.ready = True

    async def predict(self, payload: Any, *_: Any, **__: Any) -> Any:
        """One request."""
        (answer,) = self.session.run(["y"], {"x": payload.inputs[0].as_numpy()})
        output = kserve.InferOutput("y", list(answer.shape), "FP32")
        output.set_data_from_numpy(answer, binary_data=True)
        return kserve.InferResponse(payload.id or "", self.name, [output])


if __name__ == "__main__":
    server = kserve.ModelServer(
        http_port=int(os.environ["BENCH_HTTP"]),
        grpc_port=int(os.environ["BENCH_GRPC"]),
        workers=1,
        enable_docs_url=False,
        access_log_format=None,
    )
    server.start([Served("bench")])
