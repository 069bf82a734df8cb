"""Who comes and what they do in which order, from a seed: the same for the same seed, everywhere and always."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.crowd import texts
from tests.crowd.playing import Member, Setup, Turn
from tests.crowd.programs import Author
from tests.differential.harness import CHANNELS

_PLACES: Final = ("shared", "shared", "neighbour", "schema", "schema", "database", "database")


def _startup(random: Random, place: str) -> Member:
    names = random.sample(sorted(texts.UNDERSTANDING), random.randint(0, 4))
    chosen = {name: random.choice(texts.UNDERSTANDING[name]) for name in names}
    if random.random() < 0.3:
        chosen["plan_cache_mode"] = random.choice(texts.OTHERS["plan_cache_mode"])
    if random.random() < 0.3 and place != "schema":
        chosen["search_path"] = random.choice(texts.SEARCH_PATHS["other"]).replace('"$user"', "pg_catalog")
    parameters = tuple((name, value) for name, value in sorted(chosen.items()) if random.random() < 0.7)
    told = dict(parameters)
    options = " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in sorted(chosen.items()) if name not in told
    )
    return Member(place, parameters, options)


def write(seed: int, acts: int = 10) -> tuple[Setup, list[Turn]]:
    """Who comes, and what they do in which order; about `acts` acts each."""
    random = Random(seed)
    members = tuple(_startup(random, random.choice(_PLACES)) for _ in range(random.randint(3, 6)))
    mode = random.choice(("transaction",) * 6 + ("session", "session", "statement"))
    # In session pooling a client keeps its server until it leaves: none may have to wait.
    servers = len(members) + 1 if mode == "session" else random.choice((1, 2, 2, 3))
    is_harsh = random.random() < 0.3
    config = {
        "pool": {
            "mode": mode,
            "size": servers,
            "session_size": servers,
            "max_prepared_statements": random.choice((2, 5, 200, 200)),
            "defer_begin": random.random() < 0.8,
        },
        "tiers": {"default": {**CHANNELS["tiers"]["default"], "max_pinned": 10}},
    }
    # The same few texts in everybody's programs, so that they meet.
    favourites = [*random.sample(texts.READS, 4), *random.sample(texts.LITERALS, 2), random.choice(texts.WRITES)]
    if is_harsh:
        favourites += texts.OF_CHANGES
    programs = []
    for client, member in enumerate(members):
        author = Author(random, client, member, favourites, is_harsh=is_harsh, has_blocks=mode != "statement")
        programs.append([turn for _ in range(random.randint(acts // 2, acts)) for turn in author.act()])
    return Setup(members, servers, config), _interleaved(random, programs)


def _interleaved(random: Random, programs: list[list[Turn]]) -> list[Turn]:
    """One order of all turns, each client's in theirs: now this one for a while, now that one."""
    turns: list[Turn] = []
    while any(programs):
        program = random.choice([program for program in programs if program])
        count = random.choice((1, 1, 2, 3))
        turns += program[:count]
        del program[:count]
    return turns
