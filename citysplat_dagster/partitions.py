"""Boxes and fringes as Dagster partitions, read from the published plan.

Static definitions and static mappings on purpose: Dagster's webserver and daemon ignore custom
mappings silently. A new plan is seen after the code location is reloaded.
"""

from dataclasses import dataclass

import dagster as dg

from citysplat_core.geography import BoxPlan


@dataclass(frozen=True)
class Partitions:
    """The partitions of a plan and how they depend on each other.

    Attributes:
        boxes: One partition a box.
        fringes: One partition a fringe, None if no two boxes touch.
        fringes_from_boxes: A fringe needs its two boxes.
        boxes_from_fringes: A box needs its fringes.
        boxes_from_boxes: A box needs itself and its neighbours.
    """

    boxes: dg.StaticPartitionsDefinition
    fringes: dg.StaticPartitionsDefinition | None
    fringes_from_boxes: dg.StaticPartitionMapping | None
    boxes_from_fringes: dg.StaticPartitionMapping | None
    boxes_from_boxes: dg.StaticPartitionMapping


def partitions_of(plan: BoxPlan) -> Partitions:
    """Give the partitions of a plan; every mapping is {upstream key: downstream keys}."""
    boxes = [box.key for box in plan.boxes]
    around = {key: sorted({key, *plan.neighbours_of(key)}) for key in boxes}
    by_box = {key: plan.fringes_of(key) for key in boxes}
    has_fringes = bool(plan.fringes)
    return Partitions(
        boxes=dg.StaticPartitionsDefinition(boxes),
        fringes=dg.StaticPartitionsDefinition([f.key for f in plan.fringes])
        if has_fringes
        else None,
        fringes_from_boxes=dg.StaticPartitionMapping({k: v for k, v in by_box.items() if v})
        if has_fringes
        else None,
        boxes_from_fringes=dg.StaticPartitionMapping({f.key: [f.a, f.b] for f in plan.fringes})
        if has_fringes
        else None,
        boxes_from_boxes=dg.StaticPartitionMapping(around),
    )
