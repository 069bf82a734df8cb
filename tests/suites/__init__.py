"""Public test suites as a yardstick: what passes on PostgreSQL, and what passes through Gatehouse."""
