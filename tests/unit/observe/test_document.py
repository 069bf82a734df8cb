import re
from pathlib import Path

import pytest
import yaml

from proxy.observe.document import markdown
from proxy.observe.families import FAMILIES
from proxy.observe.family import FamilyType

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


def test_the_page_is_in_step_with_the_table() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert page == markdown(), "run `python -m proxy.observe.document > docs/metrics.md`"


def sample_names() -> set[str]:
    names = set()
    for family in FAMILIES:
        is_histogram = family.type is FamilyType.HISTOGRAM
        names |= {f"{family.name}{suffix}" for suffix in (("_bucket", "_count", "_sum") if is_histogram else ("",))}
    return names


@pytest.mark.parametrize(
    "path", [*DEPLOY.glob("prometheus/*.y*ml"), *DEPLOY.glob("grafana/*.json")], ids=lambda p: p.name
)
def test_deployed_files_use_only_metrics_that_exist(path: Path) -> None:
    used = set(re.findall(r"\bgatehouse_\w+", path.read_text(encoding="utf-8")))
    assert used <= sample_names()


def test_every_alert_says_what_to_do() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "gatehouse.rules.yml").read_text(encoding="utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket"), alert["alert"]
        assert alert["annotations"].keys() >= {"summary", "description"}, alert["alert"]
