"""What a run showed and what to try next, in sentences made from its own numbers."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import betabinom

FEW = 20  # strips below which a share says little
MANY = 100  # strips from which on strategies can be compared
REMEDIES = {
    "filtered out": "add an operating point that finds more with -p 40.min_recall=0.95, or train 10_binary longer",
    "class missed": "train 20_multilabel longer, or leave its filter out with another strategy",
    "no mask": "train its segmenter longer or on more crops of each strip",
    "imperfect mask": "give its segmenter a larger input, or average more mirrored copies with tta",
    "false alarm": "train its segmenter on more strips without the defect with negative_ratio",
}


def of_cascade(
    score: float,
    interval: tuple[float, float],
    all_empty: float,
    gain: tuple[float, float],
    stages: dict[str, np.ndarray],
    class_names: Sequence[str],
    title: str = "",
) -> list[str]:
    """What the score of the whole cascade showed, as sentences.

    Arguments:
        score, all_empty: of the same strips, 0..1; interval, gain: (low, high) of the score and of its
            difference to all_empty;
        stages: as from `error_analysis.lost_points`; title: what the score is called, if not only that.
    """
    beside = f"where predicting nothing scores {all_empty:.4f}"
    name = f" in {title}" if title else ""
    text = f"The cascade scores {score:.4f}{name} (95 % interval {interval[0]:.4f} to {interval[1]:.4f}), {beside}"
    sentences = [f"{text}: {_difference(gain)}."]
    total = sum(lost.sum() for lost in stages.values())
    if total > 0:
        stage = max(stages, key=lambda name: stages[name].sum())
        lost, class_index = stages[stage].sum(), int(np.argmax(stages[stage]))
        where = f"most of it in {class_names[class_index]} ({stages[stage][class_index]:.4f})"
        sentences.append(
            f"Of the {total:.4f} that are missing to 1, {lost / total:.0%} are lost as {stage}, {where}."
        )
        sentences.append(f"Try next, for {class_names[class_index]}: {REMEDIES[stage]}.")
    return sentences


def _difference(gain: tuple[float, float]) -> str:
    """What the interval of a gain over predicting nothing says, in words."""
    if gain[1] < 0:
        return "it does surely worse"
    return "the difference is no chance" if gain[0] > 0 else "these strips cannot tell it from that"


def of_strategies(
    taken: str, best: str, cheapest: str, difference: float, interval: tuple[float, float], n_images: int
) -> list[str]:
    """What the comparison of strategies showed.

    Arguments:
        taken: the one in use; best: the one with the highest score; cheapest: of those that cannot be told
            from the best;
        difference, interval: of the taken one's score to the best one's; n_images: that were scored.
    """
    if n_images < MANY:
        return [f"{n_images} strips are too few to choose a strategy by."]
    if interval[1] < 0:
        return [
            f"{taken!r} scores {-difference:.4f} less than {best!r}, and that is no chance: set strategy to "
            f"{best!r}."
        ]
    if cheapest != taken:
        return [
            f"{cheapest!r} is cheaper than {taken!r}, and these strips cannot tell it from the best "
            "strategy: set strategy to it."
        ]
    return [f"No strategy is surely better than {taken!r}, and none that is as good is cheaper: it may stay."]


def of_optimism(optimism: float, interval: tuple[float, float], n_images: int) -> list[str]:
    """What choosing thresholds on the strips that are scored would have feigned.

    Arguments:
        optimism, interval: of the in-sample score less the cross-fitted one; n_images: that were scored.
    """
    if interval[0] <= 0:
        return []
    return [
        f"Chosen on the {n_images} strips that are scored, thresholds look {optimism:.4f} better than they "
        "are: more labelled "
        "strips would choose surer ones."
    ]


def of_test_strips(expected: float, score: float, interval: tuple[float, float]) -> list[str]:
    """What the weights of 05_shift foresee, where that is not what the held-out strips say."""
    if interval[0] <= expected <= interval[1]:
        return []
    return [
        f"The test strips look {'harder' if expected < score else 'easier'} than the held-out ones: expect "
        f"{expected:.4f} there."
    ]


def of_binary(
    recall: float,
    min_recall: float,
    passed: float,
    threshold: float,
    n_positives: int,
    n_chosen_by: int,
    tta_gain: float,
) -> list[str]:
    """What the binary classifier's evaluation showed.

    Arguments:
        recall: share of the defective strips that pass; passed: share of the others, each 0..1 or NaN;
            n_positives: defective strips; n_chosen_by: defective strips that chose the threshold, as
            `metrics.threshold_for_recall` does;
        tta_gain: what averaging the passes of tta adds to the average precision; NaN where there is one pass.
    """
    if not n_positives:
        return ["No strip with a defect was held out, so nothing is known: set held_out higher."]
    sentences = [
        f"At the threshold {threshold:.3f} it finds {recall:.1%} of {n_positives} defective strips; "
        f"{min_recall:.1%} of those "
        f"that chose it were to be kept."
    ]
    if np.isfinite(passed):
        sentences.append(f"It lets {passed:.1%} of the others pass.")
    if n_positives < FEW:
        sentences.append(
            f"{n_positives} strips say little: label or hold out more before anything else is changed."
        )
    elif chance_of_misses(round((1 - recall) * n_positives), n_positives, min_recall, n_chosen_by) < 0.025:
        sentences.append("That is less than chance explains: set validation higher, or train on more strips.")
    elif np.isfinite(passed) and passed > 0.5:
        sentences.append("As a filter it saves little: try a larger input, more epochs or another backbone.")
    if n_positives >= FEW and tta_gain <= 0:
        sentences.append("Averaging passes did not help: tta of 'none' alone is quicker.")
    return sentences


def chance_of_misses(misses: int, n_positives: int, min_recall: float, n_chosen_by: int) -> float:
    """How probable so many misses or more are among new strips of the same kind, 0..1; 1 where none chose.

    The threshold drops so many of those that chose it, `metrics.threshold_for_recall`. What it drops of all strips is
    the value of an order statistic, which has a beta distribution (David and Nagaraja, Order Statistics, 2003,
    section 2.1), so that misses have a beta-binomial one.
    """
    if not n_chosen_by:
        return 1.0
    dropped = int((1 - min_recall) * n_chosen_by + 1e-9)
    return float(betabinom.sf(misses - 1, n_positives, dropped + 1, n_chosen_by - dropped))


def of_multilabel(
    accuracy: float,
    baseline: float,
    recalls: Sequence[float],
    n_positives: Sequence[int],
    names: Sequence[str],
    is_doubted: bool = False,
) -> list[str]:
    """What the multilabel classifier's evaluation showed.

    Arguments:
        accuracy: 0..1; baseline: that of the best answer that is the same for every strip; recalls, n_positives,
            names: one a class; NaN for a class without strips; is_doubted: whether it is no better than such an
            answer, as far as the AUC of any class tells.
    """
    if baseline == 1:
        better = ": here there is nothing to tell apart"
    elif accuracy <= baseline:
        better = ": it has learned nothing of use yet, so train it longer"
    else:
        better = "" if is_doubted else ": it has learned to tell them apart"
    text = f"{accuracy:.1%} of its answers are right, where the best answer that is the same for every strip gives {baseline:.1%}"
    sentences = [f"{text}{better}."]
    known = [index for index, recall in enumerate(recalls) if np.isfinite(recall)]
    if known:
        weakest = min(known, key=lambda index: recalls[index])
        text = (
            f"It finds {recalls[weakest]:.1%} of the {n_positives[weakest]} strips with "
            f"{names[weakest]}, the least of all classes"
        )
        remedy = (
            "too few to say more, so label or hold out more"
            if n_positives[weakest] < FEW
            else "try balanced_sampling, or more crops of each strip"
        )
        sentences.append(f"{text}: {remedy}.")
    return sentences


def of_training(best_epoch: int, epochs: int) -> list[str]:
    """What the learning curve showed: the epoch whose weights are kept, from 1, 0 for none, of so many."""
    if best_epoch < 1:
        return ["No epoch had a finite loss: set learning_rate lower."]
    if best_epoch >= 0.95 * epochs:
        return [
            f"The best epoch was {best_epoch} of {epochs}, at the end: it was still learning, so set epochs "
            "higher."
        ]
    if best_epoch < epochs / 2:
        return [
            f"The best epoch was {best_epoch} of {epochs}: it began to learn by heart early, so try more "
            "augmentation or dropout."
        ]
    return []
