"""What must hold between sections: no dangling names, and places that belong to one tenant."""

from __future__ import annotations

import pytest

from tests.unit.settings.conftest import Complain, Load

CLUSTERS = (
    "clusters: {main: {hosts: [db1, db2], user: g}, eu: {hosts: [db3], user: g}, alias: {hosts: [db2], user: h}}\n"
)


def tenants(**placements: str) -> str:
    lines = [f"  {name}: {{placement: {{cluster: main, {rest}}}}}" for name, rest in placements.items()]
    return CLUSTERS + "tenants:\n" + "\n".join(lines) + "\n"


def test_dangling_names_are_found_and_the_right_ones_suggested(complain: Complain) -> None:
    found = complain(
        "clusters: {main: {hosts: [a], user: g}}\n"
        "tiers: {basic: {}}\n"
        "users: {app: {password: {env: A}, tenants: [acmee]}}\n"
        "tenants: {acme: {placement: {model: shared, cluster: mian, database: d}, tier: basc}}\n"
    )
    assert [line.split(": ", 1)[1].split("\n")[0] for line in found] == [
        'there is no tenant "acmee"',
        'there is no cluster "mian"',
        'there is no tier "basc"',
    ]
    assert all("Did you mean" in problem for problem in found)


def test_a_reference_to_an_entry_with_problems_is_not_dangling(complain: Complain) -> None:
    found = complain(
        "clusters: {main: {hosts: [a], user: g, size: 3}}\n"
        "tenants: {acme: {placement: {model: shared, cluster: main, database: d}}}\n"
    )
    assert len(found) == 1
    assert 'unknown key "size"' in found[0]


@pytest.mark.parametrize("neighbour", ["model: shared", "model: database", "model: schema, schema: s"])
def test_a_database_of_its_own_is_shared_with_nobody(complain: Complain, neighbour: str) -> None:
    own = "model: database, database: d"
    for text in (tenants(a=own, b=f"{neighbour}, database: d"), tenants(b=f"{neighbour}, database: d", a=own)):
        (problem,) = complain(text)
        assert 'the database "d" is also used by the tenant' in problem
        assert "alone, by the placement model database" in problem
    assert "a" in problem


def test_the_owner_named_is_the_tenant_with_the_database(complain: Complain) -> None:
    (first,) = complain(tenants(a="model: database, database: d", b="model: shared, database: d"))
    (second,) = complain(tenants(b="model: shared, database: d", a="model: database, database: d"))
    for problem in (first, second):
        assert 'It belongs to "a" alone' in problem


def test_a_schema_belongs_to_one_tenant(complain: Complain, load: Load) -> None:
    (problem,) = complain(tenants(a="model: schema, database: d, schema: s", b="model: schema, database: d, schema: s"))
    assert 'the schema "s" belongs to the tenant "a" already' in problem
    load(tenants(a="model: schema, database: d, schema: s", b="model: schema, database: e, schema: s"))


def test_two_clusters_with_a_common_address_are_one_place(complain: Complain, load: Load) -> None:
    entry = "placement: {model: database, database: d, cluster: "
    (problem,) = complain(CLUSTERS + f"tenants: {{a: {{{entry} main}}}}, b: {{{entry} alias}}}}}}\n")
    assert 'is also used by the tenant "a"' in problem
    load(CLUSTERS + f"tenants: {{a: {{{entry} main}}}}, b: {{{entry} eu}}}}}}\n")


@pytest.mark.parametrize(("one", "other"), [("db1.Example.com", "DB1.example.com."), ("/run/pg", "/run/pg/")])
def test_an_address_in_two_spellings_is_one_place(complain: Complain, one: str, other: str) -> None:
    entry = "placement: {model: database, database: d, cluster: "
    (problem,) = complain(
        f"clusters: {{a: {{hosts: ['{one}'], user: g}}, b: {{hosts: ['{other}:5432'], user: g}}}}\n"
        f"tenants: {{x: {{{entry} a}}}}, y: {{{entry} b}}}}}}\n"
    )
    assert 'is also used by the tenant "x"' in problem


def test_clusters_that_meet_only_through_a_third_are_one_place(complain: Complain) -> None:
    (problem,) = complain(
        "clusters: {a: {hosts: [x], user: g}, b: {hosts: [y], user: g}, c: {hosts: [x, y], user: g}}\n"
        "tenants:\n"
        "  one: {placement: {model: database, cluster: b, database: d}}\n"
        "  two: {placement: {model: database, cluster: c, database: d}}\n"
    )
    assert 'is also used by the tenant "one"' in problem


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        ("model: schema, database: d", '"schema" is missing'),
        ("model: schema, database: d, schema: public", 'the schema "public" is shared by all tenants'),
        ("model: schema, database: d, schema: pg_temp", "belongs to PostgreSQL"),
        ("model: schema, database: d, schema: PG_x", "belongs to PostgreSQL"),
        ("model: schema, database: d, schema: information_schema", "belongs to PostgreSQL"),
        ("model: schema, database: d, schema: s, role: none", "can not be the role of a tenant"),
        ("model: shared, database: d, schema: s", 'a placement of the model "shared" has no schema'),
        ("model: database, database: d, role: r", 'a placement of the model "database" has no role'),
    ],
)
def test_a_placement_that_makes_no_sense_is_refused(complain: Complain, placement: str, message: str) -> None:
    (problem,) = complain(tenants(a=placement))
    assert message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: {app: {tenants: '*'}}", 'the user "app" has no password'),
        ("tiers: {x: {settings: {search_path: a}}}", "part of the tenant's context"),
        ("tiers: {x: {settings: {App.Tenant_Id: a}}}", "part of the tenant's context"),
        ("tiers: {x: {settings: {role: a}}}", "part of the tenant's context"),
        ("tiers: {x: {settings: {Standard_conforming_strings: off}}}", "would read another text than was judged"),
        ("tiers: {x: {settings: {client_encoding: SJIS}}}", "would read another text than was judged"),
        ("tiers: {x: {settings: {work_mem: 1MB}}}", "has a key of its own"),
        ("context: {shared_schemas: [pg_catalog]}", "belongs to PostgreSQL"),
        ("context: {shared_schemas: [a, a]}", "listed twice"),
        ("context: {tenant_setting: [app.x, APP.X]}", "listed twice"),
        ("workers: 4\npool: {size: 3}", "must not be less than workers, which is 4: size is 3"),
        ("workers: 4\npool: {session_size: 3}", "must not be less than workers, which is 4: session_size is 3"),
        (
            "workers: 2\nclusters: {x: {hosts: [h], user: g, max_connections: 1}}",
            "must not be less than workers, which is 2: max_connections is 1",
        ),
        ("pool: {size: 3, min_size: 4}", "must not be more than pool.size, which is 3"),
        ("limits: {max_query_size: 2MB, max_message_size: 1MB}", "must not be more than max_message_size"),
        ("tiers: {x: {max_query_size: 2MB, max_message_size: 1MB}}", "must not be more than max_message_size"),
        (
            "users: {x: {password: {env: A}, tenants: '*', max_query_size: 2MB, max_message_size: 1MB}}",
            "max_message_size",
        ),
        ("endpoints: {x: {port: 6432}}", "the port 6432 is that of listen already"),
        ("endpoints: {x: {port: 9632}}", "the port 9632 is that of http already"),
        ("endpoints: {x: {port: 1}, y: {port: 1, host: 0.0.0.0}}", "the port 1 is that of endpoints.x already"),
        ("listen: {port: 7000, host: 0.0.0.0}\nhttp: {port: 7000}", "the port 7000 is that of listen already"),
        (
            "endpoints: {x: {port: 6432, host: '::1', unix_socket_dir: /s}}\nlisten: {unix_socket_dir: /s}",
            "that of listen",
        ),
        ("tls: {mode: require, cert_file: a}", "TLS towards clients needs a key_file"),
        ("clusters: {m: {hosts: [a], user: g, tls: {key_file: a}}}", "cert_file and key_file need each other"),
    ],
)
def test_sections_that_do_not_go_together_are_found(complain: Complain, text: str, message: str) -> None:
    (problem,) = complain(text)
    assert message in problem
    assert problem.startswith(("g.yaml:1:", "g.yaml:2:"))


def test_a_problem_of_a_port_is_told_where_the_second_place_asks_for_it(complain: Complain) -> None:
    (problem,) = complain("endpoints:\n  a: {port: 7000}\n  b: {mode: session, port: 7000}\n")
    assert problem.startswith("g.yaml:3:28: the port 7000 is that of endpoints.a already")


def test_one_port_on_two_addresses_is_two_places(load: Load) -> None:
    loaded = load("endpoints: {x: {port: 6432, host: 10.0.0.1, mode: session}}")
    assert loaded.endpoints["x"].mode == "session"


def test_a_user_that_reads_as_another_user_with_a_tenant_is_refused(complain: Complain) -> None:
    (problem,) = complain(
        tenants(acme="model: shared, database: d")
        + "users: {app: {password: {env: A}, tenants: '*'}, app.acme: {password: {env: B}, tenants: [acme]}}\n"
    )
    assert '"app.acme" would also be the user "app" of the tenant "acme"' in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("listen: {host: a..b}", '"a..b" is not the name of a host'),
        ('http: {host: "a\\0b", port: 1}', '"a\\x00b" is not the name of a host'),
        ('listen: {unix_socket_dir: "/run\\0"}', "is not a path: it holds a zero byte"),
        ('tenants_file: "t\\0"', "is not a path: it holds a zero byte"),
        ('tls: {ca_file: "t\\0"}', "is not a path: it holds a zero byte"),
        ("listen: {backlog: 2147483648}", "must be at most 2147483647"),
        (f"listen: {{host: x, port: 0x{'f' * 5000}}}", 'expected a whole number, found "0xfff'),
        (f"pool: {{trusted: 0x{'f' * 5000}}}", 'expected true or false, found "0xfff'),
        ("clusters: {x: {hosts: [h], user: g, keepalive: {count: 128}}}", "must be at most 127"),
        ("clusters: {x: {hosts: [h], user: g, keepalive: {idle: 1d}}}", "the kernel allows no more than 32767s"),
    ],
)
def test_what_no_system_call_would_take_is_found(complain: Complain, text: str, message: str) -> None:
    (problem,) = complain(text)
    assert message in problem
