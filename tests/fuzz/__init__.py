"""Malformed and hostile byte streams, from clients and from servers: what they may cost, and what they must not.

`corpus` has valid conversations, `mutations` spoils them, `pretend` is a PostgreSQL without SQL, `cores` holds the properties
of the cores (no sockets), `hostile` those of a whole proxy. `test_*.py` runs a fixed number of examples of each;
`python -m tests.fuzz --seconds N --seed S` runs them for as long as one likes.
"""
