import numpy as np

from citysplat_core.matching.headings import compass_that_follows_motion, settle_headings
from citysplat_core.matching.pairs import wrap_deg


def test_headings_solved_from_pairs_are_near_the_truth(town):
    town.photos.heading_deg[:] += 90.0
    headings = settle_headings(town.photos, town.edges(town.true_rows()))
    error = np.abs(wrap_deg(headings.heading_deg - town.heading))
    assert headings.n_unknown == 0
    assert np.median(error) < 8
    assert error.max() < 45


def test_a_compass_is_believed_when_it_keeps_its_angle_to_the_motion(town):
    photos = town.photos
    photos.heading_deg[20:40] += 90.0  # looks sideways all the way
    photos.heading_deg[40:54] += 165.0  # lies on the way
    photos.heading_deg[60:80] = np.nan
    believed = np.isfinite(compass_that_follows_motion(photos))
    assert believed[:40].all()
    assert not believed[40:80].any()
    assert believed[80:].all()


def test_a_sequence_that_hardly_moves_vouches_for_no_compass(town):
    town.photos.east_north_m[:20] = town.photos.east_north_m[0]
    assert np.isnan(compass_that_follows_motion(town.photos)[:20]).all()
