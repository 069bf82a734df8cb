"""md5 authentication towards old servers."""

from __future__ import annotations

from proxy.auth.md5 import md5_password


def test_the_answer_is_the_one_postgresql_computes() -> None:
    # select 'md5' || md5(md5('secret' || 'alice') || 'abcd')
    assert md5_password("alice", "secret", b"abcd") == b"md5c90bcafc0a2b54511742383e34d5dc9d"


def test_another_salt_gives_another_answer() -> None:
    assert md5_password("alice", "secret", b"abcd") != md5_password("alice", "secret", b"abce")
