"""How much test strips differ from training strips, told by a classifier that tries to tell them apart, and
weights from it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from lib.data import depth
from lib.errors import UserError

SIZE = 64, 400  # pixels, at which a strip's features are taken
# odds, before they are brought to a mean of 1; beyond it a few strips would decide everything
LARGEST_WEIGHT = 10.0


def features(
    paths: Sequence[Path | str], dark_level: int = 20, threads: int = 2, white: float = 0
) -> pd.DataFrame:
    """Cheap statistics of images: a table with a row an image.

    Arguments:
        dark_level: mean grey level 0..255 below which a column counts as dark; white: see `depth.read`.

    brightness, spread: mean and deviation of the grey levels; dark, dark_left, dark_right: share of dark
    columns, in all and at either end; level_05..level_95: grey levels at quantiles of the lit part;
    light_across, light_along: deviation of the row and column means there; edges_across, edges_along, fine:
    mean absolute differences of neighbours; and second differences.
    """
    with ThreadPoolExecutor(threads) as pool:  # OpenCV decodes outside Python's lock
        return pd.DataFrame(
            list(pool.map(lambda path: of_image(depth.read_at(path, SIZE, white), dark_level), paths))
        )


def of_image(image: np.ndarray, dark_level: int = 20) -> dict[str, float]:
    """The row of `features` of one image (H, W) uint8."""
    dark = image.mean(axis=0) < dark_level
    lit = image[:, ~dark].astype(np.float32) if not dark.all() else image.astype(np.float32)
    levels = np.quantile(lit, (0.05, 0.25, 0.5, 0.75, 0.95))
    ends = (
        (np.argmin(dark) if not dark.all() else len(dark)),
        (np.argmin(dark[::-1]) if not dark.all() else len(dark)),
    )
    return {
        "brightness": float(image.mean()),
        "spread": float(image.std()),
        "dark": float(dark.mean()),
        "dark_left": float(ends[0] / len(dark)),
        "dark_right": float(ends[1] / len(dark)),
        **{
            f"level_{name}": float(value)
            for name, value in zip(("05", "25", "50", "75", "95"), levels, strict=True)
        },
        "light_across": float(lit.mean(axis=1).std()),
        "light_along": float(lit.mean(axis=0).std()),
        "edges_across": float(np.abs(np.diff(lit, axis=0)).mean()),
        "edges_along": float(np.abs(np.diff(lit, axis=1)).mean()) if lit.shape[1] > 1 else 0.0,
        "fine": float(np.abs(cv2.Laplacian(lit, cv2.CV_32F)).mean()),
    }


def is_test_probability(
    table: pd.DataFrame,
    is_test: np.ndarray,
    group: np.ndarray,
    cv_folds: int = 5,
    n_estimators: int = 200,
    seed: int = 0,
) -> np.ndarray:
    """How much each strip looks like a test strip, by forests that have not seen it: probabilities (N,).

    Arguments:
        table: features (N rows); is_test: (N,) bool; group: (N,), strips of one group stay together;
            cv_folds: of the cross-validation, fewer if there are fewer test or training strips.

    Both kinds count alike, however many strips each has: 0.5 means that a strip tells nothing. 0.5 throughout
    where there are fewer than two strips of a kind. UserError for fewer than two folds.
    """
    if cv_folds < 2:
        raise UserError(
            f"The forests learn on some folds and answer on another, so {cv_folds} is too few. Set cv_folds "
            "to 2 or more."
        )
    cv_folds = min(cv_folds, int(is_test.sum()), int((~is_test).sum()))
    probability = np.full(len(table), 0.5)
    if cv_folds < 2:
        return probability
    for seen, unseen in StratifiedGroupKFold(cv_folds, shuffle=True, random_state=seed).split(
        table, is_test, group
    ):
        # fewer groups than folds leave some of them empty
        if len(unseen) and len(np.unique(is_test[seen])) == 2:
            fitted = forest(n_estimators, seed).fit(table.iloc[seen], is_test[seen])
            # threads add the trees up in the order in which they finish, and the last bits follow from that
            fitted.n_jobs = 1
            probability[unseen] = fitted.predict_proba(table.iloc[unseen])[:, 1]
    return probability


def forest(n_estimators: int, seed: int) -> RandomForestClassifier:
    """The classifier: small leaves would state 0 and 1 and give weights without bound."""
    return RandomForestClassifier(
        n_estimators, min_samples_leaf=5, class_weight="balanced", random_state=seed, n_jobs=2
    )


def importance(table: pd.DataFrame, is_test: np.ndarray, n_estimators: int = 200, seed: int = 0) -> pd.Series:
    """What the classifier looks at: the share of each feature in its answers, a Series, largest first."""
    fitted = forest(n_estimators, seed).fit(table, is_test)
    return pd.Series(fitted.feature_importances_, table.columns).sort_values(ascending=False)


def auc_interval(
    probability: np.ndarray,
    is_test: np.ndarray,
    group: np.ndarray,
    n_bootstrap: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Area under the ROC curve with its percentile interval: (auc, low, high); groups are drawn together.

    0.5: nobody can tell the two kinds apart by these features; 1: every strip gives itself away.
    NaN thrice where there is one kind only.
    """
    if len(np.unique(is_test)) < 2:
        return (float("nan"),) * 3
    _, index = np.unique(group, return_inverse=True)
    members = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])
    rng = np.random.default_rng(seed)
    aucs = []
    for _ in range(n_bootstrap):
        chosen = np.concatenate(
            [members[group_index] for group_index in rng.integers(len(members), size=len(members))]
        )
        if len(np.unique(is_test[chosen])) == 2:
            aucs.append(roc_auc_score(is_test[chosen], probability[chosen]))
    low, high = np.quantile(aucs, [(1 - level) / 2, (1 + level) / 2]) if aucs else (float("nan"),) * 2
    return float(roc_auc_score(is_test, probability)), float(low), float(high)


def weights(probability: np.ndarray) -> np.ndarray:
    """Weights (N,) of training strips, mean 1, under which they look like test strips: the odds p / (1 - p),
    bounded.

    Source: Sugiyama et al., Density Ratio Estimation in Machine Learning, 2012, section 4.2 (probabilistic
    classification).
    """
    odds = np.clip(probability / np.maximum(1 - probability, 1e-9), 1 / LARGEST_WEIGHT, LARGEST_WEIGHT)
    return odds / odds.mean() if len(odds) else odds


def effective_size(weight: np.ndarray) -> float:
    """How many equally weighted strips are worth as much as these (Kish): (sum w)^2 / sum w^2."""
    weight = np.asarray(weight, float)
    return float(weight.sum() ** 2 / (weight**2).sum()) if len(weight) else 0.0


def read_weights(run_dir: str | Path, image_ids: Sequence[str]) -> np.ndarray | None:
    """The weights of training strips that `05_shift` left in the run folder, (N,) in the order of
    `image_ids`; None if it has not run. A strip that it has not seen weighs 1."""
    path = Path(run_dir) / "shift.csv"
    if not path.is_file():
        return None
    stored = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False).set_index("image_id")["weight"]
    return stored.reindex(list(image_ids)).fillna(1.0).to_numpy(float)
