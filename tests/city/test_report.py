"""The report and its pictures."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from citysplat_core.city.drawing import draw_boxes_map, draw_camera_paths, draw_match_graph
from citysplat_core.city.report import format_number, write_report
from citysplat_core.errors import ViewerError

SUMMARY = {
    "city": "Tiny <town>",
    "images_true": None,
    "images_found": 1234,
    "registered": None,
    "position_error_m": {"median": 0.1234, "p90": 0.5},
    "pairs": {"spatial": {"proposed": 10, "matched": 8, "verified": 6, "refused": 1}},
    "psnr_db": 23.4567,
    "skipped": {"splat 012": "2 registered photos; a splat needs 6"},
    "failed": {"sparse_model 013": "Box 013: no pair; expected one. Add photos."},
    "stages": [
        {"name": "splat", "runs": 2, "seconds": 100.0, "cpu_seconds": 150.0, "peak_rss_mb": 900.0},
        {"name": "box_plan", "seconds": 0.5, "peak_rss_mb": 80},
    ],
}


def png(width, height, colour=(200, 30, 30)):
    stream = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(stream, "PNG")
    return stream.getvalue()


def test_the_report_is_one_file_with_its_pictures_inside(tmp_path):
    photo = tmp_path / "r.png"
    photo.write_bytes(png(300, 100))
    write_report(SUMMARY, tmp_path / "r.html", pictures=[("Map", png(50, 50)), ("View", photo)])
    text = (tmp_path / "r.html").read_text()
    assert text.count('src="data:image/png;base64,') == 2
    assert text.count('class="strip"') == 1
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "Tiny &lt;town&gt;" in text
    for shown in ("1,234", "0.123 m", "p90 0.5 m", "23.5 dB", "not measured", "a splat needs 6"):
        assert shown in text
    assert "Box 013: no pair" in text
    assert "simulated town" not in text  # it has no truth
    assert "width:100.0%" in text


def test_a_report_without_numbers_or_pictures_is_still_a_page(tmp_path):
    write_report({}, tmp_path / "r.html")
    assert "<h1>City</h1>" in (tmp_path / "r.html").read_text()


def test_a_missing_or_broken_picture_is_named(tmp_path):
    with pytest.raises(ViewerError, match=r"gone\.png cannot be read"):
        write_report({}, tmp_path / "r.html", pictures=[("x", tmp_path / "gone.png")])
    with pytest.raises(ViewerError, match="the picture Map cannot be read"):
        write_report({}, tmp_path / "r.html", pictures=[("Map", b"GIF89a")])
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "not measured"),
        (float("nan"), "not measured"),
        (12345, "12,345"),
        (1234.6, "1,235"),
        (123.4, "123"),
        (12.34, "12.3"),
        (0.01234, "0.0123"),
        (0, "0"),
        ("sift", "sift"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, shown):
    assert format_number(value) == shown


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).reshape(-1, 3).astype(int)


def has_colour(data, colour):
    return int((np.abs(pixels(data) - colour).max(axis=1) < 12).sum())


def test_the_map_shows_states_and_photos():
    box = {"west": 0.0, "south": 0.0, "east": 0.001, "north": 0.001}
    other = {"west": 0.001, "south": 0.0, "east": 0.002, "north": 0.001}
    boxes = [{**box, "state": "done"}, {**other, "state": "failed"}]
    city = {"bounds": [0.0, 0.0, 0.002, 0.001], "boxes": boxes}
    photo = {
        "properties": {"registered": True},
        "geometry": {"coordinates": [0.0005, 0.0005]},
    }
    picture = draw_boxes_map(city, {"features": [photo]})
    pale_green = 255 - 0.25 * (255 - np.array([0x1F, 0x8A, 0x70]))
    pale_red = 255 - 0.25 * (255 - np.array([0xC4, 0x47, 0x2F]))
    assert has_colour(picture, pale_green) > 10_000
    assert has_colour(picture, pale_red) > 10_000
    assert draw_boxes_map(city, {"features": []})
    assert picture == draw_boxes_map(city, {"features": [photo]})


def photo_table(n=20):
    return pd.DataFrame(
        {
            "image_id": [str(i) for i in range(n)],
            "colmap_id": range(1, n + 1),
            "east_m": np.arange(n) * 5.0,
            "north_m": np.where(np.arange(n) % 2, 0.0, 3.0),
        }
    )


def test_the_match_graph_draws_verified_pairs_only(tmp_path):
    table = pd.DataFrame(
        {
            "colmap_id_a": [1, 1],
            "colmap_id_b": [20, 2],
            "sources": ["fringe", "spatial"],
            "state": ["unmatched", "verified"],
        }
    )
    table.to_parquet(tmp_path / "none.parquet")
    table.assign(state="verified").to_parquet(tmp_path / "all.parquet")
    few = draw_match_graph(photo_table(), [tmp_path / "none.parquet"])
    many = draw_match_graph(photo_table(), [tmp_path / "all.parquet"])
    assert few != many
    assert draw_match_graph(photo_table(), []).startswith(b"\x89PNG")


def test_camera_paths_are_drawn_with_their_residuals():
    photos = photo_table()
    cameras = photos.assign(north_m=photos["north_m"] + 2.0)
    picture = draw_camera_paths(cameras, photos)
    assert has_colour(picture, (0x24, 0x50, 0x7A)) > 100
    assert draw_camera_paths(cameras.iloc[:0], photos).startswith(b"\x89PNG")


def test_whose_photos_are_shown_stands_below_the_pictures(tmp_path):
    write_report({}, tmp_path / "r.html", pictures=[("Map", png(50, 50))], credit="By <ann>")
    assert "By &lt;ann&gt;" in (tmp_path / "r.html").read_text()
