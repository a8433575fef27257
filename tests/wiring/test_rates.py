from citysplat_dagster.rates import Rate


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_rate_and_the_time_left_are_told_after_two_seconds():
    clock = Clock()
    rate = Rate(clock)
    assert rate.told(0, 1000, "photos") == "photos"
    clock.now = 1.0
    assert rate.told(40, 1000, "photos") == "photos"
    clock.now = 5.0
    assert rate.told(200, 1000, "photos") == "photos, 40/s, 20 s left"
    clock.now = 25.0
    assert rate.told(1000, 1000, "photos") == "photos"


def test_what_was_there_before_does_not_count_as_speed():
    clock = Clock()
    rate = Rate(clock)
    rate.told(900, 1000, "photos")
    clock.now = 10.0
    assert rate.told(905, 1000, "photos") == "photos, 0.5/s, 3 min left"


def test_another_unit_begins_anew_and_a_long_rest_is_told_in_hours():
    clock = Clock()
    rate = Rate(clock)
    rate.told(0, 50, "tiles")
    clock.now = 20.0
    note = "photos: 100000 photos to fetch"
    assert rate.told(0, 100_000, note) == note
    clock.now = 30.0
    assert rate.told(20, 100_000, "photos") == "photos, 2.0/s, 13.9 h left"


def test_only_the_last_half_minute_counts():
    clock = Clock()
    rate = Rate(clock)
    for second in range(100):
        clock.now = float(second)
        told = rate.told(second if second < 50 else 50 + 10 * (second - 50), 10_000, "photos")
    assert told.startswith("photos, 10/s")
