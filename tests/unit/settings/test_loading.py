"""Loading files: everything wrong at once, each with its place, in the right file."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.settings.hosts import HostPort
from proxy.settings.loading import load_settings
from tests.unit.settings.conftest import Complain, Load

CLUSTER = "clusters: {main: {hosts: [a], user: g}}\n"
ACME = "acme: {placement: {model: shared, cluster: main, database: saas}}"


def test_a_whole_configuration_is_read(load: Load) -> None:
    loaded = load(
        "listen: {host: 127.0.0.1, port: 7000}\n"
        "clusters: {main: {hosts: ['[::1]:5433'], user: g, password: {file: pw}, tls: {mode: verify-full}}}\n"
        "pool: {mode: transaction, size: 5, wait_timeout: 1.5s, idle_timeout: off, lifetime: 1h}\n"
        "users: {app: {password: {env: APP}, tenants: [acme]}}\n"
        "tiers: {basic: {statement_timeout: 10s, session_state: refuse}}\n"
        "tenants: {acme: {placement: {model: shared, cluster: main, database: saas}, tier: basic}}\n"
        "limits: {max_query_size: 1MB}\n"
    )
    assert loaded.clusters["main"].hosts == (HostPort("::1", 5433),)
    assert loaded.pool.wait_timeout_s == 1.5
    assert loaded.pool.idle_timeout_s == 0.0
    assert loaded.limits.max_query_bytes == 1 << 20
    assert loaded.tiers["basic"].statement_timeout_s == 10.0
    assert loaded.tenants["acme"].tier == "basic"


def test_problems_of_every_kind_are_told_at_once(complain: Complain) -> None:
    found = complain(
        "pool: {size: none}\n"
        "pool: {}\n"
        "clusters: {main: {hosts: [a], user: g, colour: blue}}\n"
        "users: {app: {password: plain, tenants: '*'}, ops: {password: {env: A}, tenants: [nobody]}}\n"
        "tenants:\n"
        "  a b: {placement: {model: shared, cluster: main, database: d}}\n"
        "  one: {placement: {model: database, cluster: main, database: d}}\n"
        "  two: {placement: {model: database, cluster: main, database: d}}\n"
    )
    assert [problem.split(" ")[0] for problem in found] == [
        "g.yaml:1:14:",
        "g.yaml:2:1:",
        "g.yaml:3:40:",
        "g.yaml:4:25:",
        "g.yaml:4:83:",
        "g.yaml:6:3:",
        "g.yaml:6:61:",
        "g.yaml:8:63:",
    ]


def test_a_problem_is_a_config_error_with_the_line_and_a_caret(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text("listen:\n  prot: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert str(caught.value) == (
        f'{path}:2:3: unknown key "prot"\n      prot: 1\n      ^\n    hint: Did you mean "port"?'
    )


@pytest.mark.parametrize("text", ["hello", "[1, 2]", "42"])
def test_a_file_that_is_no_mapping_is_refused(complain: Complain, text: str) -> None:
    (problem,) = complain(text)
    assert "must hold a mapping" in problem


def test_a_section_whose_lines_are_all_comments_is_left_out(load: Load) -> None:
    assert load(CLUSTER + "pool:\n  # size: 3\ntenants:\n").pool.size == 20


def test_tenants_come_from_their_own_file_plain_or_under_a_key(load: Load) -> None:
    for tenants in (ACME, f"tenants:\n  {ACME}", f"tenants: {{{ACME}}}"):
        loaded = load(CLUSTER + "tenants_file: tenants.yaml\n", tenants)
        assert loaded.tenants.keys() == {"acme"}
        assert loaded.tenants_file is not None
        assert loaded.tenants_file.is_absolute()


def test_a_tenants_file_without_tenants_says_so(load: Load) -> None:
    assert load(CLUSTER + "tenants_file: tenants.yaml\n", "{}").tenants == {}
    assert load(CLUSTER + "tenants_file: tenants.yaml\n", "tenants: {}").tenants == {}


def test_a_tenant_may_be_called_tenants(load: Load) -> None:
    text = "tenants: {placement: {model: shared, cluster: main, database: saas}}"
    assert load(CLUSTER + "tenants_file: tenants.yaml\n", text).tenants.keys() == {"tenants"}


@pytest.mark.parametrize("wrapped", [False, True])
def test_problems_of_the_tenants_file_carry_its_name(complain: Complain, wrapped: bool) -> None:
    text = "acme: {placement: {model: shared, cluster: mian, database: saas}}\nb: {plac: 1}\n"
    if wrapped:
        text = "tenants:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    found = complain(CLUSTER + "tenants_file: tenants.yaml\nusers: {u: {password: {env: A}, tenants: [x]}}\n", text)
    assert {problem.split(":")[0] for problem in found} == {"g.yaml", "tenants.yaml"}
    (cluster,) = (problem for problem in found if "mian" in problem)
    assert cluster.startswith("tenants.yaml:2:46:" if wrapped else "tenants.yaml:1:44:")


def test_an_emptied_tenants_file_is_a_problem_not_the_end_of_all_tenants(complain: Complain) -> None:
    found = complain(CLUSTER + "tenants_file: tenants.yaml\n", "")
    assert any("tenants.yaml: the file is empty" in problem for problem in found)
    found = complain(CLUSTER + "tenants_file: tenants.yaml\n", "tenants:\n")
    assert any("expected a mapping of tenant ids" in problem for problem in found)


def test_a_missing_tenants_file_is_told_with_the_place_that_names_it(complain: Complain) -> None:
    found = complain(CLUSTER + "tenants_file: gone.yaml\n")
    assert any(problem.startswith("g.yaml:2:15:") for problem in found)
    assert any("gone.yaml: no such file" in problem for problem in found)


def test_a_tenant_in_both_files_is_a_problem(complain: Complain) -> None:
    (problem,) = complain(CLUSTER + f"tenants_file: tenants.yaml\ntenants: {{{ACME}}}\n", ACME)
    assert problem.startswith('tenants.yaml:1:1: the tenant "acme" is in')


def test_a_thousand_tenants_load_in_a_moment(load: Load) -> None:
    tenants = "".join(
        f"t{n}:\n  placement: {{model: schema, cluster: main, database: saas, schema: t_{n}}}\n  status: active\n"
        for n in range(1000)
    )
    started = time.process_time()
    loaded = load(CLUSTER + "tenants_file: tenants.yaml\n", tenants)
    # About 0.14 s here; the bound leaves room for a busy machine, and catches what grows by the square.
    assert time.process_time() - started < 1.5
    assert len(loaded.tenants) == 1000


def test_one_bad_section_does_not_make_every_name_that_leads_there_dangle(complain: Complain) -> None:
    users = "users: {app: {password: {env: A}, tenants: [acme]}}\n"
    found = complain(CLUSTER + users + "tenants_file: tenants.yaml\n", "acme: [\n")
    assert not any("there is no tenant" in problem for problem in found)
    (problem,) = complain(f"clusters: main\ntenants: {{{ACME}}}\n")
    assert "expected a mapping" in problem


WORDS = st.sampled_from(
    "clusters main hosts user password env users tenants acme placement model schema database cluster tiers default "
    "settings pool size wait_timeout tls mode http workers context tenant_setting shared_schemas tenants_file listen "
    "port limits 15s *".split()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | TREES.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True)))
def test_any_file_either_loads_or_says_what_is_wrong(tmp_path: Path, text: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        load_settings(path)


def test_what_else_is_wrong_with_a_tenant_is_told_when_its_id_is_wrong(complain: Complain) -> None:
    users = "users: {u: {password: {env: A}, tenants: [c d]}}\n"
    found = complain(
        CLUSTER + "tenants:\n"
        "  a b: {placement: {model: schema, cluster: mian, database: d, schema: s}, tier: slow}\n"
        "  c: {placement: {model: schema, cluster: main, database: d, schema: s}}\n"
        "  e f: {placement: {model: schema, cluster: main, database: d, schema: s}}\n"
    )
    assert [problem.split("\n")[0] for problem in found] == [
        'g.yaml:3:3: "a b" is not a valid tenant id',
        'g.yaml:3:45: there is no cluster "mian"',
        'g.yaml:3:82: there is no tier "slow"',
        'g.yaml:5:3: "e f" is not a valid tenant id',
        'g.yaml:5:72: the schema "s" belongs to the tenant "c" already',
    ]
    assert not any("stand-in" in problem for problem in found)
    assert all("stand-in" not in problem for problem in complain(CLUSTER + users + "tenants: {1: {}}"))
