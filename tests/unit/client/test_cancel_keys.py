"""Cancel keys: issued once, found only by the whole key, gone when revoked."""

from __future__ import annotations

import pytest

from proxy.client.cancel_keys import CancelKeys


@pytest.mark.parametrize(("minor", "size"), [(0, 4), (1, 4), (2, 32)])
def test_a_key_has_the_length_of_its_protocol(minor: int, size: int) -> None:
    pid, key = CancelKeys[str]().issue("client", minor)
    assert len(key) == size
    assert 0 < pid < 2**31


@pytest.mark.parametrize("minor", [0, 2])
def test_only_the_right_key_finds_its_client(minor: int) -> None:
    keys = CancelKeys[str]()
    pid, key = keys.issue("one", minor)
    other_pid, other_key = keys.issue("other", minor)
    assert keys.find(pid, key) == "one"
    assert keys.find(other_pid, other_key) == "other"
    for wrong in (other_key, key[:-1], key + b"\0", b"", bytes(4)):
        assert keys.find(pid, wrong) is None
    assert keys.find(pid ^ other_pid, key) is None


def test_a_client_that_left_is_not_found() -> None:
    keys = CancelKeys[str]()
    pid, key = keys.issue("one", 0)
    keys.revoke(pid)
    keys.revoke(pid)
    assert keys.find(pid, key) is None
    assert len(keys) == 0


def test_process_ids_are_not_shared() -> None:
    keys = CancelKeys[int]()
    assert len({keys.issue(number, 0)[0] for number in range(1000)}) == len(keys) == 1000


def test_keys_are_not_shown() -> None:
    keys = CancelKeys[str]()
    _, key = keys.issue("one", 0)
    assert repr(key) not in repr(keys)


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 256])
def test_a_process_id_says_whose_client_it_is(workers: int) -> None:
    for worker in {0, workers // 2, workers - 1}:
        keys = CancelKeys[str](worker, workers)
        pids = [keys.issue("client", 0)[0] for _ in range(50)]
        assert {keys.worker_of(pid) for pid in pids} == {worker}
        assert all(0 < pid <= 0x7FFF_FFFF for pid in pids)
