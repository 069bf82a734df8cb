from proxy.observe.throttle import every


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_event_passes_and_the_next_is_held_back() -> None:
    warnings = every(10.0, Clock())
    assert warnings.due("pool full") == 0
    assert warnings.due("pool full") is None


def test_after_the_period_one_passes_and_tells_how_many_were_held_back() -> None:
    clock = Clock()
    warnings = every(10.0, clock)
    warnings.due("pool full")
    warnings.due("pool full")
    warnings.due("pool full")
    clock.now += 10.0
    assert warnings.due("pool full") == 2
    clock.now += 10.0
    assert warnings.due("pool full") == 0


def test_keys_do_not_hold_each_other_back() -> None:
    warnings = every(10.0, Clock())
    assert warnings.due("one") == 0
    assert warnings.due("two") == 0


def test_keys_that_never_end_do_not_fill_the_memory() -> None:
    warnings = every(10.0, Clock())
    for number in range(5000):
        warnings.due(f"client {number}")
        warnings.due(f"client {number}")
    assert len(warnings._next) == len(warnings._held_back) == 1000
