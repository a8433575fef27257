import numpy as np
import pytest
from scipy.sparse import csr_array

from citysplat_core.errors import MappingError
from citysplat_core.mapping.least_squares import solve_least_squares


def valley(x):
    """Rosenbrock's valley: (1, 1) is hard to reach."""
    return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def valley_slopes(x):
    return csr_array(np.array([[-20 * x[0], 10.0], [-1.0, 0.0]]))


def test_a_bent_valley_is_followed_to_its_end(caplog):
    start = np.array([-1.2, 1.0])
    found = solve_least_squares(valley, valley_slopes, start, unit=np.ones(2), max_rounds=100)
    assert found == pytest.approx([1.0, 1.0], abs=1e-6)
    assert start.tolist() == [-1.2, 1.0]
    assert not caplog.text


def test_too_few_rounds_stop_on_the_way_and_say_so(caplog):
    start = np.array([-1.2, 1.0])
    found = solve_least_squares(valley, valley_slopes, start, unit=np.ones(2), max_rounds=10)
    assert 0 < (valley(found) ** 2).sum() < (valley(start) ** 2).sum()
    assert "stopped after 10 steps" in caplog.text


def test_what_nothing_holds_stays():
    found = solve_least_squares(
        lambda x: np.array([x[0] - x[1] - 2.0]),
        lambda _: csr_array(np.array([[1.0, -1.0, 0.0]])),
        np.array([5.0, 5.0, 7.0]),
        unit=np.array([1.0, 1.0, 0.01]),
        max_rounds=50,
    )
    assert found == pytest.approx([6.0, 4.0, 7.0], abs=1e-5)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(MappingError, match="1 of 2 residuals are not finite"):
        solve_least_squares(
            lambda _: np.array([np.nan, 1.0]),
            valley_slopes,
            np.zeros(2),
            unit=np.ones(2),
            max_rounds=5,
        )
