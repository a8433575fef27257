import numpy as np
import pytest

from citysplat_core.errors import ConfigError
from citysplat_core.imagery.masks.model import SegmentationModel
from citysplat_core.settings import MaskSettings

PLAIN = {"model_mean": (0.0, 0.0, 0.0), "model_std": (1.0, 1.0, 1.0)}


@pytest.fixture
def by_colour(tmp_path, onnx_convolution):
    """A network with three classes: how red, how green, how blue."""
    weights = np.eye(3, dtype=np.float32)[:, :, None, None]
    return onnx_convolution(tmp_path / "colour.onnx", weights, np.zeros(3, np.float32))


def settings(*classes, **more):
    size = {"model_width_px": 64, "model_height_px": 32}
    return MaskSettings(sources=("model",), model_classes=classes, **PLAIN, **(size | more))


def picture():
    rgb = np.zeros((60, 120, 3), np.uint8)
    rgb[:, :40, 0], rgb[:, 40:80, 1], rgb[:, 80:, 2] = 200, 200, 200
    return rgb


def test_pixels_of_the_named_classes_are_ignored(by_colour):
    region = SegmentationModel(by_colour, settings(0, 2)).region(picture(), n_threads=1)
    assert region.shape == (60, 120)
    assert region[:, :38].all()
    assert region[:, 82:].all()
    assert not region[:, 42:78].any()


def test_a_network_that_gives_class_numbers_is_understood(tmp_path, onnx_convolution):
    weights = np.array([[7.0, 0, 0]], np.float32)[:, :, None, None]  # class 5 where red is 0.78
    file = onnx_convolution(tmp_path / "numbers.onnx", weights, np.zeros(1, np.float32))
    region = SegmentationModel(file, settings(5)).region(picture(), n_threads=1)
    assert region[:, :38].all()
    assert not region[:, 42:].any()


def test_mean_and_deviation_are_applied_to_red_green_and_blue(tmp_path, onnx_convolution):
    weights = np.array([[0, 0, 0], [1, 1, 1]], np.float32)[:, :, None, None]
    file = onnx_convolution(tmp_path / "n.onnx", weights, np.zeros(2, np.float32))
    grey = np.full((32, 64, 3), 128, np.uint8)
    wanted = {"model_mean": (0.6, 0.6, 0.6), "model_std": (0.1, 0.1, 0.1)}
    kept = MaskSettings(model_classes=(1,), model_width_px=64, model_height_px=32, **wanted)
    assert not SegmentationModel(file, kept).region(grey, n_threads=1).any()
    lower = kept.model_copy(update={"model_mean": (0.4, 0.4, 0.4)})
    assert SegmentationModel(file, lower).region(grey, n_threads=1).all()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.onnx does not exist.*an ONNX file"):
        SegmentationModel(tmp_path / "none.onnx", settings(1))
    with pytest.raises(ConfigError, match=r"masks\.model_file is empty"):
        SegmentationModel(None, settings(1))


def test_no_classes_are_an_error_before_anything_runs(by_colour):
    with pytest.raises(ConfigError, match=r"masks\.model_classes is empty"):
        SegmentationModel(by_colour, settings())


def test_a_deviation_of_zero_is_refused(by_colour):
    with pytest.raises(ConfigError, match=r"masks\.model_std is \[1\.0, 0\.0, 1\.0\]"):
        SegmentationModel(by_colour, settings(1).model_copy(update={"model_std": (1.0, 0.0, 1.0)}))


def test_a_file_that_is_no_network_is_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("weights, surely")
    with pytest.raises(ConfigError, match=r"text\.onnx is no ONNX file"):
        SegmentationModel(tmp_path / "text.onnx", settings(1))


def test_a_network_that_opencv_cannot_run_is_refused(by_colour):
    by_colour.write_bytes(by_colour.read_bytes().replace(b"Conv", b"Covn"))
    with pytest.raises(ConfigError, match=r"OpenCV cannot read .*colour\.onnx"):
        SegmentationModel(by_colour, settings(1))


def test_a_class_that_the_network_does_not_have_is_refused(by_colour):
    model = SegmentationModel(by_colour, settings(1, 11))
    with pytest.raises(ConfigError, match=r"names \[11\] and colour\.onnx has 3 classes"):
        model.region(picture(), n_threads=1)


@pytest.mark.parametrize("shape", [(1, 3, 32, 60), (1, 4, "h", "w"), (3, 32, 64)])
def test_a_network_for_another_input_is_refused_with_its_shape(tmp_path, onnx_convolution, shape):
    weights = np.zeros((2, 3, 1, 1), np.float32)
    file = onnx_convolution(tmp_path / "other.onnx", weights, np.zeros(2, np.float32), shape)
    with pytest.raises(ConfigError, match=r"other\.onnx takes an input .* get \(1, 3, 32, 64\)"):
        SegmentationModel(file, settings(1))


def test_a_network_that_gives_no_classes_of_pixels_is_refused(tmp_path, onnx_convolution):
    file = onnx_convolution(
        tmp_path / "batch.onnx", np.zeros((0, 3, 1, 1), np.float32), np.zeros(0, np.float32)
    )
    with pytest.raises(ConfigError, match=r"batch\.onnx"):
        SegmentationModel(file, settings(1)).region(picture(), n_threads=1)
