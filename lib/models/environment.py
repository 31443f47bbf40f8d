"""The environment variables and the Keras file of the user: what would change a result is set by the project,
or recorded by a run.

Nothing here imports Keras: it must be done before.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from lib.errors import UserError

OWN = {  # Keras runs on TensorFlow here, and segmentation-models 1.0.1 on tf.keras alone
    "KERAS_BACKEND": "tensorflow",
    "SM_FRAMEWORK": "tf.keras",
    "TF_USE_LEGACY_KERAS": "0",
}
GROWTH = (
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "true",
)  # or the first of two on a graphics card takes all its memory, also two opened by hand
FOREIGN = ("MPLBACKEND", "PYTHONSTARTUP", "PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONOPTIMIZE")
DROPPED = (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "KERAS_NNX_ENABLED",
)  # for looking for errors: they would cut every training
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
# How many threads add up a sum, with which instructions and on which card, decides its last bits.
RECORDED = ("TF_", "XLA_", "OMP_", "KMP_", "GOMP_", "MKL_", "DNNL_", "ONEDNN_", "OPENBLAS_", "BLIS_", "VECLIB_", "NPY_", "OPENCV_",
            "OV_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_TF32_", "GLIBC_TUNABLES")  # fmt: skip
UNRECORDED = (
    "TF_CPP_",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_CACHE",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    *OWN,
)  # words, memory, places, and what scikit-learn sets once it is imported, as by the first run of a sweep
ALLOWED = {  # in keras.json: with anything else `import keras` fails without a word
    "floatx": lambda value: value in ("float16", "float32", "float64"),
    "epsilon": lambda value: isinstance(value, float),
    "image_data_format": lambda value: value in ("channels_last", "channels_first"),
}


def set_up() -> None:
    """Let this process run Keras as the project means it, whatever its environment said. UserError where
    Keras could not start."""
    os.environ.update(OWN)
    os.environ.setdefault(*GROWTH)
    for variable in DROPPED:
        os.environ.pop(variable, None)
    check_keras_file()


def of_notebook(jobs: int) -> dict[str, str]:
    """The environment of a notebook's process, of which so many run side by side: a dict.

    TensorFlow logs nothing: what fails is an exception, and its lines about processors and graphics cards
        would stand in the report.
    """
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", PYTHONHASHSEED="0", **OWN)
    environment.setdefault(*GROWTH)
    # The kernel draws into the notebook, and runs no code that is nobody's of the project. lib is found from
    # the project's folder. A library's warning is no error and does not stand in the reports; what a library
    # asserts is looked at.
    for variable in (*DROPPED, *FOREIGN):
        environment.pop(variable, None)
    if jobs > 1:
        environment.update(dict.fromkeys(THREADS, str(max(cores() // jobs, 1))))
    return environment


def recorded(environment: Mapping[str, str]) -> dict[str, str]:
    """{variable: value} of those in an environment that may change the last bits of a result."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(RECORDED) and not name.startswith(UNRECORDED)
    }


def check_keras_file() -> None:
    """UserError that names keras.json if it holds what Keras does not start with. All else in it has no
    effect."""
    home = os.path.expanduser("~")
    # As Keras has it.
    folder = os.environ.get(
        "KERAS_HOME", os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    )
    file = Path(os.path.expanduser(folder)) / "keras.json"
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except PermissionError:
        raise UserError(
            f"{file} cannot be read, and Keras does not start without. Make it readable, or delete it."
        ) from None
    except (OSError, ValueError):  # not there, or no JSON: Keras passes over it as well
        return
    if isinstance(settings, dict):
        wrong = [
            f"{name} is {settings[name]!r}"
            for name, fits in ALLOWED.items()
            if name in settings and not fits(settings[name])
        ]
    else:
        wrong = ["it holds no settings"]
    if wrong:
        raise UserError(
            f"{file}: {wrong[0]}, and Keras does not start. Correct it, or delete the file: this project needs none."
        )


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
