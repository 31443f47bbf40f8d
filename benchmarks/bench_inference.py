"""Prediction by single networks: this project's engines against keras.predict, ONNX Runtime and OpenVINO.

python benchmarks/bench_inference.py [--quick] [--run FOLDER]

The networks of a finished run, and two large ones with random weights. Then the score of the whole cascade
with each engine.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("SM_FRAMEWORK", "tf.keras")

import measure
import numpy as np
import trained_run

with contextlib.redirect_stdout(sys.stderr):
    import segmentation_models  # noqa: F401  (it prints a line, which is not for the table)

from lib.data import rle
from lib.data.images import read_image
from lib.inference import cascade
from lib.models import runtime, saving

BATCH = 16
LARGE = {  # name: (kind, how it is built, input, strips)
    "Unet-ResNet34, 128 x 800": ("segmenter", {"backbone": "resnet34", "height": 128, "width": 800}, [128, 800], 8),
    "InceptionResNetV2, 299 x 299": ("classifier",
        {"backbone": "InceptionResNetV2", "height": 299, "width": 299, "localization_head": False},
                                     [299, 299], 8),
}  # fmt: skip
FLOAT, HALF, KERAS = "product, float32", "product, bfloat16", "keras.predict"


def onnx(saved_model):
    """ONNX Runtime with the network as tf2onnx converts it."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        command = [
            sys.executable,
            "-m",
            "tf2onnx.convert",
            "--saved-model",
            str(saved_model),
            "--output",
            str(path),
            "--opset",
            "17",
        ]
        subprocess.run(command, check=True, capture_output=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def openvino(saved_model, precision):
    """OpenVINO with the SavedModel, which it reads itself."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(openvino.convert_model(str(saved_model)), "CPU", settings)
    return lambda images: compiled(images)[0]


def ways(folder, images):
    """{name: a function without arguments that predicts all images}, and which of them could not be made,
    {name: why}."""
    saved, network = folder / "saved_model", saving.load(folder)
    makers = {
        FLOAT: lambda: saving.predictor(folder, "float32")[0],
        HALF: lambda: saving.predictor(folder, "bfloat16")[0],
        "ONNX Runtime float32": lambda: onnx(saved),
        "OpenVINO float32": lambda: openvino(saved, "f32"),
        "OpenVINO bfloat16": lambda: openvino(saved, "bf16"),
    }
    if runtime.choose("bfloat16") == "float32":
        del makers[HALF], makers["OpenVINO bfloat16"]
    functions, failed = {KERAS: lambda: network.predict(images, batch_size=BATCH, verbose=0)}, {}
    for name, make in makers.items():
        try:
            predict = make()
            functions[name] = lambda predict=predict: [
                predict(images[i : i + BATCH]) for i in range(0, len(images), BATCH)
            ]
        except Exception as error:  # a rival that cannot run a network is a row less, not the end
            failed[name] = (str(error).strip().splitlines() or [type(error).__name__])[-1][:120]
    return functions, failed


def compare(title, folder, files, args):
    """Measure one network on these strips and print its table."""
    images = np.stack([read_image(path, saving.read_card(folder)["input"]) for path in files])[..., None]
    functions, failed = ways(folder, images)
    seconds = measure.interleaved(functions, 1 if args.quick else 5)
    speeds = {
        name: [len(images) / one for one in seconds[name]]
        for name in [
            *(name for name in (HALF, FLOAT) if name in functions),
            *(name for name in functions if not name.startswith("product")),
        ]
    }
    measure.table(title, speeds, "images/s", next(iter(speeds)), {KERAS: 2})
    if HALF in functions:
        print(f"In float32: {measure.ratio(speeds, 'images/s', FLOAT, KERAS):.2f} x keras.predict.")
    for name, why in failed.items():
        print(f"{name} could not run it: {why}")


def by_keras(network):
    """A network of the cascade that Keras predicts with from here on."""
    model = saving.load(network.folders[0])
    network.members = [lambda images: model.predict(images, batch_size=BATCH, verbose=0)]
    return network


def scores(run):
    """Print the score of the cascade by each engine, with the same thresholds, and how many of its masks
    differ."""
    networks = {KERAS: {name: by_keras(network) for name, network in run.networks("float32").items()}}
    networks |= {
        f"product, {engine}": run.networks(engine)
        for engine in runtime.ENGINES
        if runtime.choose(engine) == engine
    }
    predicted = {
        name: cascade.predict(members, run.files, run.thresholds, run.shape)[0]
        for name, members in networks.items()
    }
    reference = run.score(predicted[KERAS])
    print(
        f"\n| the whole cascade on {len(run.files)} test strips | score | difference | masks that differ | pixels that differ |\n"
        "|---|---|---|---|---|"
    )
    largest = 0.0
    for name, rles in predicted.items():
        pairs = [
            (a, b)
            for one, other in zip(rles, predicted[KERAS], strict=True)
            for a, b in zip(one, other, strict=True)
            if a != b
        ]
        pixels = sum(rle.area(a) + rle.area(b) - 2 * rle.intersection(a, b) for a, b in pairs)
        everything = sum(rle.area(text) for row in predicted[KERAS] for text in row)
        score = run.score(rles)
        largest = max(largest, abs(score - reference))
        print(
            f"| {name} | {score:.5f} | {score - reference:+.5f} | {len(pairs)} | {pixels / max(everything, 1):.3%} |"
        )
    print(
        f"\nTarget: unchanged to 0.0005: {'met' if largest <= 0.0005 else '**not met**'} (largest change {largest:.5f})."
    )


def main():
    parser = measure.arguments(__doc__)
    trained_run.add_argument(parser)
    args = parser.parse_args()
    run = trained_run.load(args.run)
    print(
        "## Inference\n\nBatches of 16 generated test strips, decoded beforehand. The compact networks are a demo run's, the large ones "
        f"have random weights. Processor with bfloat16: {'yes' if runtime.multiplies_bfloat16() else 'no'}."
    )
    for name in ("binary", "multilabel", "seg_class3"):
        compare(f"{name}, compact", run.models / name, run.files[: 16 if args.quick else 128], args)
    for title, (kind, build, size, count) in {} if args.quick else LARGE.items():
        with tempfile.TemporaryDirectory() as folder:
            card = {"kind": kind, "build": build, "input": size}
            saving.keras.utils.set_random_seed(1)
            saving.save(saving.build(card), Path(folder) / "model", card)
            compare(title, Path(folder) / "model", run.files[:count], args)
    if run.truth is not None:
        scores(run)


if __name__ == "__main__":
    main()
