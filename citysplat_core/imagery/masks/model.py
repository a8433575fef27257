"""Masks by a network of semantic segmentation that the user brings along as an ONNX file."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import ConfigError
from citysplat_core.imagery.masks.protobuf import fields, parts
from citysplat_core.settings import MaskSettings

Mask = NDArray[np.bool_]


class SegmentationModel:
    """A network that gives every pixel a class, run by OpenCV on the CPU.

    It must take one picture as float32 (1, 3, H, W), red first, and give one score a class,
    (1, K, h, w) with K of 2 or more, or class numbers, (1, 1, h, w) or (1, h, w).

    Args:
        file: The ONNX file.
        settings: Its input size, mean and deviation, and the classes that are ignored.

    Raises:
        ConfigError: No file or no class is named, or the file is missing or cannot be read.
    """

    def __init__(self, file: Path | None, settings: MaskSettings) -> None:
        """Read the network."""
        if file is None or not file.is_file():
            raise ConfigError(
                'masks.sources names "model" and '
                + (f"{file} does not exist" if file else "masks.model_file is empty"),
                expected="an ONNX file of semantic segmentation",
                fix='Correct masks.model_file in city.toml, or leave "model" out.',
            )
        if not settings.model_classes:
            raise ConfigError(
                'masks.sources names "model" and masks.model_classes is empty',
                expected="the numbers of the classes to ignore",
                fix="Add masks.model_classes to city.toml; the model's documentation lists them.",
            )
        if min(settings.model_std) <= 0:
            raise ConfigError(
                f"masks.model_std is {list(settings.model_std)}",
                expected="three numbers above 0",
                fix="Correct it in city.toml; [1.0, 1.0, 1.0] divides by nothing.",
            )
        self._file, self._settings = file, settings
        self._refuse_other_input()
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(str(file))
        except cv2.error as error:
            raise ConfigError(
                f"OpenCV cannot read {file} ({_reason(error)})",
                expected="an ONNX network of operators that OpenCV knows",
                fix="Export it again with a fixed input size and opset 11 to 17.",
            ) from error

    def _refuse_other_input(self) -> None:
        """Refuse what the file itself says does not fit: OpenCV would compute nonsense."""
        try:
            declared = declared_input(self._file.read_bytes())
        except (ValueError, IndexError) as error:
            raise ConfigError(
                f"{self._file} is no ONNX file ({error})",
                expected="an ONNX file of semantic segmentation",
                fix="Correct masks.model_file in city.toml.",
            ) from error
        wanted = (1, 3, self._settings.model_height_px, self._settings.model_width_px)
        fits = len(declared) == 4 and all(
            size in (None, want) for size, want in zip(declared, wanted, strict=True)
        )
        if not fits:
            shown = ", ".join("any" if size is None else str(size) for size in declared)
            raise ConfigError(
                f"{self._file.name} takes an input of shape ({shown}) and would get {wanted}",
                expected="a network for float32 input of shape (1, 3, height, width)",
                fix="Set masks.model_width_px and masks.model_height_px to what it was made for.",
            )

    def region(self, picture: NDArray[np.uint8], *, n_threads: int) -> Mask:
        """Find what is to be ignored.

        Args:
            picture: Red, green, blue, uint8, shape (H, W, 3).
            n_threads: Threads of OpenCV while the network runs.

        Returns:
            True there, shape (H, W).

        Raises:
            ConfigError: The network does not take this input, or gives something else than
                classes of pixels; says which shape.
        """
        settings = self._settings
        size = settings.model_width_px, settings.model_height_px
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
        mean, std = (np.array(v, np.float32) for v in (settings.model_mean, settings.model_std))
        blob = np.ascontiguousarray(((small - mean) / std).transpose(2, 0, 1)[None])
        scores = self._run(blob, n_threads)
        ignored = np.isin(self._classes(scores), settings.model_classes).astype(np.uint8)
        height, width = picture.shape[:2]
        whole = cv2.resize(ignored, (width, height), interpolation=cv2.INTER_NEAREST)
        return np.asarray(whole > 0)

    def _run(self, blob: NDArray[np.float32], n_threads: int) -> NDArray[Any]:
        before = cv2.getNumThreads()
        cv2.setNumThreads(n_threads)
        try:
            self._net.setInput(blob)
            return np.asarray(self._net.forward())
        except cv2.error as error:
            raise ConfigError(
                f"{self._file.name} does not take an input of shape {blob.shape}"
                f" ({_reason(error)})",
                expected="a network for float32 input of shape (1, 3, height, width)",
                fix="Set masks.model_width_px and masks.model_height_px to what it was made for.",
            ) from error
        finally:
            cv2.setNumThreads(before)

    def _classes(self, scores: NDArray[Any]) -> NDArray[np.int64]:
        """Give the class of every pixel of the output, shape (h, w)."""
        shape = scores.shape
        if scores.ndim == 4 and shape[0] == 1 and shape[1] >= 2:
            n_classes = shape[1]
            found = np.asarray(scores[0].argmax(axis=0))
        elif scores.ndim in (3, 4) and shape[0] == 1 and (scores.ndim == 3 or shape[1] == 1):
            n_classes = None
            found = np.rint(scores.reshape(shape[-2:])).astype(np.int64)
        else:
            raise ConfigError(
                f"{self._file.name} gives an output of shape {shape}",
                expected="(1, classes, height, width), or class numbers (1, height, width)",
                fix="Use a network of semantic segmentation, exported without post-processing.",
            )
        absent = [c for c in self._settings.model_classes if n_classes and c >= n_classes]
        if absent:
            raise ConfigError(
                f"masks.model_classes names {absent} and {self._file.name} has {n_classes} classes",
                expected=f"numbers from 0 to {(n_classes or 1) - 1}",
                fix="Correct masks.model_classes in city.toml.",
            )
        return found


def _reason(error: cv2.error) -> str:
    text = str(getattr(error, "err", "") or error)
    return " ".join(text.split())[:200]


def declared_input(body: bytes) -> tuple[int | None, ...]:
    """Return the shape that an ONNX file declares for its input; None for a size left open.

    Args:
        body: The file's bytes.

    Raises:
        ValueError: There is no graph with one input of a shape.
        IndexError: The bytes end too early.
    """
    graph = next(parts(body, 7), b"")
    weights = {name for tensor in parts(graph, 5) for name in parts(tensor, 8)}
    inputs = [v for v in parts(graph, 11) if next(parts(v, 1), b"") not in weights]
    if len(inputs) != 1:
        raise ValueError(f"a graph with {len(inputs)} inputs")
    for kind in parts(inputs[0], 2):
        for tensor in parts(kind, 1):
            for shape in parts(tensor, 2):
                return tuple(_size(dimension) for dimension in parts(shape, 1))
    raise ValueError("an input without a shape")


def _size(dimension: bytes) -> int | None:
    value = dict(fields(dimension)).get(1)
    return value if isinstance(value, int) and value > 0 else None
