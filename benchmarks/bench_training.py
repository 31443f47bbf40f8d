"""A training step of Unet-ResNet34 at 128 x 800, batch 8: this project's against segmentation-models-pytorch
on torch.

python benchmarks/bench_training.py [--quick]

Each way lives in a process of its own, for its peak memory, and takes one step whenever it is told to: two
ways at a time, in turn.
"""

import os
import resource
import subprocess
import sys
import time

import measure
import numpy as np

SHAPE = 8, 128, 800  # strips, pixels, pixels
QUICK = 2, 32, 64
PAIRS = {  # title: (this project's way, the rival's)
    "float32": ("Keras float32", "torch float32", "torch float32, channels last"),
    "the best of each": ("Keras mixed_bfloat16", "torch bfloat16, channels last"),
}
VISION = ("nms", "qnms", "roi_align", "qroi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
          "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward")  # fmt: skip


def batch(shape):
    """Images (B, h, w, 1) uint8 and masks (B, h, w, 1) float32; what is on them does not change the time."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, 1)).astype(np.uint8)
    return images, (rng.random(images.shape) < 0.1).astype(np.float32)


def keras_step(shape, precision):
    """A function that takes one step of this project's training, as `training.fit` compiles it."""
    import keras

    from lib.models import builders, losses

    keras.config.set_dtype_policy(precision)
    model = builders.build_segmenter(backbone="resnet34", height=shape[1], width=shape[2])
    model.compile(keras.optimizers.Adam(1e-4), loss=losses.bce_plus_dice_loss, jit_compile=False)
    images, masks = batch(shape)
    return lambda: model.train_on_batch(images, masks)


def torch_step(shape, half, last):
    """The same with segmentation-models-pytorch's network, its Dice loss and torch's cross-entropy."""
    import torch

    library = torch.library.Library(
        "torchvision", "DEF"
    )  # a torchvision compiled for another torch can be imported with these
    for name in VISION:
        library.define(f"{name}(Tensor x) -> Tensor")
    import segmentation_models_pytorch as smp

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layout = torch.channels_last if last else torch.contiguous_format
    model = (
        smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=1).to(memory_format=layout).train()
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    entropy, dice = torch.nn.BCEWithLogitsLoss(), smp.losses.DiceLoss("binary", from_logits=True)
    images, masks = (torch.from_numpy(array).permute(0, 3, 1, 2) for array in batch(shape))

    def step():
        optimizer.zero_grad(set_to_none=True)
        x = ((images.float() / 255 - 0.344) / 0.196).expand(-1, 3, -1, -1).contiguous(memory_format=layout)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(x)
        loss = entropy(logits.float(), masks) + dice(logits.float(), masks)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


WAYS = {
    "Keras float32": lambda shape: keras_step(shape, "float32"),
    "Keras mixed_bfloat16": lambda shape: keras_step(shape, "mixed_bfloat16"),
    "torch float32": lambda shape: torch_step(shape, False, False),
    "torch float32, channels last": lambda shape: torch_step(shape, False, True),
    "torch bfloat16, channels last": lambda shape: torch_step(shape, True, True),
}


def child(way, shape):
    """Take a step for each line that comes in, answer with its seconds and the peak memory so far in MiB."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    step = WAYS[way](shape)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=answers, flush=True)


def compare(ways, quick):
    """({way: [images a second, one a step]}, {way: [peak MiB]})."""
    steps, options = (1, ["--quick"]) if quick else (7, [])
    started = {
        way: subprocess.Popen(
            [sys.executable, __file__, "--way", way, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for way in ways
    }
    speeds, memory = {way: [] for way in ways}, {}
    for step in range(steps + 2):
        for way, process in started.items():
            process.stdin.write("\n")
            process.stdin.flush()
            answer = process.stdout.readline().split()
            if not answer:
                raise SystemExit(
                    f"{way} ended early: echo | python benchmarks/bench_training.py --way '{way}' says why."
                )
            if step > 1:  # the first two steps build the graph
                speeds[way].append((QUICK if quick else SHAPE)[0] / float(answer[0]))
            memory[way] = [float(answer[1])]
    for process in started.values():
        process.communicate()
    return speeds, memory


def main():
    parser = measure.arguments(__doc__)
    parser.add_argument("--way", choices=WAYS, help="be one of the processes that are compared")
    args = parser.parse_args()
    if args.way:
        return child(args.way, QUICK if args.quick else SHAPE)
    print("## Training step\n")
    print(
        "Unet-ResNet34 at 128 x 800, batches of 8, cross-entropy + Dice, Adam; forward, backward and update."
    )
    for title, ways in PAIRS.items():
        speeds, memory = compare(ways, args.quick)
        measure.table(title, speeds, "images/s", ways[0], dict.fromkeys(ways[1:], 0.9))
        measure.table(f"{title}: peak memory of the process", memory, "MiB", ways[0], "")


if __name__ == "__main__":
    main()
