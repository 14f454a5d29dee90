"""Other modalities and other parts of the body, drawn roughly."""

import numpy as np
from scipy import ndimage

from benchmarks.nonsense.damaged import sample
from benchmarks.nonsense.volumes import (
    Kind,
    Rng,
    Scan,
    Volume,
    points_mm,
    radius,
    rician,
    scan,
    smooth_noise,
)


def _head_ct_hounsfield(rng: Rng) -> Volume:
    """Air -1000, brain 20 to 40, skull 1000."""
    head = ndimage.gaussian_filter(sample()[0], 0.8)
    inside = ndimage.binary_fill_holes(head > 40)
    deep = ndimage.distance_transform_edt(inside) * 1.5
    skull = inside & (deep > 6) & (deep < 12)
    tissue = np.interp(head, [0, 60, 160, 200, 400], [0, 8, 30, 38, 45])
    hounsfield = np.where(skull, 1000, np.where(deep < 6, 40, tissue))
    noisy = np.where(inside, hounsfield, -1000) + rng.normal(0, 6, head.shape)
    return np.asarray(noisy, dtype=np.float32)


def _head_ct(rng: Rng) -> Scan:
    return scan(_head_ct_hounsfield(rng).astype(np.int16), 1.5)


def _head_ct_window(rng: Rng) -> Scan:
    """CT as a viewer exports it: 0 to 80 HU in 256 steps."""
    return scan((np.clip(_head_ct_hounsfield(rng), 0, 80) * 255 / 80).astype(np.uint8), 1.5)


def _thorax(rng: Rng, *, ct: bool) -> Volume:
    points = points_mm((96, 72, 80), 4)
    torso = np.hypot(points[0] / 175, points[1] / 115) < 1
    lungs = np.minimum(*(radius(points, (60, 80, 120), (side * 80, 10, 20)) for side in (-1, 1)))
    spine = np.hypot(points[0], points[1] + 75) < 18
    heart = radius(points, (50, 45, 55), (20, 35, 0)) < 1
    image = np.where(torso, 40.0 if ct else 400.0, -1000.0 if ct else 0.0)
    image[lungs < 1] = -850 if ct else 40
    image[spine] = 500 if ct else 200
    image[heart] = 50 if ct else 600
    rim = torso & (np.hypot(points[0] / 155, points[1] / 97) > 1)
    image[rim] = -100 if ct else 800
    return np.asarray(image * (1 + 0.05 * smooth_noise(rng, image.shape, 2)), dtype=np.float32)


def _thorax_ct(rng: Rng) -> Scan:
    return scan((_thorax(rng, ct=True) + rng.normal(0, 15)).astype(np.int16), 4)


def _thorax_mr(rng: Rng) -> Scan:
    return scan(rician(rng, _thorax(rng, ct=False), 15).astype(np.int16), 4)


def _abdomen(rng: Rng) -> Scan:
    """Axial slices of a belly: liver on one side, fat round it."""
    points = points_mm((160, 120, 36), (2.4, 2.4, 6))
    belly = np.hypot(points[0] / 165, points[1] / 110)
    image = np.where(belly < 1, 700.0, 0.0)
    image[belly < 0.86] = 300
    image[radius(points, (80, 70, 90), (-70, 10, 20)) < 1] = 450
    image[radius(points, (35, 40, 60), (90, -20, 30)) < 1] = 550
    image[np.hypot(points[0], points[1] + 60) < 20] = 250
    image = image * (1 + 0.06 * smooth_noise(rng, image.shape, 2))
    return scan(rician(rng, image.astype(np.float32), 15).astype(np.int16), (2.4, 2.4, 6))


def _knee(rng: Rng) -> Scan:
    """A column with two bones that meet in the middle."""
    points = points_mm((160, 160, 110), (1, 1, 1.4))
    leg = np.hypot(points[0], points[1]) < 62 + 6 * np.cos(points[2] / 30)
    image = np.where(leg, 250.0, 0.0)
    for end in (-1, 1):
        half = np.abs(points[2] * end - 45) < 42
        wide = 18 + 16 * np.exp(-np.abs(points[2]) / 20)
        image[half & (np.hypot(points[0], points[1] - 5) < wide)] = 600
    image[radius(points, (22, 8, 22), (0, 58, 5)) < 1] = 550
    image = image * (1 + 0.08 * smooth_noise(rng, image.shape, 2))
    return scan(rician(rng, image.astype(np.float32), 12).astype(np.int16), (1, 1, 1.4))


def _spine(rng: Rng) -> Scan:
    """Sagittal slices of a lumbar spine."""
    points = points_mm((15, 256, 256), (4.4, 1.1, 1.1))
    image = np.full(points.shape[1:], 120.0)
    back = points[1] + 20 * np.sin(points[2] / 60)
    bone = (np.abs(back) < 18) & (np.abs(points[0]) < 20)
    image[bone] = np.where(np.mod(points[2], 36) < 26, 320, 150)[bone]
    image[(np.abs(back + 30) < 7) & (np.abs(points[0]) < 8)] = 700
    image[back < -75] = 500
    image[(back < -110) | (points[1] > 110)] = 0
    return scan(rician(rng, image.astype(np.float32), 12).astype(np.int16), (4.4, 1.1, 1.1))


def _thighs(rng: Rng) -> Scan:
    points = points_mm((180, 90, 40), (2, 2, 6))
    image = np.zeros(points.shape[1:])
    for side in (-1, 1):
        across = np.hypot(points[0] - side * 85, points[1])
        image[across < 75] = 700
        image[across < 62] = 250
        image[across < 14] = 60
        image[across < 9] = 600
    return scan(rician(rng, image.astype(np.float32), 12).astype(np.int16), (2, 2, 6))


def _pelvis(rng: Rng) -> Scan:
    """Axial slices round a prostate: a field that air does not reach."""
    points = points_mm((160, 160, 24), (1.25, 1.25, 3.6))
    image = 250 + 60 * smooth_noise(rng, points.shape[1:], 5)
    image[radius(points, (25, 20, 22)) < 1] = 450
    image[radius(points, (45, 30, 30), (0, 45, 35)) < 1] = 900
    for side in (-1, 1):
        image[radius(points, (28, 28, 40), (side * 85, 10, 0)) < 1] = 500
    return scan(rician(rng, image.astype(np.float32), 12).astype(np.int16), (1.25, 1.25, 3.6))


def _breasts(rng: Rng) -> Scan:
    points = points_mm((170, 90, 80), 2)
    image = np.where(points[1] < -55, 300.0, 0.0)
    for side in (-1, 1):
        across = radius(points, (60, 105, 62), (side * 80, -55, 0))
        image[(across < 1) & (points[1] > -55)] = 500
        gland = (across < 0.75) & (smooth_noise(rng, across.shape, 4) > 0.3)
        image[gland & (points[1] > -55)] = 220
    return scan(rician(rng, image.astype(np.float32), 12).astype(np.int16), 2)


def _whole_body_pet(rng: Rng) -> Scan:
    points = points_mm((100, 100, 200), (4, 4, 4.5))
    image = np.where(radius(points, (160, 100, 430)) < 1, 0.6, 0.0)
    for at, bright in (((0, 0, 380), 9), ((-60, 0, 40), 3), ((0, 20, -150), 25), ((40, 20, 90), 6)):
        image += bright * (radius(points, (35, 35, 40), at) < 1)
    blurred = ndimage.gaussian_filter(image, 1.2)
    return scan(rng.poisson(blurred * 40).astype(np.float32) / 40, (4, 4, 4.5))


def _hand(rng: Rng) -> Scan:
    points = points_mm((120, 160, 40), (1, 1.3, 1.2))
    image = np.where(radius(points, (42, 50, 14), (0, -45, 0)) < 1, 400.0, 0.0)
    for finger in range(5):
        x = -40 + 20 * finger
        across = np.hypot(points[0] - x, points[2])
        length = (points[1] > -20) & (points[1] < 60 + 25 * np.sin(finger))
        image[(across < 9) & length] = 400
        image[(across < 4) & length] = 700
    return scan(rician(rng, image.astype(np.float32), 12).astype(np.int16), (1, 1.3, 1.2))


def _mouse(rng: Rng) -> Scan:
    """A mouse's brain at 0.1 mm."""
    points = points_mm((160, 200, 120), 0.1)
    head = radius(points, (6, 8.5, 5)) < 1
    image = head * (400 + 80 * smooth_noise(rng, head.shape, 6))
    return scan(rician(rng, image.astype(np.float32), 15).astype(np.int16), 0.1)


BODIES: dict[str, Kind] = {
    "CT of a head": _head_ct,
    "CT of a head, exported": _head_ct_window,
    "CT of a thorax": _thorax_ct,
    "thorax": _thorax_mr,
    "abdomen": _abdomen,
    "knee": _knee,
    "lumbar spine": _spine,
    "thighs": _thighs,
    "pelvis": _pelvis,
    "breasts": _breasts,
    "PET of a whole body": _whole_body_pet,
    "hand": _hand,
    "mouse": _mouse,
}
