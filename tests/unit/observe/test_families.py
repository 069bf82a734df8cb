import re

import pytest

from proxy.observe.families import FAMILIES
from proxy.observe.family import FamilyType

ALL = [(family.name, family.type, family.labels, family.help) for family in FAMILIES]


def test_no_name_is_used_twice() -> None:
    names = [name for name, *_ in ALL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "kind", "labels", "text"), ALL, ids=[name for name, *_ in ALL])
def test_a_family_is_named_as_prometheus_asks(name: str, kind: FamilyType, labels: tuple[str, ...], text: str) -> None:
    assert re.fullmatch(r"gatehouse(_[a-z]+)+", name)
    assert name.endswith("_total") == (kind is FamilyType.COUNTER)
    assert not name.endswith(("_count", "_sum", "_bucket"))
    assert all(re.fullmatch(r"[a-z]+", label) for label in labels)
    assert text.endswith(".")
    assert "|" not in text
