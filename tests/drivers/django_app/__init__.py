"""A Django project that tries itself out: `python -m tests.drivers.django_app psycopg|psycopg2`.

A process of its own, because Django has one configuration to a process. Where to connect is in the environment:
DJANGO_HOST, DJANGO_PORT, DJANGO_USER, DJANGO_PASSWORD; PLACEMENT is the tenant's, ITEMS what its table `orders` holds, a
list in JSON. It prints a line of JSON for each of its checks: {"check": name, "ok": true or false, "detail": text}.
"""
