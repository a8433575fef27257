"""The page in a real browser: the map, and splats where projection expects them.

Needs Chromium (``apt-get install chromium``). Without one the tests are skipped with a reason, or
fail where ``CITYSPLAT_REQUIRE_CHROMIUM=1`` says that there must be one.
"""

import io
import json
import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from citysplat_core.city import build_city, serving
from citysplat_core.geography import CityFrame
from citysplat_core.settings import TilesSettings

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 900, 640
# Software rendering, and no traffic of the browser's own.
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


def find_chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def launch():
    """Start browsers; skip, or fail on request, where there is none."""
    program = find_chromium()
    if program is None:
        reason = "no Chromium: `apt-get install chromium` to run the page's tests"
        if os.environ.get("CITYSPLAT_REQUIRE_CHROMIUM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        yield lambda *extra: playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, *extra]
        )


@pytest.fixture(scope="module")
def browser(launch):
    running = launch()
    yield running
    running.close()


@pytest.fixture(scope="module")
def city(tiny_city, tmp_path_factory):
    out, work = tmp_path_factory.mktemp("page") / "out", tmp_path_factory.mktemp("work")
    out.mkdir()
    build_city(
        plan=tiny_city.plan,
        boxes=tiny_city.boxes,
        alignment=tiny_city.alignment,
        frame=CityFrame(13.4, 52.5, 40.0),
        out=out,
        work=work,
        settings=TilesSettings(),
    )
    return out


@pytest.fixture(scope="module")
def address(city):
    with serving(city) as url:
        yield url


class Visit:
    """A page, what it asked for, and what went wrong on it."""

    def __init__(self, browser, width=WIDTH, height=HEIGHT):
        self.page = browser.new_page(viewport={"width": width, "height": height})
        self.page.set_default_timeout(120_000)
        self.asked, self.problems = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, message):
        if message.type == "error":
            self.problems.append(message.text)

    def state(self):
        return json.loads(
            self.page.evaluate("JSON.stringify({...window.__citysplat, map: undefined})")
        )

    def wait(self, done, seconds=60):
        # The page's own rules forbid the eval that Playwright's wait_for_function polls with.
        until = time.monotonic() + seconds
        while not done(state := self.state()):
            assert time.monotonic() < until, f"the page stays at {state}; {self.problems}"
            self.page.wait_for_timeout(100)
        return state

    def settle(self):
        """Wait until the loaded splats have been sorted and drawn and the page rests."""
        frames = -1
        while frames != (now := self.state()["frames"]):
            frames = now
            self.page.wait_for_timeout(1500)

    def pixels(self):
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        return np.asarray(picture).astype(int)


@pytest.fixture
def visit(browser):
    visits = []

    def start(*args):
        visits.append(Visit(browser, *args))
        return visits[-1]

    yield start
    for opened in visits:
        opened.page.close()


def entry(city, key):
    boxes = json.loads((city / "city.json").read_text())["boxes"]
    return next(box for box in boxes if box["key"] == key)


def project(points, view):
    """Pinhole projection of city-frame points by the page's own account of its camera."""
    forward = np.array(view["forward"], float)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    local = np.asarray(points) - view["position_enu_m"]
    focal = HEIGHT / 2 / np.tan(np.radians(view["fov_y_deg"]) / 2)
    depth = local @ forward
    return np.stack(
        [WIDTH / 2 + focal * (local @ right) / depth, HEIGHT / 2 + focal * (local @ down) / depth],
        axis=1,
    )


def red_in(pixels):
    return (pixels[..., 0] > 150) & (pixels[..., 1] < 70) & (pixels[..., 2] < 70)


def test_a_visitor_clicks_a_box_and_sees_its_wall_where_it_stands(tiny_city, city, address, visit):
    guest = visit()
    guest.page.goto(address)
    guest.wait(lambda state: state["ready"])
    assert guest.page.inner_text("h1") == "Tinytown"

    west = entry(city, tiny_city.west)
    middle = [(west["west"] + west["east"]) / 2, (west["south"] + west["north"]) / 2]
    middle[0] -= (west["east"] - west["west"]) / 4  # beside the photos
    x, y = guest.page.evaluate("(p) => window.__citysplat.map.project(p)", middle)
    map_pixels = guest.pixels()
    green = map_pixels[int(y), int(x)]
    failed = entry(city, tiny_city.failed)
    place = [(failed["west"] + failed["east"]) / 2, (failed["south"] + failed["north"]) / 2]
    fx, fy = guest.page.evaluate("(p) => window.__citysplat.map.project(p)", place)
    red = map_pixels[int(fy), int(fx)]
    assert green[1] > green[0] + 15, "the finished box is not green on the map"
    assert red[0] > red[1] + 15, "the failed box is not red on the map"

    guest.page.mouse.click(x, y)
    state = guest.wait(lambda s: s["splatsLoaded"] == 3 and s["frames"] > 3)
    guest.settle()
    state = guest.state()
    assert (state["mode"], state["box"], state["error"]) == ("scene", tiny_city.west, None)
    assert state["view"]["loaded"] == sorted(
        [
            f"splats/{tiny_city.west}.spz",
            f"splats/{tiny_city.west}.environment.spz",
            f"splats/{tiny_city.east}.spz",
        ]
    )
    assert np.allclose(state["view"]["position_enu_m"], west["start"]["position_enu_m"])

    # The page's buttons lie over the picture's edges; the wall is in its middle.
    red_pixels = red_in(guest.pixels())
    corners = project(tiny_city.red_wall_enu, state["view"])
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    rows, columns = np.nonzero(red_pixels)
    assert columns.min() == pytest.approx(left, abs=12)
    assert columns.max() == pytest.approx(right, abs=12)
    assert rows.min() == pytest.approx(top, abs=12)
    assert rows.max() < bottom + 12
    # The fuzzy ground covers the foot of the wall.
    inside = red_pixels[int(top) + 6 : int((top + bottom) / 2), int(left) + 6 : int(right) - 6]
    assert inside.mean() > 0.98
    assert "CC BY-SA 4.0" in guest.page.inner_text("#credit")
    assert guest.page.is_visible("#credit")
    assert guest.problems == []
    assert {url.split("/")[2] for url in guest.asked if url.startswith("http")} == {
        address.split("/")[2]
    }

    guest.page.click("#back")
    state = guest.wait(lambda s: s["mode"] == "map")
    assert (state["box"], state["splatsLoaded"]) == (None, 0)
    assert guest.page.is_visible("#panel")


def test_a_deep_link_opens_the_box_and_photos_can_be_visited(tiny_city, city, address, visit):
    guest = visit(480, 360)  # software rendering: few pixels are fast
    guest.page.goto(f"{address}#box={tiny_city.east}")
    state = guest.wait(lambda s: s["splatsLoaded"] == 2)
    assert state["box"] == tiny_city.east
    cameras = json.loads((city / entry(city, tiny_city.east)["cameras"]).read_text())["cameras"]
    guest.page.click("#next")  # the nearest photo first
    state = guest.wait(lambda s: s["view"]["fov_y_deg"] == pytest.approx(61.93, abs=0.01))
    places = [camera["position_enu_m"] for camera in cameras]
    at = [np.allclose(place, state["view"]["position_enu_m"], atol=1e-3) for place in places]
    assert sum(at) == 1
    guest.page.click("#next")
    following = places[(at.index(True) + 1) % len(places)]
    guest.wait(lambda s: np.allclose(s["view"]["position_enu_m"], following, atol=1e-3))
    assert guest.page.inner_text("#photo").endswith("of 3")
    assert guest.problems == []


def test_walking_over_the_border_enters_the_next_box(tiny_city, address, visit):
    guest = visit(480, 360)  # software rendering: few pixels are fast
    guest.page.goto(f"{address}#box={tiny_city.west}")
    guest.wait(lambda s: s["splatsLoaded"] == 3)
    before = guest.state()["view"]["position_enu_m"]
    guest.page.keyboard.down("Shift")
    guest.page.keyboard.down("KeyD")
    state = guest.wait(lambda s: s["box"] == tiny_city.east)
    guest.page.keyboard.up("KeyD")
    guest.page.keyboard.up("Shift")
    moved = np.subtract(state["view"]["position_enu_m"], before)
    assert moved[0] > 5
    assert abs(moved[1]) < 1e-6
    assert abs(moved[2]) < 1e-6
    # The first box's sky goes, both boxes' Gaussians stay.
    state = guest.wait(lambda s: s["splatsLoaded"] == 2)
    assert guest.page.evaluate("location.hash") == f"#box={tiny_city.east}"


def test_a_failed_box_says_why(tiny_city, address, visit):
    guest = visit(390, 780)
    guest.page.goto(address)
    guest.wait(lambda s: s["ready"])
    guest.page.click(f'[data-key="{tiny_city.failed}"]')
    guest.page.wait_for_selector("#info", state="visible")
    assert "2 of 40 photos registered" in guest.page.inner_text("#info")
    assert guest.state()["mode"] == "map"
    assert guest.page.is_visible("#credit")


def test_a_missing_file_is_named(tiny_city, city, tmp_path, visit):
    shutil.copytree(city, tmp_path / "copy")
    (tmp_path / "copy" / "splats" / f"{tiny_city.east}.spz").unlink()
    with serving(tmp_path / "copy") as url:
        guest = visit()
        guest.page.goto(f"{url}#box={tiny_city.west}")
        state = guest.wait(lambda s: s["error"])
        assert f"splats/{tiny_city.east}.spz" in state["error"]
        assert "404" in guest.page.inner_text("#message")
        guest.wait(lambda s: s["splatsLoaded"] == 2)


def test_a_missing_city_file_is_named(city, tmp_path, visit):
    shutil.copytree(city, tmp_path / "copy")
    with serving(tmp_path / "copy") as url:
        (tmp_path / "copy" / "city.json").unlink()
        guest = visit()
        guest.page.goto(url)
        state = guest.wait(lambda s: s["error"])
    assert "city.json could not be loaded: the server says 404" in state["error"]


def test_a_file_address_says_how_to_open_the_city(city, visit):
    guest = visit()
    guest.page.goto((city / "index.html").as_uri())
    assert "citysplat view" in guest.page.inner_text("#message")


def test_a_browser_without_webgl_is_told(launch, address):
    blind = launch("--disable-3d-apis")
    try:
        guest = Visit(blind)
        guest.page.goto(address)
        state = guest.wait(lambda s: s["error"])
        assert "WebGL" in state["error"]
        assert guest.page.is_visible("#list")
    finally:
        blind.close()


def trained_picture(city, key, camera):
    """What the trainer's own rasterizer draws of the published files at a photo's place."""
    torch = pytest.importorskip("torch")
    from citysplat_core.city.gaussians import read_spz
    from citysplat_core.splatting.numba_rasterizer import NumbaRasterizer
    from citysplat_core.splatting.rasterizer import Splats

    origin = entry(city, key)["splat"]["origin_enu_m"]
    pieces = []
    for box in json.loads((city / "city.json").read_text())["boxes"]:
        if box["splat"]:
            piece = read_spz(city / box["splat"]["url"])
            shift = np.subtract(box["splat"]["origin_enu_m"], origin)
            pieces.append((piece, piece.means + shift))

    def tensor(values):
        return torch.tensor(np.concatenate(values), dtype=torch.float32)

    splats = Splats(
        means=tensor([means for _, means in pieces]),
        quats=tensor([p.quats for p, _ in pieces]),
        scales=tensor([np.exp(p.scales) for p, _ in pieces]),
        opacities=torch.sigmoid(tensor([p.opacities for p, _ in pieces])),
        sh=tensor([np.concatenate([p.sh0[:, None], p.sh_rest], axis=1) for p, _ in pieces]),
    )
    # The hand-made cameras look north: x is east, y is down, z is north.
    view = np.eye(4)
    view[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    view[:3, 3] = -view[:3, :3] @ np.subtract(camera["position_enu_m"], origin)
    focal = HEIGHT / 2 / np.tan(np.radians(camera["fov_y_deg"]) / 2)
    intrinsics = [[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]]
    drawn = NumbaRasterizer(n_threads=1).render(
        splats,
        torch.tensor(view, dtype=torch.float32),
        torch.tensor(intrinsics, dtype=torch.float32),
        WIDTH,
        HEIGHT,
        antialiased=True,
    )
    return drawn.rgb.clamp(0, 1).numpy() * 255


def test_the_browser_draws_what_the_trainer_draws(tiny_city, city, address, visit):
    key = tiny_city.east
    cameras = json.loads((city / entry(city, key)["cameras"]).read_text())["cameras"]
    guest = visit()
    guest.page.goto(f"{address}#box={key}&photo={cameras[-1]['image_id']}")
    guest.wait(lambda s: s["splatsLoaded"] == 2 and s["frames"] > 3)
    guest.page.add_style_tag(content="body > :not(#scene) { display: none !important }")
    guest.settle()
    difference = guest.pixels() - trained_picture(city, key, cameras[-1])
    psnr_db = 20 * np.log10(255 / np.sqrt((difference**2).mean()))
    # The ground under the camera reaches far beside the view, where Spark alone would cut it.
    assert psnr_db > 35
