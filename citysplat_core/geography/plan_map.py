"""The picture of a box plan."""

from math import cos, radians
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from citysplat_core.geography.plan import BoxPlan


def draw_plan(plan: BoxPlan, images: pd.DataFrame, file: Path) -> None:
    """Draw boxes, fringes and photos on a plain map.

    Args:
        plan: The plan.
        images: Its images table: lon, lat, box.
        file: PNG to write, 1,000 px wide.
    """
    figure = Figure(figsize=(10, 9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for box in plan.boxes:
        width, height = box.east - box.west, box.north - box.south
        axes.add_patch(
            Rectangle((box.west, box.south), width, height, fill=False, edgecolor="#345", lw=1.2)
        )
        if len(plan.boxes) <= 64:
            axes.text(
                box.west + 0.03 * width,
                box.north - 0.04 * height,
                f"{box.key[-6:]}\n{box.n_images} photos",
                fontsize=8,
                va="top",
                color="#345",
            )
    middle = {b.key: ((b.west + b.east) / 2, (b.south + b.north) / 2) for b in plan.boxes}
    for fringe in plan.fringes:
        (x0, y0), (x1, y1) = middle[fringe.a], middle[fringe.b]
        axes.plot([x0, x1], [y0, y1], color="#e09f3e", lw=0.8, alpha=0.7, zorder=1)
    codes = pd.factorize(images["box"], sort=True)[0]
    axes.scatter(images["lon"], images["lat"], c=codes, cmap="tab20", s=6, zorder=2)
    south, north = min(b.south for b in plan.boxes), max(b.north for b in plan.boxes)
    axes.set_aspect(_aspect((south + north) / 2))
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    axes.set_title(
        f"{plan.city}: {len(plan.boxes)} boxes, {len(plan.fringes)} fringes, {len(images)} photos"
    )
    figure.savefig(file)


def _aspect(lat_deg: float) -> float:
    """Give the aspect at which a degree of longitude looks as long as it is."""
    return 1.0 / cos(radians(lat_deg))
