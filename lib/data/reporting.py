"""What is wrong with data, as findings with file, row and remedy: a table for people, a sentence for the
terminal."""

from pathlib import Path

import pandas as pd

FINDING = ["file", "row", "severity", "what", "remedy"]


def finding(file: str | Path, row: int, what: str, remedy: str, severity: str = "error") -> dict:
    """One finding: row counts the file's lines from 1, 0 where no row is meant; severity is "error" or
    "warning"."""
    return {"file": str(file), "row": int(row), "severity": severity, "what": what, "remedy": remedy}


def sentence(finding: dict) -> str:
    """A finding as the text of an error."""
    where = finding["file"] + (f", row {finding['row']}" if finding["row"] else "")
    return f"{where}: {finding['what']}. {finding['remedy']}"


def table(findings: list[dict]) -> pd.DataFrame:
    """A list of findings as a table."""
    return pd.DataFrame(findings, columns=FINDING)


def csv_text(findings: pd.DataFrame) -> str:
    """A table of findings as CSV that a spreadsheet shows and does not execute: no cell begins as a formula
    does."""
    safe = findings.map(
        lambda value: f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
    )
    # As RFC 4180 has it; so a lone \r inside a cell is quoted too.
    return safe.to_csv(index=False, lineterminator="\r\n")
