import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citysplat_core.errors import ImageError
from citysplat_core.imagery.masks.polygons import detection_rings
from citysplat_core.simulation.server.detections import outline_text

POINT = st.tuples(st.integers(-100, 4200), st.integers(-100, 4200))


@given(st.lists(POINT, min_size=3, max_size=40))
def test_an_outline_survives_the_way_there_and_back(corners):
    outline = np.array(corners, np.float64) / 4096
    (ring,) = detection_rings(outline_text(outline))
    np.testing.assert_allclose(ring, outline, atol=1e-9)


@given(st.binary(max_size=60))
def test_foreign_bytes_give_rings_or_one_clear_error(body):
    text = base64.b64encode(body).decode()
    try:
        rings = detection_rings(text)
    except ImageError:
        return
    assert all(ring.shape[1] == 2 for ring in rings)


def test_text_that_is_no_base64_is_an_error():
    with pytest.raises(ImageError, match="a detection of 11 characters that is no vector tile"):
        detection_rings("not base64!")


def test_recorded_detections_are_read_as_a_second_reader_reads_them(real_data):
    import pyogrio
    import shapely

    files = sorted(real_data.glob("mapillary_tiles_josm/responses/graph/*/detections.json"))
    compared = 0
    for file in files:
        for entry in json.loads(file.read_text())["data"]:
            rings = detection_rings(entry["geometry"])
            assert rings
            assert all(((ring > -0.1) & (ring < 1.1)).all() for ring in rings)
            # GDAL places the tile 0/0/0 on the web-mercator square, y up.
            body = base64.b64decode(entry["geometry"])
            _, table = pyogrio.read_arrow(body, layer="mpy-or", X=0, Y=0, Z=0)
            shapes = shapely.from_wkb(table.column("wkb_geometry").to_numpy(zero_copy_only=False))
            half = 20_037_508.342789244
            outer = np.array(shapely.get_exterior_ring(shapely.get_geometry(shapes[0], 0)).coords)
            other = np.c_[(outer[:, 0] + half) / (2 * half), (half - outer[:, 1]) / (2 * half)]
            ours = {tuple(np.rint(4096 * point).astype(int)) for point in rings[0]}
            assert ours == {tuple(np.rint(4096 * point).astype(int)) for point in other}
            compared += 1
    assert compared >= 5
