"""A cascade on a node of a cluster. It travels there by value, so that a node without this project can say so:
nothing of lib is imported before."""

import pickle
import socket
from collections.abc import Callable
from typing import Any


class Predictor:
    """Opens a run's networks once and predicts one chunk of images after the other.

    Arguments:
        setting: "project", "files", "versions": see `node.difference`; "run", "operating_point", "height",
            "maps_from": see `Inspector`; "cards": {file of the run: its bytes}; "hidden": of the folder of results;
            "token", "text": name and content of a file in it; "packed": its ChunkWriter and the Severity, pickled;
            "white": see `chunks.predict_chunk`.
        other_code: `node.other_code`, by value.
    """

    def __init__(self, setting: dict[str, Any], other_code: Callable[[dict[str, Any]], str]) -> None:
        self.setting, self.other_code = setting, other_code
        self.inspector: Any = None
        self.writer: Any = None
        self.severity: Any = None

    def open(self) -> tuple[str, str]:
        """(name of this node, what is wrong with it or with the run, a sentence, or "")."""
        name = socket.gethostname()
        if differs := self.other_code(self.setting):
            return name, f"The node {name} {differs}"
        from lib.cluster.node import read
        from lib.data import storage
        from lib.errors import UserError
        from lib.inference.inspector import Inspector
        from lib.models import environment

        for path, content in self.setting["cards"].items():
            if read(path) != content:
                return (
                    name,
                    f"The node {name} does not see {path} of the run. Keep the run where all nodes see it.",
                )
        try:
            hidden = storage.directory(self.setting["hidden"])
            if hidden.read([self.setting["token"]]) != {self.setting["token"]: self.setting["text"]}:
                return name, (
                    f"The node {name} does not see {self.setting['hidden']}. Name an --out that all nodes see under this name."
                )
            self.writer, self.severity = pickle.loads(self.setting["packed"])
            environment.set_up()
            options = {key: self.setting[key] for key in ("operating_point", "height", "maps_from")}
            self.inspector = Inspector(self.setting["run"], **options)
        except UserError as error:
            return name, f"The node {name}: {error}"
        return name, ""

    def predict(self, chunk: Any) -> str:
        """Predict a Chunk and write what is found on it; why it cannot be, a sentence, or ""."""
        from lib.data.images import file_stamps
        from lib.errors import UserError
        from lib.inference import chunks

        for one, stamp in zip(chunk.image_files, chunk.stamps, strict=True):
            here = [one.name] if isinstance(one.path, str) else file_stamps([one.path])[0]
            if not isinstance(one.path, str) and here[1:2] != tuple(stamp[1:2]):
                return (
                    f"The node {socket.gethostname()} does not see the image {one.path} as the command does. Keep the images "
                    "where all nodes see them under the same names."
                )
        try:
            self.writer.write(
                chunk,
                lambda images: chunks.predict_chunk(
                    self.inspector, images, self.setting["white"], self.severity
                ),
            )
        except UserError as error:
            return str(error)
        return ""
