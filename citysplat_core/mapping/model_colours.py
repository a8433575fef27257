"""Colours of points, read from the photos that see them."""

from pathlib import Path

import pycolmap


def colour_points(model: pycolmap.Reconstruction, photos: Path, *, only_new: bool = False) -> None:
    """Give the points of a model the colours that they have in the photos.

    Args:
        model: Changed in place. Photos that are not on disk are passed over.
        photos: Folder of the photos by COLMAP name.
        only_new: Only points that are black, as new ones are; reads only photos that see one.
    """
    if not only_new:
        model.extract_colors_for_all_images(photos)
        return
    read = set[int]()
    for point in list(model.points3D.values()):
        seers = [element.image_id for element in point.track.elements]
        for image_id in () if point.color.any() else seers:
            if image_id in read:
                continue
            read.add(image_id)
            if model.extract_colors_for_image(image_id, photos):
                break
