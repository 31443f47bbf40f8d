"""Which pages that compare runs a run's index links to."""

from pathlib import Path
from urllib.parse import quote

from lib import files
from lib.errors import UserError, shorten

COMPARISONS = "comparisons"  # the folder beside the runs' that they lie in


def comparisons_of(run_dir: str | Path) -> list[tuple[str, str]]:
    """(names of the other runs, address from the run's folder) of each page that compares this run."""
    run_dir = Path(run_dir).resolve()
    pages = []
    for path in sorted((run_dir.parent / COMPARISONS).glob("*.json")):
        try:
            names = [str(name) for name in files.read_json(path)["runs"]]
        except (UserError, OSError, KeyError, TypeError):
            continue
        page = path.with_suffix(".html")
        if run_dir.name in names and page.is_file():
            others = [name for name in names if name != run_dir.name]
            address = f"../{COMPARISONS}/{quote(page.name)}"
            pages.append((shorten(", ".join(others) or "itself", 200), address))
    return pages
