"""evaluation.json: what the report of an evaluation is drawn from, for whoever wants the numbers behind a
table or a figure."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib import files


def write_evaluation(path: str | Path, **parts) -> None:
    """Write parts of an evaluation to a JSON file, atomically.

    Arguments:
        parts: tables, arrays, numbers, texts, and lists and dictionaries of them. A table with named rows
            becomes {row: {column: value}}, any other {column: [values]}; NaN and infinity become null.
    """
    files.write_json(path, as_json(parts))


def as_json(value):
    """A value of `write_evaluation` in what JSON knows."""
    if isinstance(value, pd.DataFrame):
        by_row = not isinstance(value.index, pd.RangeIndex)
        return as_json(value.T.to_dict() if by_row else {name: list(value[name]) for name in value})
    if isinstance(value, pd.Series | dict):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, np.generic):
        return as_json(value.item())
    return files.json_float(value) if isinstance(value, float) else value
