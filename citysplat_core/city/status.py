"""Where each box stands."""

from citysplat_core.geography import load_plan
from citysplat_core.imagery.tile_ledger import TileLedger
from citysplat_core.settings import City
from citysplat_core.storage import ArtifactStore, read_failures

BOX_STAGES = ("box_images", "box_features", "box_matches", "sparse_model", "splat")


def box_rows(city: City) -> tuple[list[str], list[list[str]]]:
    """Give a table of the boxes: one row each, one column a stage.

    Returns:
        Headings, and cells: a stage's number where it is done, ``skip`` (``skip_reasons`` tells
        why), ``FAILED``, or ``-`` where nothing was made yet. Without a plan there are no rows.
    """
    columns = ["box", "photos", "ok", "features", "pairs", "model", "splat", "fringe"]
    plan_file = city.root / "plan.json"
    if not plan_file.is_file():
        return columns, []
    plan, store = load_plan(plan_file), ArtifactStore(city.root)
    failed = {(f.asset, f.partition) for f in read_failures(city.root)}
    rows = []
    for box in plan.boxes:
        cells = [_cell(store, failed, stage, box.key) for stage in BOX_STAGES]
        fringes = plan.fringes_of(box.key)
        done = sum(store.find("fringe_matches", key) is not None for key in fringes)
        rows.append([box.key, str(box.n_images), *cells, f"{done}/{len(fringes)}"])
    return columns, rows


def coverage_line(city: City) -> str:
    """Say in one line which tiles of the area are read, what is new, and what is missing.

    Returns:
        The line; empty before the first look.
    """
    file = city.root / "imagery.sqlite"
    if not file.is_file():
        return ""
    tiles = TileLedger(file, city.settings.source.kind).tiles(city.area()).to_pandas()
    if tiles.empty:
        return ""
    states = tiles["state"].value_counts()
    named = [f"{states.get(s, 0)} {s}" for s in ("complete", "empty", "unknown", "failed")]
    new, gone = int(tiles["n_new"].sum()), int(tiles["n_gone"].sum())
    line = f"tiles: {', '.join(named)}; images: {new:,} new, {gone:,} gone"
    read_at = tiles["fetched_at"].dropna()
    return line if read_at.empty else f"{line}; oldest answer {read_at.min():%Y-%m-%d}"


def skip_reasons(city: City) -> list[str]:
    """Give one line a skipped stage of a box: box, stage and reason."""
    plan_file = city.root / "plan.json"
    if not plan_file.is_file():
        return []
    store = ArtifactStore(city.root)
    return [
        f"{box.key} {stage}: {found.skipped}"
        for box in load_plan(plan_file).boxes
        for stage in BOX_STAGES
        if (found := store.find(stage, box.key)) is not None and found.skipped
    ]


_NUMBERS = {
    "box_images": "ok",
    "box_features": "n_images",
    "box_matches": "pairs_verified",
    "sparse_model": "n_home_registered",
    "splat": "psnr_db",
}
"""The count that stands for a stage: photos, photos, pairs, registered photos, dB."""


def _cell(store: ArtifactStore, failed: set[tuple[str, str]], asset: str, box: str) -> str:
    if (asset, box) in failed:
        return "FAILED"
    artifact = store.find(asset, box)
    if artifact is None:
        return "-"
    if artifact.skipped:
        return "skip"
    value = artifact.counts.get(_NUMBERS[asset])
    return f"{value:.1f} dB" if isinstance(value, float) else str(value)
