"""The load that pgbench can not make: logins by the hundred, thousands of clients, clients of many tenants, COPY.

A process of its own for each task, so that the event loop of the one who measures is in nobody's way. `wire` speaks as
much of the protocol as that takes, `tasks` are what the process can do, `process` starts it and hears what came of it.
"""
