"""The evaluation report of a finished run as one small file, to be looked at without running anything.

    python docs/example_report.py

It writes docs/example_report.html from runs/latest, or from the run that is named after it. Pictures become WebP,
charts without loss; links to the run's other pages lead to the README, and folders are told from the project's.
"""

import base64
import re
import sys
from pathlib import Path

import cv2
import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from lib import files  # noqa: E402
from lib.inference import sources  # noqa: E402

TARGET = PROJECT / "docs" / "example_report.html"
QUALITY = {"png": 101, "jpeg": 70}  # of OpenCV's WebP; above 100: without loss


def smaller(match: re.Match) -> str:
    """A picture's data address as WebP."""
    image = cv2.imdecode(np.frombuffer(base64.b64decode(match[2]), np.uint8), cv2.IMREAD_UNCHANGED)
    webp = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY[match[1]]])[1]
    return "data:image/webp;base64," + base64.b64encode(webp.tobytes()).decode()


def main() -> None:
    run = sources.run_folder(sys.argv[1] if len(sys.argv) > 1 else "latest")
    page = (run / "40_evaluation.html").read_text(encoding="utf-8")
    page = re.sub(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)", smaller, page)
    page = page.replace(f"{run.parent.parent}/", "").replace('href="index.html"', 'href="../README.md"')
    files.write_atomic(TARGET, page)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
