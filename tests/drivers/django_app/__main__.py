"""Configure Django for one driver, and run the checks."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def database(**more: Any) -> dict[str, Any]:
    """An entry of DATABASES."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["DJANGO_HOST"],
        "PORT": os.environ["DJANGO_PORT"],
        "USER": os.environ["DJANGO_USER"],
        "PASSWORD": os.environ["DJANGO_PASSWORD"],
        "NAME": "any",
        **more,
    }


def databases(driver: str) -> dict[str, dict[str, Any]]:
    """The default one, and one for each way to configure a connection that is worth a look."""
    repeatable: Any = 2  # IsolationLevel.REPEATABLE_READ, of both drivers
    if driver == "psycopg":
        from psycopg import IsolationLevel

        repeatable = IsolationLevel.REPEATABLE_READ
    entries = {
        "default": database(),
        "mover": database(),
        "lasting": database(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True),
        "berlin": database(TIME_ZONE="Europe/Berlin"),
        "repeatable": database(OPTIONS={"isolation_level": repeatable}),
        "options": database(OPTIONS={"options": "-c statement_timeout=4567 -c work_mem=3MB"}),
        "role": database(OPTIONS={"assume_role": "somebody"}),
    }
    if driver == "psycopg":
        entries["bound"] = database(OPTIONS={"server_side_binding": True, "prepare_threshold": 0})
        entries["pooled"] = database(OPTIONS={"pool": {"min_size": 1, "max_size": 3}})
    return entries


def main() -> None:
    """See the package."""
    driver = sys.argv[1]
    if driver == "psycopg2":
        # Django takes psycopg 3 if it can be imported.
        sys.modules["psycopg"] = None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="gatehouse-django-") as folder:
        migrations = Path(folder, "library_migrations")
        migrations.mkdir()
        (migrations / "__init__.py").touch()
        sys.path.insert(0, folder)
        import django
        from django.conf import settings

        settings.configure(
            INSTALLED_APPS=["tests.drivers.django_app.app.Library"],
            MIGRATION_MODULES={"library": migrations.name},
            DATABASES=databases(driver),
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            USE_TZ=True,
            TIME_ZONE="UTC",
        )
        django.setup()
        from tests.drivers.django_app import checks

        checks.run_all(checks.World(driver, migrations))


if __name__ == "__main__":
    main()
