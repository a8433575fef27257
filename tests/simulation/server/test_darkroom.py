import asyncio
import threading
import time

import pytest

from citysplat_core.simulation.server import SyntheticScenes
from citysplat_core.simulation.server.darkroom import Darkroom


class SlowMaker:
    def __init__(self):
        self.made = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()

    def jpeg(self, image_id):
        with self.lock:
            self.made.append(image_id)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.05)
        with self.lock:
            self.at_once -= 1
        if image_id == "0":
            raise FileNotFoundError("no photo 0")
        return SyntheticScenes(size=(64, 48)).jpeg(image_id)


def run(work, n_workers=2):
    maker = SlowMaker()
    darkroom = Darkroom(maker, n_workers=n_workers)
    try:
        return asyncio.run(work(darkroom)), maker
    finally:
        darkroom.close()


def test_a_photo_that_is_asked_for_again_while_it_is_made_is_made_once():
    async def impatient(darkroom):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(darkroom.photo("5", "1024"), 0.01)
        return await asyncio.gather(*(darkroom.photo("5", "1024") for _ in range(4)))

    photos, maker = run(impatient)
    assert len(set(photos)) == 1
    assert maker.made == ["5"]


def test_a_finished_photo_is_kept_and_not_made_behind_the_others():
    async def late(darkroom):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(darkroom.photo("1", "1024"), 0.01)
        await asyncio.sleep(0.2)
        others = [asyncio.ensure_future(darkroom.photo(str(i), "1024")) for i in range(2, 8)]
        await darkroom.photo("1", "1024")
        unfinished = sum(not other.done() for other in others)
        await asyncio.gather(*others)
        return unfinished

    unfinished, maker = run(late, n_workers=1)
    assert unfinished > 0
    assert sorted(maker.made) == [str(i) for i in range(1, 8)]


def test_no_more_photos_than_workers_are_made_at_once():
    async def many(darkroom):
        await asyncio.gather(*(darkroom.photo(str(i), "1024") for i in range(1, 9)))

    _, maker = run(many)
    assert maker.most_at_once == 2


def test_a_photo_that_does_not_exist_is_not_found_each_time():
    async def twice(darkroom):
        for _ in range(2):
            with pytest.raises(FileNotFoundError, match="no photo 0"):
                await darkroom.photo("0", "1024")

    run(twice)


def test_the_oldest_photos_are_forgotten(monkeypatch):
    import citysplat_core.simulation.server.darkroom as module

    monkeypatch.setattr(module, "_KEPT_BYTES", 1)

    async def twice(darkroom):
        await darkroom.photo("3", "1024")
        await darkroom.photo("3", "1024")

    _, maker = run(twice)
    assert maker.made == ["3", "3"]
