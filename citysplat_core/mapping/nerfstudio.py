"""nerfstudio's data format: ``transforms.json`` and a PLY of the points.

nerfstudio's cameras look along -z with y up (OpenGL), and its poses are world from camera. The
world stays East-North-Up with z up, which is nerfstudio's own, moved so that its numbers are small:
nerfstudio computes in single precision.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import MappingError
from citysplat_core.storage import write_json

Floats = NDArray[np.float64]

_OPENGL: Final = np.diag([1.0, -1.0, -1.0])
_LENSES: Final = MappingProxyType[str, tuple[str, Callable[[Floats], dict[str, float]]]](
    {
        "SIMPLE_PINHOLE": ("OPENCV", lambda _: {}),
        "PINHOLE": ("OPENCV", lambda _: {}),
        "SIMPLE_RADIAL": ("OPENCV", lambda p: {"k1": p[3]}),
        "RADIAL": ("OPENCV", lambda p: {"k1": p[3], "k2": p[4]}),
        "OPENCV": ("OPENCV", lambda p: {"k1": p[4], "k2": p[5], "p1": p[6], "p2": p[7]}),
        "SIMPLE_RADIAL_FISHEYE": ("OPENCV_FISHEYE", lambda p: {"k1": p[3]}),
        "RADIAL_FISHEYE": ("OPENCV_FISHEYE", lambda p: {"k1": p[3], "k2": p[4]}),
        "OPENCV_FISHEYE": (
            "OPENCV_FISHEYE",
            lambda p: {"k1": p[4], "k2": p[5], "k3": p[6], "k4": p[7]},
        ),
    }
)
"""nerfstudio's camera model and distortion of each camera model of COLMAP."""


def write_nerfstudio(
    models: Sequence[pycolmap.Reconstruction], folder: Path, *, masks: Collection[str] = ()
) -> dict[str, Any]:
    """Write models that share a frame as one nerfstudio dataset.

    Args:
        models: The components, city frame; a photo in several is taken from the first.
        folder: An existing folder; gets ``transforms.json`` and ``sparse_pc.ply``. A dataset has
            one kind of lens: photos of the rarer kind go to ``transforms_<kind>.json``.
        masks: File names in ``masks/``, as ``<photo>.png``.

    Returns:
        ``origin_enu_m``, what was taken off all positions, and ``n_frames`` by file.

    Raises:
        MappingError: A camera model that nerfstudio does not have.
    """
    centers = np.array([m.image(i).projection_center() for m in models for i in m.reg_image_ids()])
    origin = np.round(np.median(centers, axis=0)) if len(centers) else np.zeros(3)
    frames: dict[str, dict[str, Any]] = {}
    for model in models:
        for image_id in sorted(model.reg_image_ids()):
            image = model.image(image_id)
            frames.setdefault(image.name, _frame(image, origin, masks))
    kinds = Counter(str(f["camera_model"]) for f in frames.values()).most_common()
    written = {}
    for number, (kind, _) in enumerate(kinds):
        name = "transforms.json" if number == 0 else f"transforms_{kind.lower()}.json"
        mine = [frames[n] for n in sorted(frames) if frames[n]["camera_model"] == kind]
        write_json(folder / name, _dataset(kind, origin, mine))
        written[name] = len(mine)
    _write_points(models, origin, folder / "sparse_pc.ply")
    return {"origin_enu_m": origin.tolist(), "n_frames": written}


def _dataset(kind: str, origin: Floats, frames: list[dict[str, Any]]) -> dict[str, Any]:
    moved = np.column_stack([np.eye(3), -origin])
    return {
        "camera_model": kind,
        "ply_file_path": "sparse_pc.ply",
        "applied_transform": moved.tolist(),
        "frames": [{k: v for k, v in f.items() if k != "camera_model"} for f in frames],
    }


def _frame(image: pycolmap.Image, origin: Floats, masks: Collection[str]) -> dict[str, Any]:
    camera: Any = image.camera
    model = camera.model.name
    if model not in _LENSES:
        raise MappingError(
            f"camera {camera.camera_id} has the model {model}",
            expected=f"one of {', '.join(_LENSES)}, which nerfstudio can say",
            fix="Export as COLMAP and undistort the photos first.",
        )
    kind, distortion = _LENSES[model]
    pose = image.cam_from_world().inverse()
    matrix = np.eye(4)
    matrix[:3, :3] = pose.rotation.matrix() @ _OPENGL
    matrix[:3, 3] = pose.translation - origin
    mask = f"{image.name}.png"
    return {
        "camera_model": kind,
        "file_path": f"images/{image.name}",
        **({"mask_path": f"masks/{mask}"} if mask in masks else {}),
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.focal_length_x,
        "fl_y": camera.focal_length_y,
        "cx": camera.principal_point_x,
        "cy": camera.principal_point_y,
        **{name: float(value) for name, value in distortion(camera.params).items()},
        "transform_matrix": matrix.tolist(),
        "colmap_im_id": image.image_id,
    }


def _write_points(models: Sequence[pycolmap.Reconstruction], origin: Floats, path: Path) -> None:
    """Write positions and colours as a binary PLY in single precision."""
    kind = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows = np.concatenate(
        [np.zeros(0, kind)]
        + [
            np.array([(p.xyz - origin, p.color) for p in model.points3D.values()], dtype=kind)
            for model in models
        ]
    )
    names = [*(f"property float {n}" for n in "xyz")]
    names += [f"property uchar {n}" for n in ("red", "green", "blue")]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}", *names]
    path.write_bytes("\n".join([*head, "end_header", ""]).encode() + rows.tobytes())
