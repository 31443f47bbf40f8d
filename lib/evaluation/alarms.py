"""What alarms are worth: false ones, defects found, precision, with intervals; and what that says of a budget.

An image is an alarm if anything is left on it, a false one if it has no defect at all.
"""

import numpy as np
import pandas as pd

from lib.evaluation.budgets import FALSE_ALARMS, Budget, alarm_probability, images_needed, without_filters
from lib.evaluation.predictions import CascadePredictions
from lib.evaluation.records import as_json
from lib.evaluation.statistics import effective_number_of, wilson
from lib.inference import postprocess
from lib.inference.postprocess import PostprocessConfig

SINGLE = (
    "Each strip was judged by a network that did not learn from it; new strips are judged by all networks together, "
    "whose probabilities stray less, so that false alarms and recall will differ from what is stated."
)


def achieved(
    predictions: CascadePredictions,
    alarms: np.ndarray,
    class_names: list[str],
    defective_share: float = 0.0,
    handed_on: np.ndarray | None = None,
) -> pd.DataFrame:
    """What alarms (N, C) bool are worth: a row for all classes, one for each.

    Arguments:
        alarms: cross-fitted; defective_share: share of images with a defect, by which precision and alarms are
            weighted; 0 for the data's. Another one changes that of each class in the same ratio.
        handed_on: (N, C) bool, alarms on the same images of the thresholds that are handed on, which all of these
            chose. Intervals then hold those of both: thresholds that all images chose are a little stricter than
            those that some of them chose, and on images that chose them they look a little better than they are.

    Columns: false_alarms, the share of defect-free images, with its interval; recall, of the images with a
    defect or the class; precision of the alarms, with the interval that the ends of the two give; alarms in
    1,000 images; defect_free, defective, the images that are counted. Shares are NaN where there are none, and so is
    what follows from them.
    """
    has_defect, group = predictions.has_defect, predictions.group
    defective = has_defect.any(axis=1)
    of_data = float(defective.mean())
    ratio = defective_share / of_data if defective_share and of_data else 1.0
    ways = [np.column_stack([one.any(axis=1), one]) for one in (alarms, handed_on) if one is not None]
    rows = []
    for alarm, positive, *other in zip(
        ways[0].T, [defective, *has_defect.T], *(way.T for way in ways[1:]), strict=True
    ):
        # an alarm of a class is also wrong on images that have other defects alone
        parts = positive, ~defective, defective & ~positive
        recall, false_alarms, others = (float(alarm[of].mean()) if of.any() else np.nan for of in parts)
        recall_ends, false_ends = (hull(of, group, alarm, *other) for of in parts[:2])
        weights = ratio * positive.mean(), 1 - ratio * of_data, ratio * parts[2].mean()

        def alarmed(hit: float, false: float) -> tuple[float, float]:  # shares of all images: rightly, in all
            parts_of_all = zip((hit, false, others), weights, strict=True)  # noqa: B023
            right, *wrong = (share * weight if weight else 0.0 for share, weight in parts_of_all)
            return right, right + sum(wrong)

        (right, every), *ends = (
            alarmed(*pair)
            for pair in [(recall, false_alarms), *zip(recall_ends, false_ends[::-1], strict=True)]
        )
        precision = float(right / every) if every else np.nan
        precision_ends = tuple(float(one / total) if total else np.nan for one, total in ends)
        counts = int(parts[1].sum()), int(positive.sum())
        rows.append(
            (false_alarms, false_ends, recall, recall_ends, precision, precision_ends, 1000 * every, *counts)
        )
    names = ["false_alarms", "false_alarms_interval", "recall", "recall_interval", "precision"]
    names += ["precision_interval", "alarms", "defect_free", "defective"]
    return pd.DataFrame(rows, columns=names, index=["all classes", *class_names])


def hull(rows: np.ndarray, group: np.ndarray, *marked: np.ndarray) -> tuple[float, float]:
    """From the lowest to the highest end of the intervals of what is marked, each (N,) bool, among some rows."""
    lows, highs = zip(*(wilson(one[rows], group[rows]) for one in marked), strict=True)
    return min(lows), max(highs)


def shown(results: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of `achieved` under their names for readers: false alarms in 1,000 and recall, as they were
    counted; and what the share of defective strips makes of them."""
    whole = pd.concat(results)

    def in_thousand(share: float) -> str:
        return f"{1000 * share:.1f}" if np.isfinite(share) else "unknown"

    counted = {
        "false alarms in 1,000": list(map(in_thousand, whole["false_alarms"])),
        "95 % interval": [" to ".join(map(in_thousand, ends)) for ends in whole["false_alarms_interval"]],
        "of defect-free strips": whole["defect_free"],
        "recall": whole["recall"],
        "its interval": whole["recall_interval"],
        "of strips with it": whole["defective"],
    }
    weighted = {
        "precision": whole["precision"],
        "95 % interval": whole["precision_interval"],
        "alarms in 1,000 strips": [in_thousand(value / 1000) for value in whole["alarms"]],
    }
    return pd.DataFrame(counted, index=whole.index), pd.DataFrame(weighted, index=whole.index)


def curve(predictions: CascadePredictions, thresholds: PostprocessConfig) -> pd.DataFrame:
    """False alarms and recall, shares, at each threshold of the binary filter, where it stands alone.

    Arguments:
        thresholds: for the score.
    """
    probability = alarm_probability(predictions, without_filters(thresholds)).max(axis=1)
    defective = predictions.has_defect.any(axis=1)
    steps = np.unique(np.append(probability[probability >= 0], 1.0))
    false_alarms, recall = (
        1 - np.searchsorted(np.sort(probability[of]), steps) / max(of.sum(), 1)
        for of in (~defective, defective)
    )
    return pd.DataFrame({"threshold": steps, "false_alarms": false_alarms, "recall": recall})


def remarks(
    predictions: CascadePredictions, budget: Budget, alarms: np.ndarray, result: pd.DataFrame
) -> list[str]:
    """Whether each limit of a budget was kept, or how many images it would take to promise it, as sentences.

    Arguments:
        alarms: (N, C) bool, the budget's, cross-fitted; result: of them, from `achieved`.
    """
    has_defect, texts, groups = predictions.has_defect, [], len(np.unique(predictions.group))
    defective = has_defect.any(axis=1)
    alarms_of_rows = [alarms.any(axis=1), *alarms.T]
    positives = [defective, *has_defect.T]
    for row, alarm, positive, limit in zip(
        result.index, alarms_of_rows, positives, (budget.limit, *budget.class_limits), strict=True
    ):
        if limit >= 1:
            continue
        few, one = budget.name == FALSE_ALARMS, result.loc[row]
        rows = ~defective if few else positive
        needed = images_needed(limit)
        aim, unit = (
            (f"at most {1000 * limit:g} false alarms in 1,000", "defect-free")
            if few
            else (f"a recall of {1 - limit:g}", "defective")
        )
        if not rows.any():
            texts.append(f"{row}, {aim}: nothing is known, as there are no {unit} strips. It takes {needed}.")
            continue
        low, high = one["false_alarms_interval"] if few else one["recall_interval"]
        value = f"{1000 * one['false_alarms']:.1f} in 1,000" if few else f"{one['recall']:.3f}"
        ends = f"{1000 * low:.1f} to {1000 * high:.1f}" if few else f"{low:.3f} to {high:.3f}"
        how = (
            "on strips that did not choose"
            if groups > 1
            else "on the strips that chose, as all of them are alike"
        )
        text = f"{row}, {aim}: achieved {value} (95 % interval {ends}) {how}"
        if few and np.isfinite(one["recall"]):
            text += f", at a recall of {one['recall']:.3f}"
        elif not few and np.isfinite(one["false_alarms"]):
            text += f", at {1000 * one['false_alarms']:.0f} false alarms in 1,000"
        worth, count = worth_of((alarm if few else ~alarm)[rows], predictions.group[rows]), int(rows.sum())
        if worth < needed:
            strips = f"{count} {unit} strips are" if count > 1 else f"1 {unit} strip is"
            too_few = f"{strips} too few, it takes {needed}"
            if worth < count:
                too_few = f"{strips} alike in part, near-duplicates or of one coil, and worth {worth}; it takes {needed} that are not"
            text += f". That is no promise: {too_few}, even if none of them is {'a false alarm' if few else 'missed'}"
        elif low > limit if few else high < 1 - limit:
            text += ". The budget is not kept: the networks do not part these strips well enough"
        texts.append(f"{text}.")
    return texts


def worth_of(wrong: np.ndarray, group: np.ndarray) -> int:
    """As good as how many images that are not alike those of these groups (N,) are for a promise, where wrong (N,) bool
    are wrong: no more than there are groups. A few wrong ones that are spread over the groups do not show that a
    group of another kind would have no more of them."""
    return int(min(effective_number_of(wrong, group) + 1e-9, len(np.unique(group))))


def entry(thresholds: PostprocessConfig, budget: Budget, result: pd.DataFrame, remarks: list[str]) -> dict:
    """An operating point as `thresholds.json` has it: its thresholds, what is asked for, as the parameters
    have it, what was achieved, and the sentences on that."""
    point = {
        "strategy": thresholds.strategy,
        "binary_threshold": thresholds.binary_threshold,
        **{name: getattr(thresholds, name) for name in postprocess.PER_CLASS},
    }
    return as_json(point | {"asked_for": budget.stated, "achieved": result, "remarks": remarks})
