"""What axe finds wrong with a page for those who cannot see it well."""

from tests.http.server import ROOT
from tests.page.driver import Driver

VIEWER = ROOT / "viewer"
AXE = VIEWER / "node_modules/axe-core/axe.min.js"


def violations(page: Driver) -> list[str]:
    page.tab.evaluate(AXE.read_text())
    found = page.tab.evaluate("axe.run()")["violations"]
    serious = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    return [f"{violation['id']}: {violation['nodes'][0]['html']}" for violation in serious]
