"""Several clients at once, of several tenants and with different settings: each sees what it would on a connection of its own.

`seeds` says who comes, and `programs` what they do; `playing` plays it to PostgreSQL directly and through a Gatehouse with few
servers, in the same order, and `comparing` compares; `world` has the tables, `texts` the words. `test_crowd.py` plays a fixed
number of seeds; `python -m tests.crowd --seconds N --seed S` plays them for as long as one likes, `--seed S --seconds 0` shows
one again.
"""
