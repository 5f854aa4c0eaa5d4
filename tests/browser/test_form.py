"""A plain form with a file, as a real browser without JavaScript posts it."""

from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from infra.local.stack import LocalStack
from tests.browser.site import serving_site
from tests.flow.asking import everything, lead, ledger
from tests.serving import serving_stack

pytestmark = pytest.mark.browser

FORM = """
<form method="post" enctype="multipart/form-data" action="{api}/f/contact">
<input name="email"><input name="title" value="Größe &amp; Maß?"><input name="_gotcha" hidden>
<input name="cv" type="file"><input name="photo" type="file"><button>Send</button></form>
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_is_told_what_is_wrong_goes_back_and_is_thanked(
    stack: LocalStack, chromium: Browser, scheme: Literal["light", "dark"]
) -> None:
    before = everything(stack)
    with serving_stack(stack) as api, serving_site() as site:
        site.pages["/"] = FORM.format(api=api)
        context = chromium.new_context(java_script_enabled=False, color_scheme=scheme)
        page = context.new_page()
        asked: list[str] = []
        page.goto(site.url)
        page.on("request", lambda request: asked.append(request.url))
        page.locator("[name=email]").fill("jane@example")
        page.locator("[name=cv]").set_input_files(
            {"name": "cv.pdf", "mimeType": "application/pdf", "buffer": b"%PDF" * 500_000}
        )

        page.locator("button").click()
        expect(page.locator("h1")).to_have_text("We could not take your form.")
        expect(page.locator("main")).to_contain_text("The field email is not an e-mail address.")
        expect(page.locator("main")).to_contain_text("Go back")
        assert everything(stack) == before
        text, ground = page.locator("main").evaluate(
            "main => [getComputedStyle(main).color, getComputedStyle(main).backgroundColor]"
        )
        assert (brightness(text) > brightness(ground)) is (scheme == "dark")

        page.go_back()
        page.locator("[name=email]").fill("jane@example.com")
        page.locator("button").click()
        expect(page.locator("main")).to_contain_text("We have received your form contact.")
        assert {url for url in asked if not url.startswith(site.url)} == {f"{api}/f/contact"}
        context.close()

    (entry,) = ledger(stack, email="jane@example.com")
    assert entry["properties"] == {"form": "contact", "title": "Größe & Maß?"}
    assert lead(stack, email="jane@example.com")["interactions"] == 1


def brightness(color: str) -> int:
    """Return the sum of red, green and blue."""
    return sum(map(int, color.removeprefix("rgb(").removesuffix(")").split(",")))
