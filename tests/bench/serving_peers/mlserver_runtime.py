"""One ONNX model behind MLServer, in an environment of its own."""

from __future__ import annotations

import os
from typing import Any

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Runtime(MLModel):  # type: ignore[misc] # the library ships no types
    """Answers `y` for `x`."""

    async def load(self) -> bool:
        """Load by path, with the same options as every other server of the bench."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCH_THREADS"])
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: Any) -> Any:
        """One request."""
        given = NumpyCodec.decode_input(payload.inputs[0])
        (answer,) = self.session.run(["y"], {"x": given})
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("y", answer)]
        )
