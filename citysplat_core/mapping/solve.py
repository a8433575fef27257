"""The step that turns a box's verified pairs into georegistered sparse models."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from citysplat_core.features import quiet_colmap
from citysplat_core.imagery.attribution_merge import write_merged
from citysplat_core.mapping.components import Component
from citysplat_core.mapping.lineage import pairs_of, read_earlier, recipe_of, write_lineage
from citysplat_core.mapping.map_box import Made, map_box
from citysplat_core.mapping.model_colours import colour_points
from citysplat_core.mapping.model_rows import component_rows, image_rows
from citysplat_core.mapping.pictures import draw_from_above
from citysplat_core.mapping.priors import PRIOR_SCHEMA
from citysplat_core.mapping.report import count_model, describe_model
from citysplat_core.mapping.strategy import Attempt
from citysplat_core.mapping.tables import (
    COMPONENT_SCHEMA,
    IMAGE_SCHEMA,
    TURN_SCHEMA,
    write_table,
)
from citysplat_core.mapping.turns import find_turns
from citysplat_core.mapping.workspace import Workspace, build_workspace
from citysplat_core.settings import MappingSettings, PriorSettings, UpdateSettings
from citysplat_core.storage import Progress, StepReport, write_json

log = logging.getLogger(__name__)

_MIN_TRACK = 3


def solve_box(  # noqa: PLR0913 - a box has that many inputs
    box: str,
    *,
    box_images: Mapping[str, Path],
    box_matches: Path,
    fringe_matches: Mapping[str, Path],
    fringe_images: Path,
    out: Path,
    work: Path,
    settings: MappingSettings,
    n_threads: int,
    progress: Progress,
    neighbour_matches: Mapping[str, Path] | None = None,
    priors: PriorSettings | None = None,
    plan_images: Path | None = None,
    earlier: Path | None = None,
    update: UpdateSettings | None = None,
    version: str = "",
) -> StepReport:
    """Solve the sparse models of a box and place them in the city frame.

    Args:
        box: Key of the box.
        box_images: ``box_images`` artifacts of the box and of its neighbours with fringe photos.
        box_matches: The box's ``box_matches`` artifact.
        fringe_matches: ``fringe_matches`` artifacts by fringe key; may be empty.
        fringe_images: ``fringe_images.parquet`` of the plan.
        out: Empty folder for the artifact ``sparse_model``.
        work: Folder that outlives a kill; finished mapper runs in it are not repeated.
        settings: How to map and judge.
        n_threads: Threads to use.
        progress: Called after every registered photo.
        neighbour_matches: ``box_matches`` artifacts of the neighbours; ties their fringe photos to
            each other, which steadies them in this model. Optional.
        priors: What positions are worth; None: the defaults.
        plan_images: ``images.parquet`` of the plan, which knows who gave each position; without it
            all count as GPS.
        earlier: The version in force of the artifact, which is updated if the rule allows; None:
            solve.
        update: The rule; None: the defaults.
        version: Of the step: a version that another one made is not updated.

    Returns:
        Counts; ``skipped`` if there is nothing to map or nothing is accepted, and then the tables
        are whole and no photo has a component.

    Raises:
        MappingError: Inputs are missing, or COLMAP failed.
    """
    pages = [folder / "ATTRIBUTION.md" for folder in box_images.values()]
    write_merged(pages, out, title=f"the sparse model of box {box}")
    workspace = build_workspace(
        box,
        box_images=box_images,
        box_matches=box_matches,
        fringe_matches=fringe_matches,
        fringe_images=fringe_images,
        neighbour_matches=neighbour_matches or {},
        work=work,
        settings=settings,
        priors=priors,
        plan_images=plan_images,
    )
    total = len(workspace.images)
    made = map_box(
        box,
        workspace,
        read_earlier(earlier, box),
        rule=update or UpdateSettings(),
        recipe=recipe_of(settings, priors, version),
        work=work,
        settings=settings,
        n_threads=n_threads,
        tell=lambda name, n, said: progress(min(n, total), total, f"{name}: {n} photos{said}"),
    )
    report = _write(box, workspace, made, out)
    progress(total, total, f"{report.counts['n_registered']} photos registered")
    return report


def _why_nothing(workspace: Workspace, attempts: Sequence[Attempt]) -> str:
    if workspace.lack or attempts[0].explained:
        return workspace.lack
    reasons = [f"{a.strategy}: {c.reason}" for a in attempts for c in a.components]
    reasons += [f"{a.strategy}: {a.stopped}" for a in attempts if a.stopped]
    found = "; ".join(dict.fromkeys(reasons)) or "no mapper found a component"
    return f"no component is accepted ({found})"


def _write(box: str, workspace: Workspace, made: Made, out: Path) -> StepReport:
    attempts, lineage = made.attempts, made.lineage
    components = attempts[0].components if attempts else []
    skipped = _why_nothing(workspace, attempts)
    rows, overlaps = image_rows(workspace, components)
    write_table(out / "images.parquet", rows, IMAGE_SCHEMA)
    write_table(out / "overlaps.parquet", overlaps, IMAGE_SCHEMA)
    turns = find_turns(workspace.database, components, workspace.sequences)
    write_table(out / "turns.parquet", turns, TURN_SCHEMA)
    write_table(out / "components.parquet", component_rows(components), COMPONENT_SCHEMA)
    write_table(out / "priors.parquet", workspace.priors, PRIOR_SCHEMA)
    solved, pairs = made.since or (rows, pairs_of(workspace.partners))
    write_lineage(out, lineage, solved, pairs)
    for number, component in enumerate(components):
        if component.accepted:
            folder = out / "components" / str(number)
            folder.mkdir(parents=True)
            with quiet_colmap():  # it warns of every photo that is gone
                colour_points(component.model, workspace.photos, only_new=made.since is not None)
            component.model.write(folder)
    counts = count_model(workspace, rows, attempts) | lineage.counts()
    report = describe_model(box, workspace, rows, attempts, counts, skipped)
    write_json(out / "report.json", report)
    _draw(box, workspace, rows, components, out / "from_above.png", counts)
    log.info("Box %s: %s", box, skipped or counts)
    previews = {"Cameras and GPS from above": out / "from_above.png"}
    return StepReport(counts=counts, skipped=skipped, previews=previews)


def _draw(
    box: str,
    workspace: Workspace,
    rows: pd.DataFrame,
    components: Sequence[Component],
    path: Path,
    counts: Mapping[str, int | float | str],
) -> None:
    cameras = rows[rows["component"] >= 0]
    points = [
        point
        for component in components
        if component.accepted
        for point in component.model.points3D.values()
        if point.track.length() >= _MIN_TRACK
    ]
    draw_from_above(
        path,
        title=f"Box {box} ({counts['strategy'] or 'not mapped'})",
        cameras=cameras.assign(group="component " + cameras["component"].astype(str)),
        gps=workspace.images,
        points=(
            np.array([p.xyz for p in points]).reshape(-1, 3),
            np.array([p.color for p in points], dtype=np.uint8).reshape(-1, 3),
        ),
    )
