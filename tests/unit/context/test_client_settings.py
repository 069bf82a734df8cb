"""What a client has SET, against a model that keeps a whole copy at each savepoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.context.client_settings import ClientSettings, Parts

NAMES = ["a.a", "a.b", "a.c"]
SAVEPOINTS = ["s", "t"]
STARTUP: dict[str, Parts] = {"a.a": ("startup",)}

Values = dict[str, Parts]
Step = tuple[str, str, str]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from(NAMES), st.sampled_from("xyz")),
        st.tuples(st.just("reset"), st.sampled_from(NAMES), st.just("")),
        st.tuples(st.sampled_from(["savepoint", "release", "rollback_to"]), st.sampled_from(SAVEPOINTS), st.just("")),
        st.tuples(st.sampled_from(["commit", "rollback", "reset_all", "copy"]), st.just(""), st.just("")),
    ),
    max_size=30,
)


class Model:
    """The naive way: the values now, what counts when the transaction is rolled back, and a copy for each savepoint."""

    def __init__(self) -> None:
        self.now: Values = dict(STARTUP)
        self.committed: Values = dict(STARTUP)
        self.savepoints: list[tuple[str, Values]] = []

    def set(self, name: str, value: Parts | None) -> None:
        self.now = {key: parts for key, parts in self.now.items() if key != name}
        value = value if value is not None else STARTUP.get(name)
        if value is not None:
            self.now[name] = value

    def find(self, name: str) -> int | None:
        return max((i for i, (other, _) in enumerate(self.savepoints) if other == name), default=None)

    def play(self, step: Step) -> None:
        what, name, value = step
        index = self.find(name)
        if what == "change":
            self.set(name, (value,))
        elif what == "reset":
            self.set(name, None)
        elif what == "reset_all":
            self.now = dict(STARTUP)
        elif what == "savepoint":
            self.savepoints.append((name, dict(self.now)))
        elif what == "release" and index is not None:
            del self.savepoints[index:]
        elif what == "rollback_to" and index is not None:
            del self.savepoints[index + 1 :]
            self.now = dict(self.savepoints[index][1])
        elif what == "commit":
            self.committed = dict(self.now)
            self.savepoints.clear()
        elif what == "rollback":
            self.now = dict(self.committed)
            self.savepoints.clear()


def play(settings: ClientSettings, step: Step) -> ClientSettings:
    what, name, value = step
    if what == "change":
        settings.change(name, (value,))
    elif what == "reset":
        settings.change(name, None)
    elif what == "savepoint":
        settings.savepoint(name)
    elif what == "release":
        settings.release(name)
    elif what == "rollback_to":
        settings.rollback_to(name)
    elif what == "reset_all":
        settings.reset_all()
    elif what == "commit":
        settings.commit()
    elif what == "rollback":
        settings.rollback()
    elif what == "copy":
        return settings.copy()
    return settings


@given(steps)
def test_settings_live_and_die_with_transactions_and_savepoints(story: list[Step]) -> None:
    model, settings = Model(), ClientSettings(STARTUP)
    for step in story:
        model.play(step)
        settings = play(settings, step)
        assert settings.current() == model.now
        assert settings.effective == model.committed
        assert set(model.now) <= settings.names()


def test_what_counts_for_the_next_transaction_changes_only_at_commit() -> None:
    settings = ClientSettings({})
    settings.change("a.b", ("c",))
    assert settings.effective == {}
    changed = [settings.has_pending, settings.commit(), settings.has_pending, settings.commit()]
    assert changed == [True, True, False, False]
    assert settings.effective == {"a.b": ("c",)}


def test_a_copy_is_independent() -> None:
    settings = ClientSettings({})
    settings.change("a.b", ("c",))
    copy = settings.copy()
    copy.change("a.b", ("d",))
    copy.commit()
    settings.commit()
    assert settings.effective == {"a.b": ("c",)}
    assert copy.effective == {"a.b": ("d",)}


@pytest.mark.parametrize("what", ["release", "rollback_to"])
def test_a_savepoint_that_is_not_there_changes_nothing(what: str) -> None:
    settings = ClientSettings({})
    settings.change("a.b", ("c",))
    play(settings, (what, "nope", ""))
    assert settings.current() == {"a.b": ("c",)}


def test_a_default_is_the_startup_value_then_the_tenants_then_postgresqls_own() -> None:
    settings = ClientSettings({"a.a": ("startup",)})
    settings.base = {"a.a": ("tenant",), "a.b": ("tenant",)}
    assert settings.default("a.a") == ("startup",)
    assert settings.default("a.b") == ("tenant",)
    assert settings.default("a.c") is None


def test_an_empty_list_at_startup_is_a_value_to_return_to() -> None:
    settings = ClientSettings({"search_path": ()})
    settings.base = {"search_path": ("tenant_globex",)}
    assert settings.default("search_path") == ()
