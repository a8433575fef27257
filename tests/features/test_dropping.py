import sqlite3
from contextlib import closing

import pytest

from citysplat_core.errors import FeatureError
from citysplat_core.features import (
    DROPPED,
    drop_descriptors,
    extract_box_features,
    kinds_of,
    merge_databases,
    restore_descriptors,
)
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import ArtifactStore, no_progress, sha256_of


@pytest.fixture
def box(tmp_path, drawn_box):
    """A finished ``box_features`` and the ``box_images`` that it was made from."""
    images = drawn_box(3)
    made = ArtifactStore(tmp_path).produce(
        "box_features",
        "0213",
        step_version="1",
        settings={},
        inputs={},
        build=lambda out, work: extract_box_features(
            "0213",
            box_images=images,
            out=out,
            work=work,
            settings=FeatureSettings(),
            n_threads=1,
            progress=no_progress,
        ),
    )
    return made.path, images


def restore(tmp_path, box, **settings):
    (tmp_path / "matching").mkdir(exist_ok=True)
    return restore_descriptors(
        "0213",
        box_features=box[0],
        box_images=box[1],
        work=tmp_path / "matching",
        settings=FeatureSettings(**settings),
        n_threads=1,
        progress=no_progress,
    )


def table(path, name):
    with closing(sqlite3.connect(path)) as connection:
        query = f"SELECT * FROM {name} ORDER BY 1"  # noqa: S608 - own names
        return connection.execute(query).fetchall()


def test_dropped_descriptors_free_their_space_and_leave_a_whole_artifact(tmp_path, box):
    features, _ = box
    keypoints, priors = (table(features / "features.db", t) for t in ("keypoints", "pose_priors"))
    freed = drop_descriptors(features)
    database = features / "features.db"
    assert freed > 100 * sum(row[1] for row in keypoints)
    assert table(database, "keypoints") == keypoints
    assert table(database, "pose_priors") == priors
    assert kinds_of(database) == ()
    manifest = ArtifactStore(tmp_path).need("box_features", "0213").manifest
    assert manifest["files"]["features.db"]["sha256"] == sha256_of(database)
    assert manifest["counts"][DROPPED] == freed
    assert drop_descriptors(features) == 0


def test_a_drop_that_was_killed_before_the_manifest_is_finished(tmp_path, box):
    features, _ = box
    whole = features / "features.db"
    merge_databases([whole], tmp_path / "bare.db", keep_descriptors=False)
    (tmp_path / "bare.db").replace(whole)
    drop_descriptors(features)
    manifest = ArtifactStore(tmp_path).need("box_features", "0213").manifest
    assert manifest["files"]["features.db"]["sha256"] == sha256_of(whole)


def test_restored_descriptors_are_the_ones_that_were_dropped(tmp_path, box):
    before = table(box[0] / "features.db", "descriptors")
    drop_descriptors(box[0])
    folder = restore(tmp_path, box)
    assert table(folder / "features.db", "descriptors") == before
    assert restore(tmp_path, box) == folder
    assert kinds_of(box[0] / "features.db") == ()


def test_other_keypoints_than_those_of_the_artifact_are_refused(tmp_path, box):
    drop_descriptors(box[0])
    with pytest.raises(FeatureError, match="Box 0213: extracting the features again gave"):
        restore(tmp_path, box, max_features=128)
