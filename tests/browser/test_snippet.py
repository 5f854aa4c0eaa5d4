"""lead.js in Chromium, on a website of another origin, against the local stack."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from infra.local.stack import PUBLIC_KEY, LocalStack
from leadscoring.settings import SNIPPET_FILE
from leadscoring.snippet import Snippet
from tests import node
from tests.browser.site import Site, eventually, serving_site
from tests.flow.asking import ledger
from tests.serving import losing_an_answer, serving_stack

pytestmark = pytest.mark.browser

JANE = "jane@example.com"
LARGEST = 2_000
STUB = "<script>window.lead = window.lead || [];</script>"
REMEMBERED = "Object.keys(localStorage).filter(key => key.startsWith('lead.'))"
WAITING = "Object.keys(localStorage).filter(key => key.startsWith('lead.q.')).length"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# How a browser says that its owner is not to be tracked; Chromium itself has only the second.
SIGNALS = {
    "Global Privacy Control": "Object.defineProperty(navigator, 'globalPrivacyControl', "
    "{ value: true })",
    "Do Not Track": "Object.defineProperty(navigator, 'doNotTrack', { value: '1' })",
}


@pytest.fixture
def api(stack: LocalStack) -> Iterator[str]:
    with serving_stack(stack) as url:
        yield url


@pytest.fixture
def posted(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list of what will have been posted by pages: batches as they are, forms as text."""
    posted: list[Any] = []
    answered = stack.request

    def request(*asked: Any, **named: Any) -> Any:
        match asked:
            case "POST", str(path), bytes(body), *_:
                posted.append(json.loads(body) if path.startswith("/v1/") else body.decode())
        return answered(*asked, **named)

    monkeypatch.setattr(stack, "request", request)
    return posted


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_site() as site:
        yield site


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def tag(api: str, attributes: str = "") -> str:
    return f'<script async src="{api}/lead.js" data-key="{PUBLIC_KEY}" {attributes}></script>'


def names(stack: LocalStack) -> list[str]:
    """Return what stands in all ledgers."""
    return sorted(entry["name"]["S"] for entry in stack.items("INTERACTION#"))


def delivered(page: Page) -> None:
    """Wait until nothing of the page's is on its way any more."""
    page.wait_for_function("!Array.isArray(window.lead)")
    page.wait_for_function(f"{WAITING} === 0")


def test_a_visit_is_counted_with_its_place_and_campaign_and_nothing_of_the_query(
    stack: LocalStack, api: str, site: Site, posted: list[Any], page: Page
) -> None:
    site.pages["/pricing"] = tag(api)
    page.goto(f"{site.url}/pricing?email={JANE}&utm_source=news&utm_campaign=spring&utm_id=7#top")
    eventually(page, lambda: names(stack) == ["Page Viewed"])

    ((message,),) = [batch["batch"] for batch in posted]
    place = {
        "path": "/pricing",
        "url": f"{site.url}/pricing",
        "referrer": "",
        "title": "/pricing",
    }
    assert message["properties"] == message["context"]["page"] == place
    assert message["context"]["campaign"] == {"source": "news", "name": "spring"}
    assert UUID7.fullmatch(message["messageId"])
    assert UUID7.fullmatch(message["anonymousId"])
    assert JANE not in json.dumps(posted)
    (entry,) = ledger(stack, anonymousId=message["anonymousId"])
    assert [paid["rule"] for paid in entry["paid"]] == ["page", "pricing-page"]


def test_calls_count_once_whether_made_before_the_script_came_or_after(
    stack: LocalStack, api: str, site: Site, page: Page
) -> None:
    before = f'lead.push(["identify", "{JANE}", {{ company: "ACME" }}]);'
    site.pages["/"] = f"{STUB}<script>{before}</script>{tag(api)}"
    page.goto(site.url)
    delivered(page)
    page.evaluate("""lead.push(["track", "Webinar Registered"], ["track", "Demo Requested"])""")
    page.evaluate("""lead.push(["unheard of"], ["page", "Prices", { kind: "list" }])""")
    delivered(page)

    assert names(stack) == [
        *("Demo Requested", "Identified", "Page Viewed", "Page Viewed", "Webinar Registered")
    ]
    assert len(ledger(stack, email=JANE)) == 5
    ids = [entry["message_id"] for entry in ledger(stack, email=JANE)]
    assert all(UUID7.fullmatch(message_id) for message_id in ids)


def test_after_a_reset_the_browser_is_somebody_else(
    api: str, site: Site, posted: list[Any], page: Page
) -> None:
    site.pages["/"] = f"{STUB}{tag(api)}"
    page.goto(site.url)
    page.evaluate(f"""lead.push(["identify", "{JANE}"])""")
    delivered(page)
    page.evaluate("""lead.push(["reset"], ["track", "Demo Requested"])""")
    delivered(page)

    first, *_, last = [message for batch in posted for message in batch["batch"]]
    assert last["event"] == "Demo Requested"
    assert "userId" not in last
    assert last["anonymousId"] != first["anonymousId"]


def test_a_page_that_changes_its_path_without_loading_is_viewed_again(
    stack: LocalStack, api: str, site: Site, posted: list[Any], page: Page
) -> None:
    site.pages["/"] = tag(api)
    page.goto(site.url)
    delivered(page)
    page.evaluate("history.pushState({}, '', '/demo'); document.title = 'Demo'")
    eventually(page, lambda: len(names(stack)) == 2)
    page.evaluate("history.pushState({}, '', '/demo?open=1')")
    page.go_back()
    page.go_back()
    eventually(page, lambda: len(names(stack)) == 3)
    delivered(page)

    views = [message["properties"] for batch in posted for message in batch["batch"]]
    assert [(view["path"], view["title"]) for view in views] == [
        *(("/", "/"), ("/demo", "Demo"), ("/", "Demo"))
    ]


def test_a_page_may_count_its_views_itself(
    stack: LocalStack, api: str, site: Site, page: Page
) -> None:
    site.pages["/"] = f"{STUB}{tag(api, 'data-pages="manual"')}"
    page.goto(site.url)
    page.evaluate("""lead.push(["track", "Demo Requested"])""")
    delivered(page)
    assert names(stack) == ["Demo Requested"]


FIELDS = '<input name="email" type="email"><input name="company"><button>Send</button>'


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without"])
def test_a_form_of_ours_posts_itself_and_says_more_with_the_script(
    stack: LocalStack, api: str, site: Site, posted: list[Any], chromium: Browser, *, script: bool
) -> None:
    form = f'<form data-lead="contact" method="post" action="{api}/f/contact">{FIELDS}</form>'
    site.pages["/"] = form + tag(api, 'data-pages="manual"')
    context = chromium.new_context(java_script_enabled=script)
    page = context.new_page()
    page.goto(site.url)
    if script:
        delivered(page)
    page.locator("[name=email]").fill(JANE)
    page.get_by_text("Send").click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()

    assert names(stack) == ["Form Submitted"]
    (body,) = posted
    assert ("_opened=" in body, "_anonymous_id=" in body) == (script, script)
    context.close()


# A site's own way with a form: its server takes it, or its script.
OWN_WAYS = {
    "own server": 'method="post" action="/signup"',
    "own script": 'onsubmit="event.preventDefault()"',
}


@pytest.mark.parametrize("way", OWN_WAYS)
def test_a_form_that_goes_elsewhere_is_copied_to_us_without_its_secrets(
    stack: LocalStack, api: str, site: Site, posted: list[Any], page: Page, way: str
) -> None:
    secrets = (
        '<input name="password" type="password" value="hunter2">'
        '<input name="card" autocomplete="cc-number" value="4111">'
        '<input name="file" type="file"><input name="action" value="shadow">'
    )
    form = f'<form data-lead="demo" {OWN_WAYS[way]}>{secrets}{FIELDS}</form>'
    site.pages["/"] = form + tag(api, 'data-pages="manual"')
    page.goto(site.url)
    delivered(page)
    page.locator("[name=email]").fill(JANE)
    page.get_by_text("Send").click()
    eventually(page, lambda: names(stack) == ["Demo Requested"])

    assert bool(site.posted) is (way == "own server")
    copy = next(body for body in posted if "_opened=" in body)
    assert "email=jane%40example.com" in copy
    assert "_anonymous_id=" in copy
    assert not re.search("hunter2|4111|password|card|file", copy)
    assert all("_opened" not in fields for fields in site.posted)


def test_what_happens_offline_is_sent_once_when_the_network_is_back(
    stack: LocalStack, api: str, site: Site, context: BrowserContext, page: Page
) -> None:
    site.pages["/"] = f'{STUB}<form data-lead="demo" onsubmit="return false">{FIELDS}</form>'
    site.pages["/"] += tag(api, 'data-pages="manual"')
    page.goto(site.url)
    delivered(page)
    context.set_offline(True)
    page.evaluate("""lead.push(["track", "Webinar Registered"])""")
    page.locator("[name=email]").fill(JANE)
    page.get_by_text("Send").click()
    page.evaluate("""lead.push(["track", "Content Downloaded"])""")
    page.wait_for_function(f"{WAITING} === 3")
    assert names(stack) == []

    context.set_offline(False)
    eventually(page, lambda: len(names(stack)) == 3)
    delivered(page)
    assert names(stack) == ["Content Downloaded", "Demo Requested", "Webinar Registered"]


def test_what_one_visit_could_not_send_the_next_one_sends(
    stack: LocalStack, api: str, site: Site, context: BrowserContext, page: Page
) -> None:
    site.pages["/"] = f"{STUB}{tag(api, 'data-pages="manual"')}"
    page.goto(site.url)
    delivered(page)
    context.set_offline(True)
    page.evaluate("""lead.push(["track", "Demo Requested"])""")
    page.wait_for_function(f"{WAITING} === 1")
    page.close()
    context.set_offline(False)
    next_page = context.new_page()
    next_page.goto(site.url)
    delivered(next_page)
    assert names(stack) == ["Demo Requested"]


def go_elsewhere(page: Page) -> None:
    page.goto("about:blank")


LEAVING: dict[str, Callable[[Page], None]] = {
    "for another page": go_elsewhere,
    "for good": Page.close,
}


@pytest.mark.parametrize("leaving", LEAVING)
def test_what_happens_as_a_page_is_left_is_delivered_and_counts_once(
    stack: LocalStack, api: str, site: Site, context: BrowserContext, leaving: str
) -> None:
    site.pages["/"] = f"{STUB}{tag(api, 'data-pages="manual"')}"
    staying, page = context.new_page(), context.new_page()
    page.goto(site.url)
    delivered(page)
    page.evaluate("""lead.push(["track", "Demo Requested"])""")
    LEAVING[leaving](page)
    eventually(staying, lambda: names(stack) == ["Demo Requested"])

    staying.goto(site.url)  # nobody heard the answer, so it is sent again
    delivered(staying)
    assert names(stack) == ["Demo Requested"]


CONSENT = 'data-consent="required"'


@pytest.mark.parametrize("answer", ["", 'lead.push(["consent", false]);'], ids=["not yet", "no"])
def test_without_consent_nothing_is_sent_or_stored(
    stack: LocalStack, api: str, site: Site, page: Page, answer: str
) -> None:
    form = f'<form data-lead="demo" action="/signup" method="post">{FIELDS}</form>'
    site.pages["/"] = f"{STUB}{tag(api, CONSENT)}{form}"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    delivered(page)
    page.evaluate(f"""{answer}
        lead.push(["identify", "{JANE}"], ["track", "Demo Requested"]);""")
    page.get_by_text("Send").click()
    page.wait_for_url("**/signup")
    page.wait_for_load_state("networkidle")

    assert page.evaluate(REMEMBERED) == []
    assert [url for url in asked if url.startswith(api)] == [f"{api}/lead.js"]
    assert names(stack) == []


def test_consent_sends_what_was_held_back_and_its_withdrawal_forgets_all(
    stack: LocalStack, api: str, site: Site, page: Page
) -> None:
    site.pages["/"] = f"{STUB}{tag(api, CONSENT)}"
    page.goto(site.url)
    page.evaluate("""lead.push(["consent", true])""")
    eventually(page, lambda: names(stack) == ["Page Viewed"])
    delivered(page)
    assert sorted(page.evaluate(REMEMBERED)) == ["lead.consent", "lead.id"]

    page.goto(f"{site.url}/?again")  # the decision stands
    eventually(page, lambda: len(names(stack)) == 2)
    delivered(page)
    page.evaluate("""lead.push(["consent", false], ["track", "Demo Requested"])""")
    assert page.evaluate(REMEMBERED) == []
    page.evaluate("""lead.push(["consent", true], ["track", "Webinar Registered"])""")
    delivered(page)
    assert names(stack) == ["Page Viewed", "Page Viewed", "Webinar Registered"]


def test_who_objects_stays_uncounted_on_the_next_page(
    stack: LocalStack, api: str, site: Site, posted: list[Any], page: Page
) -> None:
    site.pages["/"] = f'{STUB}<script>lead.push(["consent", false])</script>{tag(api)}'
    site.pages["/next"] = f"{STUB}{tag(api)}"
    for path in ("/", "/next"):
        page.goto(f"{site.url}{path}")
        delivered(page)
        page.wait_for_load_state("networkidle")
        assert page.evaluate(REMEMBERED) == ["lead.consent"]
    # A change of mind speaks of what comes, not of what was.
    page.evaluate("""lead.push(["track", "Demo Requested"], ["consent", true])""")
    page.evaluate("""lead.push(["track", "Webinar Registered"])""")
    delivered(page)
    assert names(stack) == ["Webinar Registered"]
    assert len(posted) == 1


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_browser_that_says_so_is_left_alone(
    stack: LocalStack, api: str, site: Site, posted: list[Any], page: Page, signal: str
) -> None:
    site.pages["/"] = f'{STUB}<script>lead.push(["track", "Demo Requested"])</script>{tag(api)}'
    page.goto(site.url)
    eventually(page, lambda: len(names(stack)) == 2)
    delivered(page)

    posted.clear()
    page.add_init_script(SIGNALS[signal])
    page.goto(site.url)
    delivered(page)
    page.evaluate("""lead.push(["consent", true], ["track", "Demo Requested"])""")
    page.wait_for_load_state("networkidle")
    assert page.evaluate(REMEMBERED) == []  # what it remembered before is gone, too
    assert posted == []


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_site_with_a_reason_of_its_own_may_overrule_the_signal(
    stack: LocalStack, api: str, site: Site, page: Page, signal: str
) -> None:
    site.pages["/"] = tag(api, 'data-signals="ignore"')
    page.add_init_script(SIGNALS[signal])
    page.goto(site.url)
    eventually(page, lambda: names(stack) == ["Page Viewed"])


def test_a_message_whose_answer_was_lost_is_sent_again_and_counts_once(
    stack: LocalStack, api: str, site: Site, posted: list[Any], page: Page
) -> None:
    with losing_an_answer(api) as losing:
        site.pages["/"] = tag(losing)
        page.goto(site.url)
        eventually(page, lambda: stack.metrics["Duplicates"] == 1)
        delivered(page)

    assert names(stack) == ["Page Viewed"]
    first, second = posted
    assert first["batch"] == second["batch"]


@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_what_was_not_taken_is_sent_again(
    stack: LocalStack, api: str, site: Site, page: Page, status: int | None
) -> None:
    refused: list[int | None] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        elif status is None:
            route.abort()
        else:
            route.fulfill(status=status, headers={"access-control-allow-origin": "*"})
        refused.append(status)

    page.route("**/v1/batch", refuse_once)
    site.pages["/"] = tag(api)
    page.goto(site.url)
    eventually(page, lambda: names(stack) == ["Page Viewed"])
    delivered(page)
    assert refused == [status, status]


def test_what_is_wrong_with_a_message_no_retry_would_mend(
    stack: LocalStack, api: str, site: Site, posted: list[Any], page: Page
) -> None:
    site.pages["/"] = f"{STUB}{tag(api, 'data-pages="manual"')}"
    page.goto(site.url)
    delivered(page)
    page.evaluate("""lead.push(["track"])""")
    delivered(page)
    page.evaluate("""lead.push(["track", "Demo Requested"])""")
    delivered(page)
    assert [len(batch["batch"]) for batch in posted] == [1, 1]
    assert names(stack) == ["Demo Requested"]


def test_what_is_too_large_for_a_message_stops_no_other(
    stack: LocalStack, api: str, site: Site, page: Page
) -> None:
    site.pages["/"] = f"{STUB}{tag(api, 'data-pages="manual"')}"
    page.goto(site.url)
    page.wait_for_function("!Array.isArray(window.lead)")
    page.evaluate("""() => {
        lead.push(["track", "Large", { text: "ü".repeat(16000) }]);
        for (let i = 0; i < 5; i++) lead.push(["track", "Page", { text: "x".repeat(30000) }]);
    }""")
    delivered(page)
    assert names(stack) == ["Page"] * 5


# localStorage may be closed to a page, or full.
STORES = {
    "closed": "Object.defineProperty(window, 'localStorage', "
    "{ get() { throw new DOMException('', 'SecurityError') } })",
    "full": "localStorage.setItem('a', 'x'.repeat(5 * 2 ** 20 - 1))",
}


@pytest.mark.parametrize("store", STORES)
def test_a_browser_that_remembers_nothing_is_counted_all_the_same(
    stack: LocalStack, api: str, site: Site, page: Page, store: str
) -> None:
    page.add_init_script(STORES[store])
    site.pages["/"] = f'{STUB}<script>lead.push(["track", "Demo Requested"])</script>{tag(api)}'
    page.goto(site.url)
    eventually(page, lambda: names(stack) == ["Demo Requested", "Page Viewed"])


def test_the_script_tag_holds_the_browser_to_the_very_file(
    stack: LocalStack, api: str, site: Site, page: Page
) -> None:
    tag = Snippet.load(SNIPPET_FILE).tag(f"{api}/", PUBLIC_KEY)
    site.pages["/"] = STUB + tag
    site.pages["/forged"] = STUB + tag.replace("sha384-", "sha384-A", 1)
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text))
    page.goto(f"{site.url}/forged")
    page.wait_for_load_state("load")
    eventually(page, lambda: any("integrity" in error for error in errors))
    assert page.evaluate("Array.isArray(window.lead)")

    page.goto(site.url)
    eventually(page, lambda: names(stack) == ["Page Viewed"])


def test_two_tags_on_one_page_count_once(
    stack: LocalStack, api: str, site: Site, page: Page
) -> None:
    site.pages["/"] = f"{tag(api)}{tag(api)}"
    page.goto(site.url)
    delivered(page)
    page.wait_for_load_state("networkidle")
    assert names(stack) == ["Page Viewed"]


def test_the_snippet_is_small() -> None:
    assert len(gzip.compress(SNIPPET_FILE.read_bytes(), 9)) <= LARGEST


def test_the_snippet_is_what_its_source_builds(tmp_path: Path) -> None:
    built = tmp_path / "lead.js"
    package = json.loads((node.SNIPPET / "package.json").read_text(encoding="utf-8"))
    command, outfile = package["scripts"]["build"].rsplit(" --outfile=", 1)
    node.run(node.SNIPPET, *command.split(), f"--outfile={built}")
    assert (node.SNIPPET / outfile).resolve() == SNIPPET_FILE
    assert built.read_bytes() == SNIPPET_FILE.read_bytes()
