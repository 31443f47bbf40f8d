"""The four defects of a generated strip: how many, how large, where, how drawn by the annotator and how they look."""

import math
from statistics import NormalDist

import cv2
import numpy as np

from lib.synthetic.texture import HEIGHT, crop, curve

LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)  # at which the quantiles below are given
# From public statistics of the competition's training set, per defect class: how many images have 1, 2, 3... objects;
# quantiles of the mask area per positive image (px) and of an object's height (px); mean and deviation of the logarithm
# of an object's area; range of its width. Set by trial, so that the drawn masks have the facts' medians: the share of
# its bounding box that an object fills, the rank correlation of mask area with the number of objects, and that of an
# object's height with its area.
FACTS = {
    1: {"objects": (396, 127, 67, 51, 45, 45, 49, 40, 19, 17, 16, 8, 8, 5),
        "area": (451, 811, 1065, 1761, 3318, 5775, 8987, 11502, 15648), "height": (19, 24, 27, 33, 44, 63, 100, 157, 256),
        "log_area": (6.93, 0.68), "width": (14, 67), "fill": 0.77, "area_objects": 0.75, "height_area": 0.8},
    2: {"objects": (182, 57, 7, 1),
        "area": (573, 983, 1229, 1966, 2949, 4321, 5849, 7148, 10532), "height": (60, 75, 89, 124, 169, 218, 256, 256, 256),
        "log_area": (7.65, 0.65), "width": (7, 42), "fill": 0.74, "area_objects": 0.3, "height_area": 0.75},
    3: {"objects": (1584, 1321, 845, 521, 328, 217, 137, 79, 46, 24, 18, 9, 7, 4),
        "area": (716, 1843, 2785, 5038, 11960, 29030, 62018, 94011, 193343), "height": (11, 21, 33, 65, 159, 255, 256, 256, 256),
        "log_area": (8.05, 1.3), "width": (7, 1100), "fill": 0.84, "area_objects": 0.45, "height_area": 0.75},
    4: {"objects": (313, 228, 116, 58, 34, 21, 11, 7, 8, 2),
        "area": (2007, 5120, 7086, 13107, 25354, 45220, 75203, 98550, 129925), "height": (10, 25, 35, 59, 99, 156, 223, 250, 256),
        "log_area": (8.95, 1.35), "width": (13, 800), "fill": 0.68, "area_objects": 0.3, "height_area": 0.85},
}  # fmt: skip
BANDS = (155, 420, 800, 1180, 1440)  # px: class 2 lies near these columns only
NORMAL = NormalDist()


def object_sizes(random, defect_class, count_rank, area_rank):
    """Heights and widths in pixels of the objects of one class on one strip, a list of (height, width).

    Arguments:
        count_rank, area_rank: the strip's place among all with this class, 0..1: by number of objects; by mask area
            beside what the number says of it. Ranks that are spread evenly keep a small set close to the facts.
    """
    facts = FACTS[defect_class]
    weights = np.cumsum(facts["objects"], dtype=float)
    count = int(np.searchsorted(weights, count_rank * weights[-1], side="right")) + 1
    tie = facts["area_objects"]
    score = tie * NORMAL.inv_cdf(count_rank) + math.sqrt(1 - tie**2) * NORMAL.inv_cdf(area_rank)
    total = np.interp(NORMAL.cdf(score), LEVELS, facts["area"])
    sizes = []
    for share in random.dirichlet(np.full(count, {3: 0.75, 4: 1.2}.get(defect_class, 6.0))):
        area = max(total * share, 120.0)
        size_score = (math.log(area) - facts["log_area"][0]) / facts["log_area"][1]
        tie = facts["height_area"]
        height = np.interp(NORMAL.cdf(tie * size_score + math.sqrt(1 - tie**2) * random.normal()), LEVELS, facts["height"])
        width = np.clip(area / (facts["fill"] * height), *facts["width"])
        height = np.clip(area / (facts["fill"] * width), 10, HEIGHT)
        sizes.append((round(height), round(width)))
    return sizes


def outline(random, shape, height, width):
    """The annotator's polygon, (n, 2) int32 points (x, y) that fill a box of `height` x `width` pixels to its borders.

    Arguments:
        shape: "box" (a crooked box), "strip" (a slanted strip along the longer side) or "patch" (a ragged outline).
    """
    if shape == "box":
        points = random.uniform(0, 0.27, (4, 2)) * [[1, 1], [-1, 1], [-1, -1], [1, -1]] + [[0, 0], [1, 0], [1, 1], [0, 1]]
    elif shape == "strip":
        top, bottom = random.uniform(0.05, 0.55, 2) * (random.random(2) < 0.8)
        points = np.array([[0, 0], [1 - top, 0], [1, 1], [bottom, 1]])
        points = np.insert(points, 2, [[1 - top / 2 + 0.04, random.uniform(0.35, 0.65)]], axis=0)
        if random.random() < 0.5:
            points = points * [-1, 1] + [1, 0]
        if width > height:
            points = points[:, ::-1]
    else:
        count = int(random.integers(9, 18))
        angles = (np.arange(count) + random.uniform(-0.35, 0.35, count)) * 2 * np.pi / count
        radius = np.clip(0.77 + np.convolve(random.normal(0, 0.25, count + 2), (0.5, 0.7, 0.5), "valid"), 0.45, 1.1)[:, None]
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = circle / np.maximum(0.72, np.abs(circle).max(axis=1, keepdims=True)) * radius
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    return np.round(points * [width - 1, height - 1]).astype(np.int32)


def place(random, defect_class, height, width, lit):
    """Top row and left column for an object of this size between the lit columns `lit` = (first, last)."""
    room = HEIGHT - height
    top = int(random.integers(0, room + 1))
    if random.random() < (0.45 if defect_class == 4 else 0.25):
        top = 0 if random.random() < 0.5 else room  # cut off by the picture's border
    if defect_class == 2:
        left = int(random.choice(BANDS) + random.normal(0, 14) - width / 2)
        if lit[0] <= left <= lit[1] - width:
            return top, left
    return top, int(random.integers(lit[0], max(lit[0] + 1, lit[1] - width)))


def bell(away, width):
    """A bell of height 1 around 0."""
    return np.exp(-((away / width) ** 2))


def draw_pits(box, mask, random, strength):
    """Class 1: small dark cores, each with a bright rim on its lower side, some with a short fine dark trail."""
    height, width = box.shape
    level = float(box.mean())
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    relief = np.zeros_like(box)
    for _ in range(int(np.clip(height * width / 450, 1, 9))):
        y, x = random.uniform(0.25, 0.75) * height, random.uniform(0.3, 0.7) * width
        tall, wide = random.uniform(3, 6.5), random.uniform(2.3, 4)
        away = ((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2
        rim = ((rows - y - 0.9 * tall) / tall) ** 2 + ((columns - x - random.uniform(0.5, 1.5)) / wide) ** 2
        relief += random.uniform(1.0, 1.8) * np.exp(-1.4 * rim) - random.uniform(0.8, 1.1) * np.exp(-away)
        if random.random() < 0.5:
            relief -= 0.35 * bell(columns - x, 1.3) * ((rows < y) & (rows > y - random.uniform(15, 35)))
    box += strength * (0.75 * level + 20) * relief * mask


def draw_line(box, mask, random, strength):
    """Class 2: a thin smooth wandering dark line that opens into a lens with a bright inside and a dark knot at its end."""
    height, width = box.shape
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    middle = mask @ columns / np.maximum(0.1, mask.sum(axis=1))
    middle = cv2.GaussianBlur(middle[:, None], (1, 31), 6, borderType=cv2.BORDER_REPLICATE)
    away = columns - middle - curve(random, height, max(3, height // 24), min(3.0, width / 9))[:, None]
    first = random.uniform(0.05, 0.45) * height
    last = first + random.uniform(0.3, 0.5) * height
    half = float(np.clip(width / 5, 1.8, 5)) * np.sqrt(np.maximum(0, np.sin(np.pi * (rows - first) / (last - first))))
    half = half * ((rows > first) & (rows < last))
    bright, left, right = random.uniform((0.3, 0.6, 0.6), (0.9, 1.1, 1.1))
    profile = bright * bell(away, np.maximum(0.4, 0.7 * half)) * (half > 0)
    profile -= np.maximum(left * bell(away + half, 1.3), right * bell(away - half, 1.3))
    profile -= 1.2 * bell(np.hypot(away, (rows - last) / 1.4), 2.6)
    fade = np.clip(0.95 + curve(random, height, max(4, height // 12), 0.3), 0.4, 1.4)[:, None]
    profile *= 1 + 0.3 * crop(random, "grain", height, width)
    box += strength * (0.55 * float(box.mean()) + 14) * profile * fade * mask


def streaks(random, height, width):
    """A bundle of upright lines, dark with a bright side or the other way round, (height, width) float32 about -1..1.5."""
    count = int(np.clip(width / random.uniform(4.5, 7), 2, 14) + width / random.uniform(20, 70))
    centres = random.uniform(0.1, 0.9, (count, 1)) * width
    thick = random.uniform(0.7, 2.2, (count, 1)) * random.choice([1, 1, 1.8])
    columns = np.arange(width, dtype=np.float32)
    beside = centres + random.choice([-2.2, 2.2], (count, 1)) * thick
    lines = random.uniform(0.4, 1.1, (count, 1)) * bell(columns - beside, thick) - bell(columns - centres, thick)
    start, end = np.sort(random.uniform(-0.6, 1.6, (2, count)), axis=0)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    weights = ((rows > start) & (rows < np.maximum(end, start + 0.6))) * random.uniform(0.5, 1.1, count)
    uneven = random.normal(1, 0.4, (max(3, height // 14), count)).astype(np.float32)
    weights = cv2.GaussianBlur(weights.astype(np.float32), (1, 21), 0, sigmaY=4, borderType=cv2.BORDER_REPLICATE)
    weights = weights * np.clip(cv2.resize(uneven, (count, height), interpolation=cv2.INTER_CUBIC), 0.1, 2)
    return random.choice([1, 1, 1, -0.9]) * (weights.astype(np.float32) @ lines.astype(np.float32))


def draw_scratches(box, mask, random, strength):
    """Class 3: streaks along the longer side, slanted with the outline; or a torn or flat dark band; or a dark rough scar."""
    height, width = box.shape
    if width > 1.5 * height:
        draw_scratches(box.T, mask.T, random, strength)
        return
    level = 0.65 * float(box.mean()) + 15
    fits = height <= 300 and width <= 1600  # a noise bank holds a piece as large; a turned object may be longer
    compact = height < 1.8 * width and width < 120
    kind = random.choice(["streaks", "torn", "flat", "scar"], p=[0.2, 0.15, 0.0, 0.65] if compact else [0.72, 0.16, 0.12, 0.0])
    look = streaks(random, height, width)
    columns = np.arange(width, dtype=np.float32)
    middle = mask @ columns / np.maximum(0.1, mask.sum(axis=1))
    slope = np.polyfit(np.arange(height), middle, 1)[0] if height > 20 else 0.0
    shear = np.float32([[1, slope, -slope * height / 2], [0, 1, 0]])
    look = cv2.warpAffine(look, shear, (width, height), borderMode=cv2.BORDER_REFLECT)
    if kind == "torn" and fits:
        torn = crop(random, "drip", height, width) + 0.4 * crop(random, "ripple", height, width)
        look = 0.6 * look - 0.75 * np.clip(2.5 * torn, 0, 1)
    elif kind == "flat":
        look = 0.45 * look - random.uniform(0.35, 0.6)
    elif kind == "scar" and fits:
        dark = np.clip(0.75 + 0.8 * crop(random, "drip", height, width), 0, 1.3)
        look = 0.3 * look - 0.65 * dark + 0.45 * crop(random, "speck", height, width)
    if fits:
        look = look + (0.08 + 0.3 * np.abs(look)) * crop(random, "grain", height, width)
    box += strength * level * np.clip(look, -1.05, 1.7) * mask


def draw_patch(box, mask, random, strength):
    """Class 4: a crumpled, scaly surface with a dark ragged rim and bright cracks in place of the rolled one."""
    height, width = box.shape
    level = float(box.mean())
    zoom = random.uniform(0.8, 1.7)
    folds = cv2.resize(crop(random, "relief", int(height / zoom) + 1, int(width / zoom) + 1), (width, height))
    near = cv2.GaussianBlur(mask, (0, 0), max(2.0, min(9.0, min(height, width) / 9)))
    ragged = np.clip((near + 0.16 * crop(random, "mottle", height, width) - 0.48) * 5, 0, 1) * mask
    tone = random.uniform(0.5, 0.95) + strength * 0.3 * folds + 0.07 * crop(random, "grain", height, width)
    tone += strength * random.uniform(0.3, 1.0) * np.maximum(0, folds - 1.2)
    tone += 0.18 * crop(random, "mottle", height, width)
    rim = np.clip(1.6 * (1 - cv2.GaussianBlur(ragged, (0, 0), 4)) * ragged, 0, 0.6)
    cover = ragged * min(1.0, 0.35 + 0.6 * strength)
    box += cover * (level * np.clip(tone - 0.8 * strength * rim, 0.12, 2.4) - box)


def visible_part(outlined, slack, cut_above, cut_below):
    """Where in its outline (h, w) 0/1 a defect shows, 0..1: inside by `slack` pixels, and fading out, as nothing ends at a ruler.

    Arguments:
        cut_above, cut_below: the outline goes on beyond the picture there.
    """
    room = 12
    wide = cv2.copyMakeBorder(outlined, room, room, room, room, cv2.BORDER_CONSTANT)
    if cut_above:
        wide[:room] = wide[room]
    if cut_below:
        wide[-room:] = wide[-room - 1]
    inner = cv2.erode(wide, np.ones((2 * slack + 1,) * 2, np.uint8)).astype(np.float32)
    return cv2.GaussianBlur(inner, (0, 0), sigmaX=1.2, sigmaY=3)[room:-room, room:-room]


DRAW = {1: draw_pits, 2: draw_line, 3: draw_scratches, 4: draw_patch}


def outline_kind(random, defect_class, height, width):
    """Which polygon an annotator takes for an object of this class and size."""
    if defect_class == 1:
        return "box" if random.random() < 0.8 else "patch"
    if defect_class == 4:
        return "patch"
    return "strip" if defect_class == 2 or max(height, width) > 1.8 * min(height, width) or random.random() < 0.4 else "patch"


def put_defects(image, masks, random, roll, defect_class, lit, ranks=(0.5, 0.5)):
    """Draw the defects of one class into `image` (H, W) float32 and their outlines into `masks` (H, W, C) uint8, in place.

    Objects keep clear of everything in `masks`; one that finds no place is made smaller, the first one until it does.
    """
    drawn = 0
    sizes = sorted(object_sizes(random, defect_class, *ranks), reverse=True)
    strip_contrast = roll["contrast"] * float(np.clip(random.lognormal(0.45, 0.2), 0.95, 2.0))
    if random.random() < 0.02:
        strip_contrast *= 0.4  # hardly to be seen, as some real ones are
    for height, width in sizes:
        width = min(width, lit[1] - lit[0] - 4)
        for attempt in range(40):
            if attempt % 10 == 9:
                height, width = max(12, height * 3 // 4), max(8, width * 3 // 4)
            top, left = place(random, defect_class, height, width, lit)
            margin = (slice(max(0, top - 3), top + height + 3), slice(max(0, left - 3), left + width + 3))
            outlined = np.zeros((height, width), np.uint8)
            cv2.fillPoly(outlined, [outline(random, outline_kind(random, defect_class, height, width), height, width)], 1)
            grown = cv2.dilate(cv2.copyMakeBorder(outlined, 3, 3, 3, 3, cv2.BORDER_CONSTANT), np.ones((7, 7), np.uint8))
            grown = grown[3 - min(3, top) :, 3 - min(3, left) :]
            taken = masks[margin].any(axis=2)
            if not (taken & grown[: taken.shape[0], : taken.shape[1]].astype(bool)).any():
                break
        else:
            if drawn:
                continue
            return
        box = (slice(top, top + height), slice(left, left + width))
        masks[box][..., defect_class - 1] |= outlined
        soft = visible_part(outlined, 3 if min(height, width) > 24 else 1, top == 0, top + height == HEIGHT)
        if defect_class == 1:
            soft = cv2.GaussianBlur(outlined.astype(np.float32), (0, 0), 1.5)
        DRAW[defect_class](image[box], soft, random, strip_contrast * float(random.uniform(0.8, 1.2)))
        drawn += 1
