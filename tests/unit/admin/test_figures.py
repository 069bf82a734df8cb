import pytest

from proxy.admin.figures import duration, number, rate, seconds, size


def plain(text: str) -> str:
    return text.replace("\u202f", " ")


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999, "999"), (1234567, "1 234 567")])
def test_numbers_are_grouped(value: float, text: str) -> None:
    assert plain(number(value)) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0, "0"), (0.25, "0.2"), (9.97, "10"), (1234.5, "1 234")])
def test_small_rates_have_a_decimal(value: float | None, text: str) -> None:
    assert plain(rate(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0000005, "0 µs"),
        (0.00085, "850 µs"),
        (0.0009996, "1.00 ms"),
        (0.0125, "12.5 ms"),
        (0.9996, "1.00 s"),
        (75, "75.0 s"),
    ],
)
def test_times_have_three_digits_and_the_unit_that_fits(value: float, text: str) -> None:
    assert plain(seconds(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999.6, "1.00 kB"), (1_500_000, "1.50 MB"), (999_700_000, "1.00 GB"), (2.5e15, "2500 TB")],
)
def test_sizes_have_three_digits_and_the_unit_that_fits(value: float, text: str) -> None:
    assert plain(size(value)) == text


@pytest.mark.parametrize(
    ("value", "text"), [(-1, "0 s"), (59, "59 s"), (725, "12 min 5 s"), (3600, "1 h 0 min"), (273_700, "3 d 4 h")]
)
def test_long_times_show_their_two_largest_units(value: float, text: str) -> None:
    assert plain(duration(value)) == text
