"""A trained cascade on any images: three lines of Python.

from lib.predict import Inspector

inspector = Inspector("runs/latest")
found = inspector("image.jpg")
"""

from lib.inference.inspector import FoundDefects, Inspector

__all__ = ["FoundDefects", "Inspector"]
