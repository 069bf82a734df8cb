"""The JSON Schema for editors."""

from __future__ import annotations

import json

from proxy.settings.schema import json_schema


def test_the_schema_has_the_files_keys_and_defaults() -> None:
    schema = json_schema()
    pool = schema["$defs"]["PoolSettings"]["properties"]
    assert pool["wait_timeout"]["default"] == "15s"
    assert schema["$defs"]["Limits"]["properties"]["max_query_size"]["default"] == "64MB"
    assert schema["additionalProperties"] is False
    assert {"listen", "clusters", "tenants", "tenants_file"} <= schema["properties"].keys()
    assert json.loads(json.dumps(schema)) == schema
