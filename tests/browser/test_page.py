"""The page of the local stack, as a person clicks it: real stack, real Chromium."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_NAME = "<script>alert(2)</script>"
READY_SECONDS = 60

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists() and not os.environ.get("CI"), reason=f"needs {CHROMIUM}"
    ),
]
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an empty local stack in a process of its own."""
    errors = tmp_path_factory.mktemp("stack") / "stderr"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "infra.local"],
            cwd=ROOT,
            env={**os.environ, "PORT": "0", "REPLAY": "none", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as stack,
    ):
        try:
            yield _ready(stack, errors)
        finally:
            stack.terminate()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """Open the page; afterwards nothing may have gone wrong in it, and no script have run."""
    context = chromium.new_context()
    page = context.new_page()
    wrong: list[str] = []

    def close(dialog: Dialog) -> None:
        wrong.append(f"a script ran: {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", close)
    page.goto(url)
    yield page
    context.close()
    assert wrong == []


def test_a_visitor_who_asks_for_a_demo_is_promoted_with_the_reasons(page: Page) -> None:
    _visit_as(page, "jane@example.com")
    page.get_by_role("button", name="Download whitepaper").click()
    expect(page.get_by_test_id("lead-name")).to_have_text("jane@example.com")
    expect(_stage(page)).to_have_text("nurtured")

    page.get_by_role("button", name="Request a demo").click()
    expect(_stage(page)).to_have_text("mql")
    expect(page.get_by_test_id("reasons")).to_contain_text("demo-requested")
    expect(page.get_by_test_id("reasons")).to_contain_text("whitepaper")
    promotion = page.get_by_test_id("promotions").get_by_role("listitem").first
    expect(promotion).to_contain_text("jane@example.com")
    expect(promotion).to_contain_text("demo-requested seen 1 of 1")


def test_the_same_message_sent_again_pays_nothing(page: Page) -> None:
    _visit_as(page, "twice@example.com")
    page.get_by_role("button", name="View pricing").click()
    score = page.get_by_test_id("lead-score")
    expect(score).to_have_text("9.0")
    duplicates = _count(page, "duplicates")

    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_test_id("status")).to_contain_text(f"{duplicates + 1} duplicates")
    expect(score).to_have_text("9.0")


def test_the_form_works_without_javascript(chromium: Browser, url: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    page.get_by_label("E-mail", exact=True).fill("plain@example.com")
    page.get_by_label("Company", exact=True).fill("Plain & Sons")
    page.get_by_role("button", name="Send", exact=True).click()

    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    expect(page).to_have_url(f"{url}/f/contact")
    leads = context.request.get(f"{url}/_local/leads").text()
    assert "plain@example.com" in leads
    assert "Plain & Sons" in leads
    context.close()


def test_what_a_stranger_writes_is_shown_as_text_and_never_run(page: Page) -> None:
    _visit_as(page, "stranger@example.com")
    page.get_by_label("First name").fill(HOSTILE_NAME)
    page.get_by_label("Company", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_test_id("lead-name")).to_have_text(HOSTILE_NAME)
    expect(page.get_by_test_id("lead-sub")).to_contain_text(HOSTILE)
    expect(page.get_by_test_id("leads")).to_contain_text(HOSTILE)

    page.get_by_role("button", name="Request a demo").click()
    promotion = page.get_by_test_id("promotions").get_by_role("listitem").filter(has_text=HOSTILE)
    promotion.first.get_by_text("JSON").click()
    expect(promotion.first).to_contain_text("mqlambda.lead.promoted.v1")
    page.get_by_role("tab", name="Ledger").click()
    expect(page.get_by_test_id("ledger")).to_contain_text("Form Submitted")
    expect(page.locator("img")).to_have_count(0)


def _visit_as(page: Page, email: str) -> None:
    visitor = page.get_by_label("You visit as")
    visitor.fill(email)
    visitor.blur()


def _stage(page: Page) -> Locator:
    return page.get_by_test_id("lead-stage").locator("[aria-current]")


def _count(page: Page, name: str) -> int:
    return int(page.locator(f"#n-{name}").inner_text().replace(",", ""))


def _ready(stack: subprocess.Popen[str], errors: Path) -> str:
    """Return the stack's address once it serves, reading on so that its pipe never fills."""
    lines: Queue[str] = Queue()

    def read() -> None:
        for line in stack.stdout or ():
            lines.put(line)
        lines.put("")

    Thread(target=read, daemon=True).start()
    try:
        while line := lines.get(timeout=READY_SECONDS):
            if line.startswith("ready http"):
                return line.split()[1]
    except Empty:
        pytest.fail(f"the stack is not ready after {READY_SECONDS} s")
    pytest.fail(f"the stack ended:\n{errors.read_text()}")
