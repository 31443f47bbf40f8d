"""What a training is made from, as a hash: data, network, settings, and the code of losses, metrics and batches, whatever their names.

Pixels are not read: an image counts with its name, its size in bytes and the time of its last change.
"""

import functools
import hashlib
import inspect
import re
import types

import cv2
import keras
import numpy as np

# Their code counts with their versions.
PACKAGES = ("builtins", "keras", "tensorflow", "numpy", "cv2", "abc", "typing", "concurrent", "collections", "math")


def of_training(model, batches, validation, settings, judges):
    """SHA-256 of all that a training's result follows from.

    Arguments:
        batches, validation: generators; what their `hash_inputs()` give counts, and their first batches. Of a generator without it,
            every batch of the first epoch counts.
        settings: plain values; judges: losses and metrics, as for `keras.Model.compile`: their code, and their options.
    """
    digest = hashlib.sha256()
    versions = keras.__version__, keras.backend.backend(), _version(keras.backend.backend()), np.__version__, cv2.__version__
    add(digest, [settings, versions, keras.config.floatx(), keras.config.image_data_format()])
    add(digest, model.get_weights())
    add(digest, [(type(layer).__name__, options_of(layer)) for layer in leaves(model)])  # a rate of dropout is in no weight
    for one in keras.tree.flatten(judges):
        add(digest, one if isinstance(one, str) else [options_of(one), *code_of(one, set())])
    for generator in (batches, validation):
        if generator is None:
            continue
        if hasattr(generator, "start_epoch"):
            generator.start_epoch(0)
        told = getattr(generator, "hash_inputs", None)
        add(digest, [type(generator).__name__, *code_of(type(generator), set()), told() if told else None])
        for number in range(min(1, len(generator)) if told else len(generator)):
            add(digest, keras.tree.flatten(generator[number]))
    return digest.hexdigest()


def add(digest, value):
    """Add a value of plain types and arrays to a hash, each with its type, so that no two values look alike."""
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


def leaves(model):
    """All layers of a network, those of networks in it included, without the networks."""
    return [one for layer in model.layers for one in (leaves(layer) if isinstance(layer, keras.Model) else [layer])]


def options_of(one):
    """The configuration of a layer, loss or metric, without its name, which counts up from one network to the next; None of others."""
    try:
        config = one.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    return {key: value for key, value in config.items() if key != "name"}


def code_of(one, seen):
    """The compiled code of a function or class, of what it is built on and of what it calls of this project, as a list of plain values.

    So a loss that was written anew under its old name is another one, and one with other comments is not.
    """
    one = getattr(one, "__func__", one)
    if isinstance(one, functools.partial):
        return [[plain(value) for value in (*one.args, *one.keywords.items())], code_of(one.func, seen)]
    if not isinstance(one, type | types.FunctionType):
        one = type(one)
    if id(one) in seen or one.__module__.partition(".")[0] in PACKAGES:
        return []
    seen.add(id(one))
    if isinstance(one, type):
        members = [getattr(member, "fget", None) or getattr(member, "__func__", member) for member in vars(one).values()]
        parts = [[one.__qualname__]] + [code_of(base, seen) for base in one.__bases__]
        return parts + [code_of(member, seen) for member in members if isinstance(member, types.FunctionType)]
    one = inspect.unwrap(one)
    cells = [cell.cell_contents for cell in one.__closure__ or ()]
    held = [*(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values(), *cells]
    parts = [constants(one.__code__), [plain(value) for value in held]]
    names = names_of(one.__code__)
    for name in names:
        value = one.__globals__.get(name)
        called = [value]
        if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] == "lib":
            called = [getattr(value, attribute, None) for attribute in names]
        for thing in called:
            if isinstance(thing, type | types.FunctionType):
                parts.append(code_of(thing, seen))
            elif isinstance(thing, bool | int | float | str | tuple):
                parts.append(plain(thing))
    return parts + [code_of(value, seen) for value in held if isinstance(value, type | types.FunctionType)]


def names_of(code):
    """The names that code uses, those of functions within it included, in order."""
    inner = [name for one in code.co_consts if isinstance(one, types.CodeType) for name in names_of(one)]
    return [*dict.fromkeys([*code.co_names, *inner])]


def constants(code):
    """Instructions, names and constants of code, without file, line or the address of anything."""
    return [code.co_code, code.co_names, [constants(one) if isinstance(one, types.CodeType) else plain(one) for one in code.co_consts]]


def plain(value):
    """A value for a hash: a set in order, anything but plain values by its type."""
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if isinstance(value, bool | int | float | str | bytes | np.ndarray | None) else type(value).__name__


def _version(package):
    return __import__(package).__version__
