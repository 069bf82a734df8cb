"""SQL key words, as far as they decide whether a name can be a function or a value.

From `select catcode, word from pg_get_keywords()` on 14 to 18: R words are reserved, C words can not name a function.
"""

from __future__ import annotations

from typing import Final

RESERVED: Final[frozenset[bytes]] = frozenset(
    b"""
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
    current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc distinct
    do else end except false fetch for foreign from grant group having in initially intersect into lateral leading limit
    localtime localtimestamp not null offset on only or order placing primary references returning select session_user
    some symmetric system_user table then to trailing true union unique user using variadic when where window with
    """.split()
)

# What stands in front of ( without being a call: reserved words, and words that are grammar of their own.
NEVER_FUNCTIONS: Final[frozenset[bytes]] = RESERVED | frozenset(
    b"""
    between bigint bit boolean char character coalesce dec decimal exists extract float greatest grouping inout int integer
    interval json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize
    json_table json_value least merge_action national nchar none normalize nullif numeric out overlay position precision
    real row setof smallint substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
    """.split()
)

# Words that could name a function, and are followed by ( in other constructs: the words that stand in front of them there.
# b")" stands for a closing parenthesis, b"" for the end of a value or the name of a table.
CONSTRUCTS: Final[dict[bytes, frozenset[bytes]]] = {
    b"by": frozenset((b"order", b"group", b"partition")),
    b"conflict": frozenset((b"on",)),
    b"filter": frozenset((b")",)),
    b"ilike": frozenset((b"",)),
    b"join": frozenset((b"", b"left", b"right", b"full", b"outer", b"inner", b"cross", b"natural")),
    b"include": frozenset((b")",)),
    b"insert": frozenset((b"then",)),
    b"key": frozenset((b"primary", b"foreign")),
    b"materialized": frozenset((b"as", b"not")),
    b"operator": frozenset((b"",)),
    b"over": frozenset((b")",)),
    b"set": frozenset((b"",)),
    b"sets": frozenset((b"grouping",)),
    b"stdin": frozenset((b"from", b"to")),
    b"stdout": frozenset((b"from", b"to")),
    b"varying": frozenset((b"character", b"char", b"bit", b"nchar")),
}

# Behind these a value begins, so that what follows is no infix operator and no SET.
BEFORE_A_VALUE: Final[frozenset[bytes]] = NEVER_FUNCTIONS | frozenset(
    (b"by", b"escape", b"ilike", b"is", b"join", b"like", b"natural", b"return", b"zone")
)

# After these words comes the name of a table, an alias or a common table expression; a ( behind it opens a list of columns.
BEFORE_A_NAME: Final[frozenset[bytes]] = frozenset(
    (b"as", b"copy", b"exists", b"into", b"recursive", b"references", b"table", b"view", b"with")
)
