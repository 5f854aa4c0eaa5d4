"""The page of the local stack, as a person clicks it: real stack, real Chromium."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect

from infra.local.stack import SECRET_KEY

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "model.toml"
# What the page can show beyond the tests' own model. The last stage that the model names is `mql`.
MORE = """
[stages.exit.below]
score = 30

[[rules]]
name = "home-page"
page = "/"
points = 2
dimension = "engagement"
limit = { times = 1, per = "day" }

[fit]
rules = [{ name = "leads-a-team", when.jobTitle = [{ prefix = "Head" }], points = 20 }]
gates = [{ name = "student", when.jobTitle = ["Student"] }]

[grades]
B = 20

[matrix]
fit = { A = 40, B = 20 }
engagement = { 1 = 50, 2 = 20 }

[scores.interest]
dimensions = ["engagement", "intent"]
"""
# `python -m infra.local`, but for the model.
START = """
import sys
from pathlib import Path
from infra.local.__main__ import main
from leadscoring import settings
settings.MODEL_FILE = Path(sys.argv[1])
sys.exit(main())
"""
HOSTILE = "<img src=x onerror=alert(1)>"
MINUS = "\N{MINUS SIGN}"
HOSTILE_NAME = "<script>alert(2)</script>"
READY_SECONDS = 60

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an empty local stack in a process of its own."""
    directory = tmp_path_factory.mktemp("stack")
    errors, model = directory / "stderr", directory / "model.toml"
    model.write_text(MODEL.read_text(encoding="utf-8") + MORE, encoding="utf-8")
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", START, str(model)],
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


def test_every_dimension_adds_up_with_what_limits_and_caps_took_and_fit_gave(page: Page) -> None:
    _identify(page, "sums@example.com", jobTitle="Head of Purchasing")
    _visit_as(page, "sums@example.com")
    for _ in range(2):
        page.get_by_role("button", name="View home page").click()
    for _ in range(4):
        page.get_by_role("button", name="Attend webinar").click()
    page.get_by_role("button", name="View pricing").click()
    score = page.get_by_test_id("lead-score")
    expect(score).to_have_text("88.0")

    reasons = page.get_by_test_id("reasons")
    expect(_row(reasons, "home-page")).to_contain_text("+2.0 of 4.0")
    expect(_row(reasons, "home-page")).to_contain_text("limit took 2.0")
    expect(_row(reasons, "cap 80")).to_contain_text(f"{MINUS}25.0")
    expect(_row(reasons, "leads-a-team")).to_contain_text("+20.0")
    dimensions = reasons.locator("section")
    expect(dimensions).to_have_count(3)
    for dimension in dimensions.all():
        rows = [_number(row) for row in dimension.locator(".pts").all_inner_texts()]
        assert sum(rows) == pytest.approx(_number(dimension.locator("h4 b").inner_text()))
    expect(dimensions.filter(has_text="fit")).to_contain_text("apart from the score")


def test_figures_that_are_rounded_still_add_up(page: Page) -> None:
    _visit_as(page, "thirds@example.com")
    for name in ("View product page", "View product page", "Download e-book", "View pricing"):
        page.get_by_role("button", name=name).click()
    expect(page.get_by_test_id("lead-score")).to_have_text("30.0")
    for days in ("7", "11", "13", "17"):
        page.get_by_label("As of").fill(days)
        expect(page.get_by_test_id("lead")).to_contain_text(f"points in {days} days")
        sections = page.get_by_test_id("reasons").locator("section")
        totals = [_number(text) for text in sections.locator("h4 b").all_inner_texts()]
        for total, section in zip(totals, sections.all(), strict=True):
            rows = [_number(row) for row in section.locator(".pts").all_inner_texts()]
            assert sum(rows) == pytest.approx(total)
        score = page.get_by_test_id("lead-score").inner_text()
        assert sum(totals) == pytest.approx(_number(score))


def test_grade_and_matrix_stand_beside_the_name(page: Page) -> None:
    _identify(page, "head@example.com", jobTitle="Head of Purchasing")
    _visit_as(page, "head@example.com")
    page.get_by_role("button", name="Attend webinar").click()
    expect(page.get_by_test_id("lead-marks").locator("span")).to_have_text(["Grade B", "B2"])

    page.get_by_role("button", name="Request a demo").click()
    promotion = page.get_by_test_id("promotions").get_by_role("listitem").first
    expect(promotion).to_contain_text("head@example.com")
    expect(promotion).to_contain_text("B2")


def test_whom_a_gate_shuts_out_is_shown_so(page: Page) -> None:
    _identify(page, "student@example.com", jobTitle="Student")
    _visit_as(page, "student@example.com")
    page.get_by_role("button", name="Request a demo").click()
    expect(page.get_by_test_id("lead-marks")).to_contain_text("Grade F")
    expect(page.get_by_test_id("lead-marks")).to_contain_text("shut out: student")
    expect(_stage(page)).to_have_text("disqualified")
    expect(_lead_row(page, "student@example.com")).to_contain_text("disqualified")
    page.get_by_role("group", name="Stage").get_by_role("button", name="disqualified").click()
    expect(_lead_row(page, "student@example.com")).to_be_visible()


def test_a_lead_without_points_says_why(page: Page) -> None:
    page.request.post(
        f"{page.url}v1/track",
        data={"writeKey": SECRET_KEY, "userId": "quiet@example.com", "event": "Slept"},
    )
    _lead_row(page, "quiet@example.com").click()
    expect(page.get_by_role("tabpanel", name="Reasons")).to_contain_text("no rule matched")


def test_points_by_hand_say_who_gave_them_and_why_and_may_end_an_mql(page: Page) -> None:
    _visit_as(page, "hand@example.com")
    page.get_by_role("button", name="Request a demo").click()
    expect(_stage(page)).to_have_text("mql")

    page.get_by_role("button", name="Adjust by hand").click()
    form = page.get_by_test_id("adjust")
    expect(form.get_by_label("Points")).to_be_focused()
    expect(form.get_by_role("option")).to_have_text(["engagement", "intent"])
    form.get_by_label("Points").fill("-40.5")
    form.get_by_label("Dimension").select_option("intent")
    form.get_by_label("Reason").fill(HOSTILE)
    form.get_by_role("button", name="Enter").click()

    expect(form).to_be_hidden()
    expect(page.get_by_test_id("lead-score")).to_have_text("19.5")
    adjustment = _row(page.get_by_test_id("reasons"), "adjustment")
    expect(adjustment).to_contain_text(f"{MINUS}40.5")
    expect(adjustment).to_contain_text("by hand")
    expect(adjustment).to_contain_text(f"{HOSTILE} · local")
    expect(_stage(page)).to_have_text("recycled")
    expect(_lead_row(page, "hand@example.com")).to_contain_text("recycled")

    page.get_by_role("tab", name="Ledger").click()
    entry = page.get_by_test_id("ledger").get_by_role("listitem").filter(has_text="Adjusted")
    expect(entry).to_contain_text("by hand")
    expect(entry).to_contain_text(HOSTILE)
    expect(page.locator("img")).to_have_count(0)


def test_a_lead_can_be_seen_at_another_time_and_is_back_at_now_by_one_click(page: Page) -> None:
    _visit_as(page, "later@example.com")
    page.get_by_role("button", name="Download whitepaper").click()
    lead, score = page.get_by_test_id("lead"), page.get_by_test_id("lead-score")
    expect(_stage(page)).to_have_text("nurtured")
    expect(score).to_have_text("15.0")
    slider = page.get_by_label("As of")
    expect(slider).to_have_attribute("aria-valuetext", "now")

    slider.fill("30")
    expect(score).to_have_text("7.5")
    expect(lead).to_contain_text("points in 30 days")
    expect(lead).to_have_class(re.compile("away"))
    expect(_row(page.get_by_test_id("reasons"), "whitepaper")).to_contain_text("+7.5 of 15.0")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("in 30 days"))
    expect(page.get_by_role("button", name="Adjust by hand")).to_be_hidden()
    expect(_lead_row(page, "later@example.com")).to_contain_text("15.0")

    slider.press("Home")
    expect(score).to_have_text("0.0")
    expect(lead).to_contain_text("points 90 days ago")
    expect(lead).to_contain_text("Nothing had arrived by then")
    expect(_stage(page)).to_have_count(0)

    page.get_by_role("button", name="Back to now").click()
    expect(score).to_have_text("15.0")
    expect(lead).to_contain_text("points now")
    expect(lead).not_to_have_class(re.compile("away"))
    expect(_stage(page)).to_have_text("nurtured")


def test_whoever_acts_is_shown_as_of_now(page: Page) -> None:
    _visit_as(page, "again@example.com")
    page.get_by_role("button", name="Download whitepaper").click()
    score = page.get_by_test_id("lead-score")
    expect(score).to_have_text("15.0")
    page.get_by_label("As of").fill("30")
    expect(score).to_have_text("7.5")

    page.get_by_role("button", name="Download e-book").click()
    expect(score).to_have_text("30.0")
    expect(page.get_by_label("As of")).to_have_value("0")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    _identify(page, "phone@example.com", jobTitle="Student")
    _visit_as(page, "phone@example.com")
    page.get_by_role("button", name="Download whitepaper").click()
    expect(page.get_by_test_id("lead-marks")).to_contain_text("shut out: student")
    page.get_by_role("button", name="Adjust by hand").click()
    expect(page.get_by_test_id("adjust").get_by_label("Reason")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def _identify(page: Page, email: str, **traits: str) -> None:
    """Say what a customer's own systems know of somebody."""
    message = {"writeKey": SECRET_KEY, "userId": email, "traits": traits}
    assert page.request.post(f"{page.url}v1/identify", data=message).ok


def _visit_as(page: Page, email: str) -> None:
    visitor = page.get_by_label("You visit as")
    visitor.fill(email)
    visitor.blur()


def _stage(page: Page) -> Locator:
    return page.get_by_test_id("lead-stage").locator("[aria-current]")


def _row(reasons: Locator, rule: str) -> Locator:
    exactly = reasons.page.get_by_text(rule, exact=True)
    return reasons.get_by_role("listitem").filter(has=exactly)


def _lead_row(page: Page, email: str) -> Locator:
    return page.get_by_test_id("leads").get_by_role("button").filter(has_text=email)


def _number(text: str) -> float:
    """Return the first number of "+16.0 of 24.0"."""
    return float(text.split()[0].replace(MINUS, "-"))


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
