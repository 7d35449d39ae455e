"""The CenterFace network: its outputs as boxes."""

from __future__ import annotations

import numpy as np

from scanner.detectors.centerface import decode


def test_decode_reads_cells_offsets_and_log_sizes() -> None:
    heatmap = np.zeros((8, 8), np.float32)
    heatmap[2, 5] = 0.8
    heatmap[0, 0] = 0.2  # too weak
    scale = np.zeros((2, 8, 8), np.float32)
    scale[:, 2, 5] = np.log([6, 3])  # height and width in cells of 4 px
    offset = np.zeros((2, 8, 8), np.float32)
    offset[:, 2, 5] = [0.25, -0.25]  # y, x in cells
    found = decode(heatmap, scale, offset, 0.35)
    # middle x (5 - .25 + .5) * 4 = 21, y (2 + .25 + .5) * 4 = 11; 12 px wide, 24 px high
    np.testing.assert_allclose(found, [[15, -1, 27, 23, 0.8]], rtol=1e-5)


def test_scales_that_would_overflow_stay_finite() -> None:
    ones = np.ones((4, 4), np.float32)
    found = decode(ones, np.full((2, 4, 4), 500, np.float32), np.zeros((2, 4, 4), np.float32), 0.35)
    assert np.isfinite(found).all()
