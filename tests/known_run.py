"""A run on a disk whose networks' answers are known: a strip's grey levels are its probabilities. Other processes
and other machines can open it."""

import os

from test_inspector import THRESHOLDS, H, W

from lib import files, paths
from lib.data import manifest


def make(folder, height=H, width=W, **changed):
    """A run of two classes; other thresholds as keywords. Its networks answer as `test_inspector.known_predictor`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    signature = [tf.TensorSpec((None, height, width, 1), tf.uint8)]

    def highest(images):
        return tf.cast(tf.reduce_max(images, axis=(1, 2, 3)), tf.float32)[:, None] / 255

    def multilabel(images):
        is_one = tf.cast(images[:, 0, 0] != 1, tf.float32)
        return tf.concat([highest(images), highest(images) * is_one], axis=1)

    def maps(images):
        return tf.cast(images, tf.float32) / 255

    answers = {"binary": highest, "multilabel": multilabel, "seg_class1": maps, "seg_class2": maps}
    for name in paths.network_names(2):
        saved = folder / "models" / name / "saved_model"
        module = tf.Module()
        module.serve = tf.function(answers[name], input_signature=signature)
        tf.saved_model.save(module, str(saved))
        kind = "segmenter" if name.startswith("seg_") else "classifier"
        files.write_json(
            saved.parent / "model.json", {"kind": kind, "build": {}, "input": [height, width]}
        )  # a card that this project knows; its SavedModel is what runs
        files.write_json(saved.parent / manifest.MANIFEST, manifest.manifest_of(saved))
    files.write_json(folder / "thresholds.json", THRESHOLDS | {"shape": [height, width]} | changed)
    files.write_json(folder / "evaluation.json", {"classes": {"1 spots": {}, "2 cracks": {}}})
    return folder
