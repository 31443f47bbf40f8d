"""Ways to run a SavedModel: TensorFlow in float32 or bfloat16, or OpenVINO where somebody installed it."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lib.errors import UserError

Predict = Callable[[np.ndarray], np.ndarray]  # images (B, h, w, 1) uint8 -> probabilities float32
ENGINES = ("float32", "bfloat16", "openvino")


def choose(engine: str) -> str:
    """The engine that is asked for if this machine has what it needs, else "float32", which runs everywhere.

    Arguments:
        engine: one of ENGINES. "bfloat16" needs a processor that multiplies such numbers, and no graphics
            card, on which TensorFlow would ignore it; "openvino" needs the package.
    """
    if engine not in ENGINES:
        raise UserError(f"There is no engine called {engine!r}. Choose one of: {', '.join(ENGINES)}.")
    if engine == "openvino":
        return engine if importlib.util.find_spec("openvino") else "float32"
    if engine == "bfloat16":
        import tensorflow

        return (
            engine
            if multiplies_bfloat16() and not tensorflow.config.list_physical_devices("GPU")
            else "float32"
        )
    return engine


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16, as far as Linux says so."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text(encoding="utf-8").split() if path.is_file() else ()
    return "amx_bf16" in flags or "avx512_bf16" in flags


def open_saved_model(folder: str | Path, engine: str) -> Predict:
    """A function from images (B, h, w, 1) uint8 to probabilities float32 (numpy): the SavedModel in `folder`,
    run by `engine`."""
    return {"float32": _float32, "bfloat16": _bfloat16, "openvino": _openvino}[choose(engine)](str(folder))


def _float32(folder: str) -> Predict:
    import tensorflow

    loaded = tensorflow.saved_model.load(folder)
    return lambda images: loaded.serve(tensorflow.constant(images)).numpy()


def _bfloat16(folder: str) -> Predict:
    """Convolutions and matrix products on bfloat16 (8 bits of precision, summed up in float32), the rest in
    float32.

    The weights become constants of the graph, so that they are converted, and normalizations folded into
    them, once and not at
    every call: twice as fast again. Meanwhile that takes memory for many copies of the weights.
    """
    import tensorflow
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph, v1 = tensorflow.Graph(), tensorflow.compat.v1
    with _quiet():
        # Without a name it would be gone before its function is read.
        loaded = tensorflow.saved_model.load(folder)
        frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
        with graph.as_default():
            tensorflow.graph_util.import_graph_def(frozen.graph.as_graph_def(), name="")
        # A session of its own, because the switch for a whole process would reach trainings in it too.
        settings = v1.ConfigProto()
        rewriting = settings.graph_options.rewrite_options
        rewriting.auto_mixed_precision_onednn_bfloat16 = type(rewriting).ON
        predict = v1.Session(graph=graph, config=settings).make_callable(
            frozen.outputs[0].name, [frozen.inputs[0].name]
        )
        predict(np.zeros((1, *frozen.inputs[0].shape[1:]), np.uint8))
    return predict


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow prints while it rewrites a graph, which no log level of it stops, out of the
    reports."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _openvino(folder: str) -> Predict:
    import openvino

    compiled = openvino.Core().compile_model(openvino.convert_model(folder), "CPU")
    return lambda images: compiled(images)[0]
