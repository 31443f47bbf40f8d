"""What a training follows from, as a hash: data, network, settings, and the code of losses, metrics and
batches, whatever their names.

Pixels are not read: an image counts with its name, its size in bytes and the time of its last change.
"""

import functools
import hashlib
import inspect
import re
import types
from typing import Any

import cv2
import keras
import numpy as np

# Their code counts with their versions.
PACKAGES = (
    "builtins",
    "keras",
    "tensorflow",
    "numpy",
    "cv2",
    "abc",
    "typing",
    "concurrent",
    "collections",
    "math",
)


def of_training(
    model: keras.Model,
    batches: keras.utils.PyDataset,
    validation: keras.utils.PyDataset | None,
    settings: dict | list,
    code: list,
) -> str:
    """SHA-256 of all that a training's result follows from.

    Arguments:
        batches, validation: generators; what their `hash_inputs()` give counts, and their first batches. Of a
            generator without it, every batch of the first epoch counts.
        settings: plain values; code: losses and metrics, as for `keras.Model.compile`, and functions: their
            code counts, and their options.
    """
    digest = hashlib.sha256()
    versions = (
        keras.__version__,
        keras.backend.backend(),
        _version(keras.backend.backend()),
        np.__version__,
        cv2.__version__,
    )
    add(digest, [settings, versions, keras.config.floatx(), keras.config.image_data_format()])
    add(digest, model.get_weights())
    # A rate of dropout is in no weight.
    add(digest, [(type(layer).__name__, options_of(layer)) for layer in leaves(model)])
    for item in keras.tree.flatten(code):
        add(digest, item if isinstance(item, str) else [options_of(item), *code_of(item, set())])
    for generator in (batches, validation):
        if generator is None:
            continue
        if hasattr(generator, "start_epoch"):
            generator.start_epoch(0)
        hash_inputs = getattr(generator, "hash_inputs", None)
        inputs = hash_inputs() if hash_inputs else None
        add(digest, [type(generator).__name__, *code_of(type(generator), set()), inputs])
        for index in range(min(1, len(generator)) if hash_inputs else len(generator)):
            add(digest, keras.tree.flatten(generator[index]))
    return digest.hexdigest()


def add(digest: Any, value: Any) -> None:
    """Add a value of plain types and arrays to a hash, each with its type, so that no two values look
    alike."""
    if isinstance(value, dict):
        value = sorted(value.items(), key=repr)
    if isinstance(value, list | tuple):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            add(digest, item)
    elif hasattr(value, "__array__") and not np.isscalar(value):
        array = np.ascontiguousarray(value)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
    else:
        text = re.sub(r" at 0x[0-9a-f]+", "", repr(value)).encode()
        digest.update(f"{type(value).__name__}{len(text)}:".encode() + text)


def leaves(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a network, those of networks in it included, without the networks."""
    return [
        leaf
        for layer in model.layers
        for leaf in (leaves(layer) if isinstance(layer, keras.Model) else [layer])
    ]


def options_of(item: Any) -> dict | None:
    """The configuration of a layer, loss or metric, without its name, which counts up from one network to the
    next; None of others."""
    try:
        config = item.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    return {key: value for key, value in config.items() if key != "name"}


def code_of(item: Any, seen: set[int]) -> list:
    """The compiled code of a function or class, of what it is built on and of what it calls of this project,
    as a list of plain values.

    So a loss that was written anew under its old name is another one, and one with other comments is not.
    """
    item = getattr(item, "__func__", item)
    if isinstance(item, functools.partial):
        return [[plain(value) for value in (*item.args, *item.keywords.items())], code_of(item.func, seen)]
    if not isinstance(item, type | types.FunctionType):
        item = type(item)
    if id(item) in seen or item.__module__.partition(".")[0] in PACKAGES:
        return []
    seen.add(id(item))
    if isinstance(item, type):
        members = [
            getattr(member, "fget", None) or getattr(member, "__func__", member)
            for member in vars(item).values()
        ]
        parts = [[item.__qualname__]] + [code_of(base, seen) for base in item.__bases__]
        return parts + [code_of(member, seen) for member in members if isinstance(member, types.FunctionType)]
    item = inspect.unwrap(item)
    cells = [cell.cell_contents for cell in item.__closure__ or ()]
    held = [*(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values(), *cells]
    parts = [constants(item.__code__), [plain(value) for value in held]]
    names = names_of(item.__code__)
    for name in names:
        value = item.__globals__.get(name)
        called = [value]
        if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] == "lib":
            called = [getattr(value, attribute, None) for attribute in names]
        for thing in called:
            if isinstance(thing, type | types.FunctionType):
                parts.append(code_of(thing, seen))
            elif isinstance(thing, bool | int | float | str | tuple):
                parts.append(plain(thing))
    return parts + [code_of(value, seen) for value in held if isinstance(value, type | types.FunctionType)]


def names_of(code: types.CodeType) -> list[str]:
    """The names that code uses, those of functions within it included, in order."""
    inner = [name for item in code.co_consts if isinstance(item, types.CodeType) for name in names_of(item)]
    return [*dict.fromkeys([*code.co_names, *inner])]


def constants(code: types.CodeType) -> list:
    """Instructions, names and constants of code, without file, line or the address of anything."""
    values = [constants(item) if isinstance(item, types.CodeType) else plain(item) for item in code.co_consts]
    return [code.co_code, code.co_names, values]


def plain(value: Any) -> Any:
    """A value for a hash: a set in order, anything but plain values by its type."""
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return (
        value
        if isinstance(value, bool | int | float | str | bytes | np.ndarray | None)
        else type(value).__name__
    )


def _version(package: str) -> str:
    return __import__(package).__version__
