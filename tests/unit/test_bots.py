"""Detectors: who is a browser, who is a program, who is too fast, and who is one of us."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscoring.bots import CRAWLER, NO_AGENT, SPEED, STAFF, Agents, Detectors
from leadscoring.doors import Bots, Staff
from leadscoring.interaction import Identity, Interaction, Trust
from leadscoring.model import Model

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE = Identity.of_email("jane@example.com")
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"

BROWSERS = [
    FIREFOX,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36 OPR/126.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/26.1 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; SM-S901B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
    # Inside other programs: LinkedIn, Facebook, Outlook, Thunderbird.
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Mobile/15E148 [LinkedInApp]/9.30.1337",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Mobile/22B83 [FBAN/FBIOS;FBAV/485.0.0.46.110;FBBV/656289218;FBDV/iPhone15,2]",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0 OneOutlook/1.2025",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Thunderbird/140.4.0",
    # Segment's own clients, should a server of yours use the public key.
    "analytics-python/2.3.4",
    "analytics-node/2.3.0",
]
CRAWLERS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; "
    "+http://www.bing.com/bingbot.htm) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; "
    "+https://openai.com/gptbot)",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    # Mail gateways and what mail software fetches.
    "Mozilla/5.0 (compatible; Barracuda Sentinel (EE))",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Amazon Simple Notification Service Agent",
    # Browsers that nobody looks at, and programs.
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "HeadlessChrome/142.0.0.0 Safari/537.36",
    "curl/8.14.1",
    "Wget/1.25.0",
    "python-requests/2.32.5",
    "Go-http-client/2.0",
    "axios/1.12.2",
]


def model(**parts: Any) -> Model:
    return Model.model_validate(
        {
            "number": 1,
            "name": "small",
            "retention_days": 365,
            "properties": [],
            "traits": [],
            "dimensions": {"interest": {}},
            "rules": [{"name": "page", "on": "Page Viewed", "points": 1, "dimension": "interest"}],
            "stages": [{"name": "captured"}, {"name": "mql", "enter": {"score": 100}}],
            **parts,
        }
    )


def act(
    number: int = 0,
    *,
    after: float = 0,
    trust: Trust = Trust.PUBLIC,
    identity: Identity = JANE,
    **more: Any,
) -> Interaction:
    at = NOON + timedelta(seconds=after)
    return Interaction(f"m-{number}", identity, "Page Viewed", at, NOON, trust, "f", **more)


def detectors(*acts: Interaction, agent: str | None = FIREFOX, **parts: Any) -> list[str | None]:
    """Return who withholds each of these acts, which come in one request."""
    return [a.withheld_by for a in Detectors(model(**parts)).judge(acts, agent)]


# Agents


@pytest.mark.parametrize("agent", BROWSERS)
def test_a_person_is_no_crawler(agent: str) -> None:
    assert detectors(act(), agent=agent) == [None]


@pytest.mark.parametrize("agent", CRAWLERS)
def test_a_crawler_a_mail_gateway_and_a_program_are_found(agent: str) -> None:
    assert detectors(act(), agent=agent) == [CRAWLER]


@pytest.mark.parametrize("agent", ["", "  ", "Mozilla/5.0", " Mozilla/5.0 "])
def test_an_agent_that_says_nothing_is_no_browsers(agent: str) -> None:
    assert detectors(act(), agent=agent) == [NO_AGENT]


def test_a_server_is_no_browser_but_what_it_forwards_may_be_a_crawlers() -> None:
    forwarded = act(trust=Trust.TRUSTED, context={"userAgent": "Googlebot/2.1"})
    assert detectors(act(trust=Trust.TRUSTED), forwarded, agent="curl/8.14.1") == [None, CRAWLER]


@pytest.mark.parametrize("own", ["", None, 7, ["Googlebot/2.1"], {"name": "Googlebot"}])
def test_a_message_that_does_not_say_its_agent_is_judged_by_the_requests(own: object) -> None:
    assert detectors(act(context={"userAgent": own})) == [None]


def test_without_a_request_only_what_a_message_says_is_looked_at() -> None:
    forwarded = act(context={"userAgent": "Googlebot/2.1"})
    assert detectors(act(), forwarded, agent=None) == [None, CRAWLER]


def test_what_is_withheld_already_keeps_its_reason_and_its_id() -> None:
    doubted = act(withheld_by="honeypot")
    assert Detectors(model()).judge([doubted], "curl/8.14.1") == [doubted]


def test_a_scanner_does_not_stand_in_the_readers_place() -> None:
    judge = Detectors(model()).judge
    (scanned,), (read,) = judge([act()], "curl/8.14.1"), judge([act()], FIREFOX)
    assert scanned.message_id != read.message_id
    assert judge([act()], "curl/8.14.1") == [scanned]


def test_no_more_than_a_hundred_agents_are_looked_at_and_of_each_no_more_than_its_beginning() -> (
    None
):
    # Were they, it would take minutes: the list's patterns go back over long words.
    agents = Agents()
    doubts = [agents.doubt(f"{number} {'a-' * 16_000}") for number in range(1000)]
    assert set(doubts) == {None}
    assert agents.doubt("Googlebot/2.1") is None
    assert Agents().doubt("Googlebot/2.1") == CRAWLER
    assert Agents().doubt(f"{'a ' * 128}Googlebot/2.1") is None


# Speed


def test_more_than_the_most_within_so_many_seconds_is_no_person() -> None:
    acts = [act(n, after=n * 0.1) for n in range(50)]
    found = detectors(*acts, bots={"most": 40, "seconds": 10})
    assert found == [None] * 40 + [SPEED] * 10


def test_a_container_remembers_from_request_to_request() -> None:
    watching = Detectors(model(bots={"most": 2, "seconds": 10}))
    found = [watching.judge([act(n, after=n)], FIREFOX)[0].withheld_by for n in range(14)]
    # Ten seconds after the first one the next may pass.
    assert found == [None, None, *[SPEED] * 8, None, None, SPEED, SPEED]


def test_what_is_sent_again_counts_once() -> None:
    watching = Detectors(model(bots={"most": 3, "seconds": 10}))
    acts = [act(n) for n in range(3)]
    for _ in range(3):
        assert watching.judge(acts, FIREFOX) == acts
    assert watching.judge([act(3)], FIREFOX)[0].withheld_by == SPEED


def test_who_was_offline_sends_in_a_second_what_was_done_in_an_hour() -> None:
    acts = [act(n, after=-60 * n) for n in range(50)]
    assert detectors(*acts, bots={"most": 2, "seconds": 10}) == [None] * 50


def test_leads_and_servers_are_not_held_to_each_others_pace() -> None:
    people = [act(n, identity=Identity.of_email(f"{n}@example.com")) for n in range(9)]
    servers = [act(n, trust=Trust.TRUSTED) for n in range(9)]
    assert detectors(*people, *servers, bots={"most": 1, "seconds": 10}) == [None] * 18


def test_without_bots_in_the_model_nobody_is_too_fast() -> None:
    assert detectors(*[act(n) for n in range(500)]) == [None] * 500


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=80))
def test_whatever_comes_in_order_no_window_holds_more_than_the_most(
    steps: list[tuple[int, int]],
) -> None:
    watching, at = Detectors(model(bots={"most": 3, "seconds": 10})), 0
    passed: list[tuple[int, int]] = []
    for number, (lead, wait) in enumerate(steps):
        at += wait
        identity = Identity.of_email(f"{lead}@example.com")
        (judged,) = watching.judge([act(number, after=at, identity=identity)], FIREFOX)
        before = [t for who, t in passed if who == lead and at - t < 10]
        assert (judged.withheld_by == SPEED) == (len(before) == 3)
        if not judged.is_withheld:
            passed.append((lead, at))


# Our own people


@pytest.mark.parametrize(
    ("email", "detector"),
    [
        ("jane@acme.example", STAFF),
        ("jane@mail.acme.example", STAFF),
        ("jane@notacme.example", None),
        ("acme.example@example.com", None),
        ("jane@ACME.example", STAFF),
        ("jane@bücher.example", STAFF),
    ],
)
@pytest.mark.parametrize("trust", [Trust.PUBLIC, Trust.TRUSTED])
def test_our_own_people_are_known_by_the_domain_of_their_mail(
    email: str, detector: str | None, trust: Trust
) -> None:
    colleague = act(identity=Identity.of_email(email), trust=trust)
    staff = {"domains": ["acme.example", "Bücher.example"]}
    assert detectors(colleague, staff=staff) == [detector]


@pytest.mark.parametrize(
    ("address", "detector"),
    [
        ("203.0.113.7", STAFF),
        ("203.0.114.7", None),
        ("2001:db8::7", STAFF),
        ("2001:db9::7", None),
        ("", None),
        ("unknown", None),
    ],
)
def test_our_own_people_are_known_by_where_they_sit(address: str, detector: str | None) -> None:
    judge = Detectors(model(staff={"addresses": ["203.0.113.0/24", "2001:db8::/32"]})).judge
    visitor, server = judge([act(), act(1, trust=Trust.TRUSTED)], FIREFOX, address)
    assert visitor.withheld_by == detector
    assert server.withheld_by is None


def test_our_own_people_are_known_before_all_else() -> None:
    colleague = replace(act(), withheld_by="unconfirmed")
    staff = {"domains": ["example.com"]}
    assert detectors(colleague, agent="curl/8.14.1", staff=staff) == [STAFF]


# The model


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"domains": ["jane@acme.example"]}, "a domain stands behind the @"),
        ({"domains": ["acme"]}, "a domain stands behind the @"),
        ({"addresses": ["203.0.113.7/24"]}, "addresses are one, or a range of them"),
        ({"addresses": ["the office"]}, "addresses are one, or a range of them"),
    ],
)
def test_a_mistake_in_staff_is_said_in_words(part: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Staff.model_validate(part)


def test_what_the_model_does_not_say_of_bots_is_forty_in_ten_seconds() -> None:
    assert Bots() == Bots(most=40, seconds=10)
