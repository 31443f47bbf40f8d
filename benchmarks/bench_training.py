"""A training step: this project's networks against the same ones in torch.

python benchmarks/bench_training.py [--quick]

Unet-ResNet34 (segmentation-models-pytorch's in torch), and the networks of small_data on EfficientNet-Lite0 (timm's
in torch, with the same decoder). Each way lives in a process of its own, for its peak memory, and takes one step
whenever it is told to: two or three ways at a time, in turn.
"""

import os
import resource
import subprocess
import sys
import time

import measure
import numpy as np

RESNET, LITE, CLASSIFIER = "Unet-ResNet34", "Unet-Lite0", "Lite0 classifier"
SHAPES = {RESNET: (8, 128, 800), LITE: (12, 256, 256), CLASSIFIER: (12, 256, 256)}  # strips, pixels, pixels
QUICK = 2, 64, 64
FLOAT, HALF, OWN = (
    "Keras float32",
    "Keras mixed_bfloat16",
    "Keras mixed_bfloat16, TensorFlow's own depthwise gradients",
)
TORCH, LAST, TORCH_HALF = "torch float32", "torch float32, channels last", "torch bfloat16, channels last"
GROUPS = [  # title, network, ways: the first is this project's, against rivals of which the targets are below
    ("float32", RESNET, (FLOAT, TORCH, LAST)),
    ("the best of each", RESNET, (HALF, TORCH_HALF)),
    ("segmenter of small_data, float32", LITE, (FLOAT, TORCH, LAST)),
    ("segmenter of small_data, 16 bits", LITE, (HALF, OWN, TORCH_HALF)),
    ("classifier of small_data, float32", CLASSIFIER, (FLOAT, TORCH, LAST)),
    ("classifier of small_data, 16 bits", CLASSIFIER, (HALF, OWN, TORCH_HALF)),
]
LEAST = {OWN: 1.0}  # of a rival; else 0.9
VISION = ("nms", "qnms", "roi_align", "qroi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
          "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward")  # fmt: skip


def batch(network, shape):
    """Images (B, h, w, 1) uint8 and what is to be learned, float32; what is on them does not change the time."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (*shape, 1)).astype(np.uint8)
    wanted = {RESNET: (*shape, 1), LITE: (*shape, 4), CLASSIFIER: (shape[0], 1)}[network]
    return images, (rng.random(wanted) < 0.1).astype(np.float32)


def keras_step(network, shape, precision, own=False):
    """A function that takes one step of this project's training, as `training.fit` compiles it; own: with
    TensorFlow's gradients."""
    import keras

    from lib.models import builders, depthwise, losses

    if own:
        depthwise._on_processor = lambda: False
    keras.config.set_dtype_policy(precision)
    loss = losses.bce_plus_dice_loss
    if network == RESNET:
        model = builders.build_segmenter(backbone="resnet34", height=shape[1], width=shape[2])
    elif network == LITE:
        model = builders.build_segmenter(backbone="efficientnetlite0", height=shape[1], classes=4)
    else:
        loss = "binary_crossentropy"
        model = builders.build_classifier(
            "efficientnetlite0", height=shape[1], width=None, localization_head=False
        )
    model.compile(keras.optimizers.Adam(1e-4), loss=loss, jit_compile=False)
    images, wanted = batch(network, shape)
    return lambda: model.train_on_batch(images, wanted)


def torch_network(network):
    """The network in torch: of segmentation-models-pytorch, or timm's encoder with this project's decoder."""
    import torch
    from torch.nn import functional

    if network == RESNET:
        import segmentation_models_pytorch as smp

        return smp.Unet("resnet34", encoder_weights=None, in_channels=3, classes=1)
    import timm

    if network == CLASSIFIER:
        return timm.create_model("efficientnet_lite0", num_classes=1, drop_rate=0.2)
    from lib.models.builders import DECODER

    class Unet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = timm.create_model("efficientnet_lite0", features_only=True)
            *skips, last = self.encoder.feature_info.channels()
            self.blocks = torch.nn.ModuleList()
            for skip, filters in zip(skips[::-1], DECODER[::-1], strict=True):
                convolution = torch.nn.Conv2d(last + skip, filters, 3, padding=1, bias=False)
                parts = convolution, torch.nn.BatchNorm2d(filters), torch.nn.ReLU(inplace=True)
                self.blocks.append(torch.nn.Sequential(*parts))
                last = filters
            self.head = torch.nn.Conv2d(last, 4, 3, padding=1)

        def forward(self, x):
            *skips, x = self.encoder(x)
            for skip, block in zip(skips[::-1], self.blocks, strict=True):
                x = block(torch.cat([functional.interpolate(x, scale_factor=2), skip], 1))
            return functional.interpolate(self.head(x), scale_factor=2, mode="bilinear")

    return Unet()


def torch_step(network, shape, half, last):
    """The same in torch, with segmentation-models-pytorch's Dice loss and torch's cross-entropy."""
    import torch

    library = torch.library.Library(
        "torchvision", "DEF"
    )  # a torchvision compiled for another torch can be imported with these
    for name in VISION:
        library.define(f"{name}(Tensor x) -> Tensor")
    import segmentation_models_pytorch as smp

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layout = torch.channels_last if last else torch.contiguous_format
    model = torch_network(network).to(memory_format=layout).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    images, wanted = batch(network, shape)
    entropy = torch.nn.BCEWithLogitsLoss()
    dice = smp.losses.DiceLoss("binary" if network == RESNET else "multilabel", from_logits=True)
    images, wanted = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(wanted)
    wanted = wanted if network == CLASSIFIER else wanted.permute(0, 3, 1, 2)

    def step():
        optimizer.zero_grad(set_to_none=True)
        x = ((images.float() / 255 - 0.344) / 0.196).expand(-1, 3, -1, -1).contiguous(memory_format=layout)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(x)
        loss = entropy(logits.float(), wanted)
        if network != CLASSIFIER:
            loss = loss + dice(logits.float(), wanted)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


WAYS = {
    FLOAT: lambda *of: keras_step(*of, "float32"),
    HALF: lambda *of: keras_step(*of, "mixed_bfloat16"),
    OWN: lambda *of: keras_step(*of, "mixed_bfloat16", own=True),
    TORCH: lambda *of: torch_step(*of, False, False),
    LAST: lambda *of: torch_step(*of, False, True),
    TORCH_HALF: lambda *of: torch_step(*of, True, True),
}


def child(way, network, shape):
    """Take a step for each line that comes in, answer with its seconds and the peak memory so far in MiB."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    step = WAYS[way](network, shape)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=answers, flush=True)


def compare(network, ways, quick):
    """({way: [images a second, one a step]}, {way: [peak MiB]})."""
    steps, options = (1, ["--quick"]) if quick else (7, [])
    started = {
        way: subprocess.Popen(
            [sys.executable, __file__, "--way", way, "--network", network, *options],
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
                    f"{way} ended early: echo | python benchmarks/bench_training.py --way '{way}' --network '{network}' says why."
                )
            if step > 1:  # the first two steps build the graph
                speeds[way].append((QUICK if quick else SHAPES[network])[0] / float(answer[0]))
            memory[way] = [float(answer[1])]
    for process in started.values():
        process.communicate()
    return speeds, memory


def main():
    parser = measure.arguments(__doc__)
    parser.add_argument("--way", choices=WAYS, help="be one of the processes that are compared")
    parser.add_argument("--network", choices=SHAPES, default=RESNET, help="of --way")
    args = parser.parse_args()
    if args.way:
        return child(args.way, args.network, QUICK if args.quick else SHAPES[args.network])
    print("## Training step\n")
    print(
        "Unet-ResNet34 at 128 x 800, batches of 8; the networks of small_data on crops of 256 x 256, batches of 12; cross-entropy and, "
        "for masks, Dice, Adam; forward, backward and update."
    )
    for title, network, ways in GROUPS:
        speeds, memory = compare(network, ways, args.quick)
        targets = {way: LEAST.get(way, 0.9) for way in ways[1:]}
        measure.table(f"{network}, {title}", speeds, "images/s", ways[0], targets)
        measure.table(f"{title}: peak memory of the process", memory, "MiB", ways[0], "")


if __name__ == "__main__":
    main()
