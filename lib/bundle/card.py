"""The card of a bundle: what it is, what it learned from, what it is worth and what it must not be used for, all
from the run's own files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib import files
from lib.errors import UserError
from lib.inference import sources
from lib.inference.postprocess import NEVER, PostprocessConfig
from lib.report import pages

FEW = 20  # images with a class below which its metrics say little
DATA = {"train_images": "training images", "test_images": "test images", "sha256": "SHA-256 of all"}
FACTS = ("backbone", "architecture", "height", "width")  # of a network's card
UNSEEN = ("filtered out", "class missed", "no mask")  # stages at which a defect is lost as a whole
TRAINING = ("weights", "epochs", "loss")


def write(
    path: Path, run: Path, bundle: dict[str, Any], thresholds: PostprocessConfig, packages: Sequence[str]
) -> None:
    """Write the page.

    Arguments:
        run: the run's folder; bundle: what bundle.json holds; thresholds: the run's; packages: that the bundle
            needs, by name.
    """
    metrics, evaluation = content_of(run / "metrics.json"), content_of(run / "evaluation.json")
    state = pages.read_state(run)
    data = pages.data_note(pages.as_dict(state.get("data"))) | pages.as_dict(state.get("data"))
    classes = class_rows(bundle, evaluation)
    lost = pages.as_dict(pages.as_dict(evaluation.get("lost_points")).get("sum"))
    text = pages.page(
        "bundle.html",
        run=run.name,
        state=state,
        data=data,
        metrics=metrics,
        doubts=pages.doubts_in(metrics),
        classes=classes,
        points=point_rows(run),
        lost=[(name, value) for name, value in lost.items() if name != "sum"],
        limits=limits(metrics, lost, classes, bool(data.get("generated")), bool(bundle["operating_points"])),
        bundle=bundle,
        thresholds=[(name, pages.number_text(value)) for name, value in bundle["thresholds"].items()],
        networks=network_rows(run, bundle),
        engine=thresholds.engine,
        packages=packages,
        facts=[(words, pages.number_text(data[name])) for name, words in DATA.items() if name in data],
    )
    files.write_atomic(path, text)


def content_of(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a run, {} where there is none."""
    try:
        return pages.as_dict(files.read_json(path))
    except (UserError, OSError):
        return {}


def ends(value: Any) -> list[float] | None:
    """The two ends of an interval as a run's files have it; None where it is unknown, or of nothing."""
    is_known = (
        isinstance(value, list) and len(value) == 2 and all(isinstance(end, (int, float)) for end in value)
    )
    return value if is_known else None


def class_rows(bundle: dict[str, Any], evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a class: its name, colour, thresholds, and what 40_evaluation measured of it, where it did."""
    of_classes = pages.as_dict(evaluation.get("classes"))
    thresholds = bundle["thresholds"]
    rows = []
    for index, entry in enumerate(bundle["classes"]):
        measured = pages.as_dict(of_classes.get(entry["name"]))
        rows.append(
            {
                **entry,
                "images": measured.get("strips with it"),
                "score": measured.get("score"),
                "interval": ends(measured.get("95 % interval")),
                "all_empty": measured.get("all-empty score"),
                "dice": measured.get("Dice over positives"),
                "dice_interval": ends(measured.get("its interval")),
                "is_predicted": thresholds["minimum_areas"][index] < NEVER,
            }
        )
    return rows


def point_rows(run: Path) -> list[dict[str, Any]]:
    """A row an operating point of thresholds.json: its name, what is asked of it, and what was achieved on images
    that did not choose, if that is known."""
    points = pages.as_dict(content_of(sources.file_in(run, sources.THRESHOLDS)).get("operating_points"))
    rows = []
    for name, point in points.items():
        point = pages.as_dict(point)
        achieved = pages.as_dict(pages.as_dict(point.get("achieved")).get("all classes"))
        asked = point.get("asked_for", point.get("promised"))  # as earlier versions name it
        asked_for = [(key, value) for key, value in pages.flat(asked) if value]
        remarks = sources.remarks_on(run, name)
        achieved |= {"false_alarms_interval": ends(achieved.get("false_alarms_interval"))}
        rows.append({"name": name, "asked_for": asked_for, "remarks": remarks, **achieved})
    return rows


def limits(
    metrics: dict[str, Any],
    lost: dict[str, Any],
    classes: Sequence[dict[str, Any]],
    is_generated: bool,
    has_points: bool,
) -> list[str]:
    """What a bundle must not be used for, as sentences made from what was measured of it."""
    texts = []
    if is_generated:
        texts.append("For real steel: it learned from generated strips alone, and was measured on such.")
    gain = ends(metrics.get("gain_over_all_empty_interval"))
    if not isinstance(metrics.get("competition_score"), (int, float)):
        texts.append("For any decision: nothing was measured of it. Run 40_evaluation, and export it again.")
    elif not (gain and gain[0] > 0):
        texts.append(
            "For any decision: on the images held out it was no better than predicting nothing, as far as they tell."
        )
    for row in classes:
        if not row["is_predicted"]:
            texts.append(f"To find {row['name']}: its thresholds let nothing of it through.")
        elif isinstance(row["images"], int) and row["images"] < FEW:
            texts.append(
                f"To find {row['name']}, or to say that there is none: it was measured on {row['images']} images with it"
                f"{dice_text(row)}."
            )
        elif isinstance(row["dice"], (int, float)) and row["dice"] < 0.5:
            texts.append(f"To measure the size of {row['name']}: its outlines are rough{dice_text(row)}.")
    unseen = sum(value for name, value in lost.items() if name in UNSEEN and isinstance(value, (int, float)))
    if unseen > 0:
        texts.append(
            f"As the only look at steel whose defects do harm: of the {lost.get('sum', unseen):.4f} points that are missing to 1, "
            f"{unseen:.4f} are lost on defects that get no mask at all."
        )
    if not has_points:
        texts.append(
            "Where false alarms or missed defects have a limit: its thresholds were chosen for a score, and no operating point "
            "for a limit (40.max_false_alarms, 40.min_recall)."
        )
    texts.append(
        "For another camera, light or steel than those of the images that it learned from, before it was scored on labelled "
        "images of them (lib.predict with --truth)."
    )
    texts.append("To score itself on images that it learned from: that score is too good.")
    return texts


def dice_text(row: dict[str, Any]) -> str:
    """A class's Dice with its interval, to follow a clause; "" where it is not known."""
    if not isinstance(row["dice"], (int, float)):
        return ""
    interval = row["dice_interval"]
    text = f", 95 % interval {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
    return f" (Dice over positives {row['dice']:.2f}{text})"


def network_rows(run: Path, bundle: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(name, facts) of each network of a bundle, from the card of its first member."""
    rows = []
    for name, entry in bundle["networks"].items():
        card = sources.card(run / "models" / name)
        build, training = pages.as_dict(card.get("build")), pages.as_dict(card.get("training"))
        facts = [(key, str(build[key])) for key in FACTS if key in build and key not in ("height", "width")]
        facts += [("input", " x ".join(map(str, entry["input"]))), ("members", str(len(entry["files"])))]
        facts += [(key, str(training[key])) for key in TRAINING if key in training]
        facts += [("passes", ", ".join(entry["passes"]))]
        rows.append((name, facts))
    return rows
