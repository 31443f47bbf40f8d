"""What the command line of run_all.py asks for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """The options of run_all.py that say what runs; "" or None where an option was left out."""

    profile: str = ""
    data: str = ""  # --data, a folder
    run: str = ""  # --run, a run's name
    resume: bool = False
    only: str = ""  # --only, names with commas between
    start: str = ""  # --from, a name
    overrides: tuple[str, ...] | list[str] = ()  # of every -p, "10_binary.epochs=3"
    jobs: int | None = None
    track: str = ""  # --track, the name of a tool that collects runs
