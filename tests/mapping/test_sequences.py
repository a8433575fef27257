import pandas as pd

from citysplat_core.mapping.sequences import find_beside, order_sequences


def test_photos_of_a_sequence_are_ordered_by_time():
    images = pd.DataFrame(
        {
            "colmap_id": [1, 2, 3, 4, 5, 6],
            "sequence_id": ["b", "a", "a", None, "", "a"],
            "captured_at": pd.to_datetime([5, 9, 3, 1, 2, None], unit="s", utc=True),
        }
    )
    assert order_sequences(images) == [[3, 2], [1]]
    assert order_sequences(images[["colmap_id"]]) == []


def test_the_photos_beside_are_those_before_and_after():
    beside = find_beside([[1, 2, 3, 4], [9]], reach=1)
    assert beside == {1: [2], 2: [1, 3], 3: [2, 4], 4: [3]}
    assert find_beside([[1, 2, 3, 4]])[1] == [2, 3]
