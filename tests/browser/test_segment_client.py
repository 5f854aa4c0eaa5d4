"""Segment's own browser SDK in Chromium, with the local stack in place of Segment and its CDN."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from infra.local.stack import PUBLIC_KEY, LocalStack
from tests import node
from tests.browser.site import Site, eventually, serving_site
from tests.serving import losing_an_answer, serving_stack

pytestmark = pytest.mark.browser

LOAD = "{ window.analytics = AnalyticsBrowser.load({ writeKey: %s, cdnURL: %s }) }"
EVERY_CALL = """async () => {
    await analytics.identify("ajs@example.com", { firstName: "Ann" });
    await analytics.track("Demo Requested", { kind: "call" });
    await analytics.page("Pricing", { path: "/pricing" });
    await analytics.screen("Start");
    await analytics.group("acme", { industry: "Retail" });
    await analytics.alias("ajs@example.com", "before");
}"""

EVERY_INTERACTION = Counter(
    {"Identified": 1, "Demo Requested": 1, "Page Viewed": 2, "Grouped": 1, "Aliased": 1}
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The SDK as a site ships it."""
    file = tmp_path_factory.mktemp("bundle") / "segment.js"
    node.run(node.CLIENTS, "esbuild", "browser.js", "--bundle", f"--outfile={file}")
    return Path(file).read_text(encoding="utf-8")


@pytest.fixture
def site(bundle: str) -> Iterator[Site]:
    with serving_site() as site:
        site.scripts["segment.js"] = bundle
        site.pages["/"] = '<script src="/segment.js"></script>'
        yield site


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(site.url)
    yield page
    context.close()


def test_every_call_of_the_browser_client_counts_once_when_an_answer_is_lost(
    stack: LocalStack, page: Page
) -> None:
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url))
    with serving_stack(stack) as url, losing_an_answer(url) as losing:
        page.evaluate(LOAD % (json.dumps(PUBLIC_KEY), json.dumps(losing)))
        page.evaluate(EVERY_CALL)
        eventually(page, lambda: stack.metrics["Duplicates"] == 1)
        eventually(page, lambda: len(stack.items("INTERACTION#")) == 6)

    found = Counter(entry["name"]["S"] for entry in stack.items("INTERACTION#"))
    assert found == EVERY_INTERACTION
    assert stack.metrics["Conflicting"] == 0
    assert [url for url in elsewhere if not url.startswith(losing)] == []


def test_a_browser_can_read_why_it_was_refused(stack: LocalStack, page: Page) -> None:
    ask = "url => fetch(url).then(async answer => [answer.status, (await answer.json()).code])"
    send = """url => fetch(url, { method: "POST", body: "{}" })
        .then(async answer => [answer.status, (await answer.json()).code])"""
    with serving_stack(stack) as url:
        assert page.evaluate(ask, f"{url}/v1/projects/x/settings") == [404, "unknown_project"]
        assert page.evaluate(send, f"{url}/v1/track") == [401, "unknown_key"]
        assert page.evaluate(send, f"{url}/v1/none") == [404, "unknown_call"]
