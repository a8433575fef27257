"""Scores are made once for a photo's content, whatever the rules."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from citysplat_core.errors import ImageError, StorageError
from citysplat_core.imagery.quality import score_photo
from citysplat_core.imagery.score_store import ScoreStore


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, body):
        self.calls += 1
        return score_photo(body)


@pytest.fixture
def bodies(make_jpeg):
    made = [make_jpeg(seed=seed) for seed in range(70)]
    return {hashlib.sha256(body).hexdigest(): body for body in made}


def test_a_photo_is_scored_once_and_never_again(tmp_path, bodies):
    scorer = Counting()
    for _ in range(2):
        with ScoreStore(tmp_path / "scores.sqlite", scorer=scorer) as store:
            store.load(list(bodies))
            found = {key: store.score(body, key) for key, body in bodies.items()}
    assert scorer.calls == len(bodies)
    assert found == {key: score_photo(body) for key, body in bodies.items()}


def test_another_version_of_the_scorer_scores_anew_and_keeps_the_old(tmp_path, bodies):
    scorer = Counting()
    for version in (1, 2, 1):
        with ScoreStore(tmp_path / "s.sqlite", scorer=scorer, version=version) as store:
            store.load(list(bodies))
            for key, body in bodies.items():
                store.score(body, key)
    assert scorer.calls == 2 * len(bodies)


def test_threads_may_score_together(tmp_path, bodies):
    with ScoreStore(tmp_path / "s.sqlite") as store, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda item: store.score(item[1], item[0]), bodies.items()))
    again = ScoreStore(tmp_path / "s.sqlite")
    again.load(list(bodies))
    assert all(again.get(key) is not None for key in bodies)


def test_a_damaged_photo_gets_no_score(tmp_path):
    with ScoreStore(tmp_path / "s.sqlite") as store:
        with pytest.raises(ImageError, match="a damaged JPEG"):
            store.score(b"\xff\xd8 nothing", "key")
        assert store.get("key") is None


def test_a_damaged_score_file_says_what_to_do(tmp_path):
    (tmp_path / "s.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"to keep scores.*delete it and run again"):
        ScoreStore(tmp_path / "s.sqlite")
