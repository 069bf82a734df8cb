"""The kinds of workloads: pgbench's, COPY, logins, idle clients, tenants, neighbours."""
