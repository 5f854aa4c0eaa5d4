"""Turn a simulated B2B history into `events/samples/acme.jsonl`: the messages Acme received.

    python -m infra.workbench.acme [--seed 42] [--leads 400] [--out events/samples/acme.jsonl]

Acme is fictional and sells purchasing software to German Mittelstand. The same seed writes the
same bytes. Needs `uv`, which runs leadforge in an environment of its own.

**leadforge's** (recipe b2b_saas_procurement_v1): which people there are, their function, seniority,
industry, company, its size band and their kind of e-mail account; the order and the date (it knows
no time of day) of each inbound touch (content download, webinar, e-mail, call) and of each web
session; a session's landing page, length, and views of the pricing and demo pages; who was won.
Left out: outbound touches, LinkedIn messages, all after the first 90 days, a session's page views
past the second.

**Added by seed**: names, companies, domains, Germany as the country, the wording of job titles, a
head count within the band, one anonymous id per person; the time of day; the other pages, all
titles and campaigns; who attended the webinar they registered for (the next Thursday's they had not
booked); all newsletter subscriptions, demo requests and unsubscriptions, and the form that made
known whom leadforge shows on the website only. One inbound call in ten becomes the contact form
that asked for it; the other calls are left out. Won leads attend webinars more often and, like very
active ones, request demos more often. One browser message in eighty is sent twice, as flaky
browsers do: same id, same content, a few lines on.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

type Row = dict[str, Any]

PINNED = ("leadforge==1.0.0", "numpy==2.5.5", "networkx==3.7", "pandas==3.1.1")
EXPORT = """
import json, sys, tempfile
import pandas
from leadforge.api.generator import Generator
seed, leads = map(int, sys.argv[1:])
setting = dict(exposure_mode="research_instructor", difficulty="intermediate", n_leads=leads)
with tempfile.TemporaryDirectory() as out:
    world = Generator.from_recipe("b2b_saas_procurement_v1", seed=seed, output_path=out, **setting)
    world.generate().save(out)
    names = ("accounts", "contacts", "leads", "touches", "sessions")
    tables = {name: pandas.read_parquet(f"{out}/tables/{name}.parquet") for name in names}
print(json.dumps({name: json.loads(t.to_json(orient="records")) for name, t in tables.items()}))
"""

DAYS, PAGES_KEPT = 90, 2
FIRST_NAMES = (
    "Anna Lukas Sabine Jürgen Katrin Michael Petra Thomas Julia Stefan Monika Andreas Claudia Jörg "
    "Birgit Markus Heike Uwe Lena Tobias Silke Matthias Nadine Ralf Miriam Sven Anja Björn Elif Jan"
)
LAST_NAMES = (
    "Brandt Müller Schäfer Vogel Krüger Lindner Hoffmann Yilmaz Böhm Kaiser Seidel Jansen Weiß Ott "
    "Albrecht Pohl Thiele Sommer Groß Petersen Haas Winkler Ehlers Köhler Reuter Fuchs Demir Nowak"
)
# 10 x 10 x 4 companies in each industry: leadforge has at most 400 accounts in one.
PLACES = "Nord Elb Birken Falken Silber Linden Weser Sonnen Eichen Kranich"
ENDINGS = "licht tal hof blick brück feld stein grund werk bach"
TRADES = {
    "logistics": "Logistik Spedition Transporte Lagerhaus",
    "manufacturing": "Maschinenbau Metallbau Werkzeuge Kunststofftechnik",
    "healthcare_non_clinical": "Medizintechnik Laborbedarf Pflegedienste Klinikbedarf",
    "professional_services": "Beratung Ingenieure Treuhand Personaldienste",
}
FUNCTIONS = {
    "procurement_manager": ("Procurement", "Chief Procurement Officer"),
    "ap_manager": ("Accounts Payable", "Chief Accounting Officer"),
    "vp_finance": ("Finance", "Chief Financial Officer"),
    "it_director": ("IT", "Chief Information Officer"),
}
JOB_TITLES = {"individual_contributor": "{} Specialist", "manager": "{} Manager"}
JOB_TITLES |= {"director": "Director of {}", "vp": "VP {}"}

LANDING = {"website": "/", "pricing_page": "/pricing", "demo_page": "/demo"}
BROWSED = ["/", "/product/purchasing", "/product/invoices", "/product/suppliers"]
BROWSED += ["/blog/e-invoicing-duty", "/blog/maverick-buying", "/careers"]
BROWSED_WEIGHTS = (8, 7, 6, 5, 6, 5, 2)
CONTENT = (
    {"kind": "whitepaper", "title": "E-invoicing in Germany"},
    {"kind": "whitepaper", "title": "Purchase-to-pay for mid-sized companies"},
    {"kind": "whitepaper", "title": "Supply chain due diligence: a checklist"},
    {"kind": "e-book", "title": "The purchasing handbook"},
    {"kind": "e-book", "title": "From invoice to posting in one day"},
)
WEBINARS = ("E-invoicing live", "Approvals in two clicks", "Suppliers without spreadsheets")

PAGE = "Page Viewed"
# The acts by which a visitor tells who they are.
FORMS = {"Content Downloaded", "Newsletter Subscribed", "Webinar Registered"}
FORMS |= {"Demo Requested", "Form Submitted"}
BY_TIME = attrgetter("at")


@dataclass(frozen=True, slots=True)
class Person:
    """One leadforge contact, with the sessions and inbound touches of its leads by date."""

    rng: Random
    traits: Row
    won: bool
    history: list[tuple[str, Row]]


@dataclass(frozen=True, slots=True)
class Act:
    """What a person did, before it is written as a message."""

    at: datetime
    name: str
    properties: Row
    channel: str = "browser"


def simulate(seed: int, leads: int) -> dict[str, list[Row]]:
    """Run leadforge and return its tables."""
    uv = os.environ.get("UV", "uv")  # `uv run` names itself there
    command = [uv, "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable]
    command += [f"--with={package}" for package in PINNED]
    command += ["python", "-c", EXPORT, str(seed), str(leads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603
    tables: dict[str, list[Row]] = json.loads(done.stdout)
    return tables


def seeded(*parts: object) -> Random:
    """Give each person and purpose its own generator, so a draw for one changes no other."""
    return Random(":".join(map(str, parts)))  # noqa: S311


def slug(text: str) -> str:
    """Write a German name as it stands in an e-mail address."""
    umlauts = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", " ": "-"})
    return text.lower().translate(umlauts)


def name_companies(accounts: list[Row], seed: int) -> dict[str, Row]:
    """Give each leadforge account a name, a domain and a head count within its band."""
    places = [place + ending for place in PLACES.split() for ending in ENDINGS.split()]
    free = {
        industry: [f"{place} {trade}" for place in places for trade in trades.split()]
        for industry, trades in TRADES.items()
    }
    companies = {}
    for account in accounts:
        rng, names = seeded(seed, account["account_id"]), free[account["industry"]]
        name = names.pop(rng.randrange(len(names)))
        low, _, high = account["employee_band"].rstrip("+").partition("-")
        companies[account["account_id"]] = {
            "company": f"{name} {rng.choice(('GmbH', 'GmbH & Co. KG', 'AG'))}",
            "domain": f"{slug(name)}.example",
            "employees": rng.randint(int(low), int(high or 5000)),
            "industry": account["industry"],
        }
    return companies


def name_people(tables: dict[str, list[Row]], seed: int) -> Iterator[Person]:
    """Name whoever stands behind the leads; leads of one leadforge contact are one person."""
    companies = name_companies(tables["accounts"], seed)
    contacts = {contact["contact_id"]: contact for contact in tables["contacts"]}
    history, leads = defaultdict(list), defaultdict(list)
    for session in tables["sessions"]:
        history[session["lead_id"]].append((session["session_timestamp"], session))
    for touch in tables["touches"]:
        if touch["touch_direction"] == "inbound":
            history[touch["lead_id"]].append((touch["touch_timestamp"], touch))
    for lead in tables["leads"]:
        leads[lead["contact_id"]].append(lead)
    taken: set[str] = set()
    for contact_id, own in leads.items():
        contact, rng = contacts[contact_id], seeded(seed, contact_id)
        company = dict(companies[contact["account_id"]])
        domain = company.pop("domain")
        if contact["email_domain_type"] == "personal":
            domain = "webpost.example"
        first, last = rng.choice(FIRST_NAMES.split()), rng.choice(LAST_NAMES.split())
        mailboxes = (slug(f"{first}.{last}{number}") for number in ("", *range(2, 100)))
        email = next(m for m in (f"{mailbox}@{domain}" for mailbox in mailboxes) if m not in taken)
        taken.add(email)
        function, chief = FUNCTIONS[contact["role_function"]]
        job = JOB_TITLES.get(contact["seniority"], chief).format(function)
        traits = {"email": email, "firstName": first, "lastName": last, "jobTitle": job}
        won = any(lead["current_stage"] == "closed_won" for lead in own)
        dated = [entry for lead in own for entry in history[lead["lead_id"]]]
        dated.sort(key=lambda entry: entry[0])  # stable: a day keeps the order of leadforge's ids
        yield Person(rng, traits | company | {"country": "DE"}, won, dated)


def session_acts(session: Row, at: datetime, rng: Random) -> Iterator[Act]:
    """Tell a session: the pages leadforge counts first, then others, up to the few kept."""
    landing = LANDING[session["session_type"]]
    counted = ["/pricing"] * session["pricing_page_views"] + ["/demo"] * session["demo_page_views"]
    if landing in counted:
        counted.remove(landing)
    paths = [landing, *counted, *rng.choices(BROWSED, BROWSED_WEIGHTS, k=PAGES_KEPT)]
    stay = timedelta(seconds=session["session_duration_seconds"] / session["page_views"])
    for n, path in enumerate(paths[: min(session["page_views"], PAGES_KEPT)]):
        title = path.rpartition("/")[2].replace("-", " ").capitalize() or "Acme"
        yield Act(at + n * stay, PAGE, {"path": path, "title": title})


def touch_acts(touch: Row, at: datetime, person: Person, booked: set[datetime]) -> Iterator[Act]:
    """Tell one inbound touch; note in `booked` the webinar it registers for."""
    rng = person.rng
    match touch["touch_type"]:
        case "content_download":
            yield Act(at, "Content Downloaded", rng.choice(CONTENT))
        case "email":
            link = {"campaign": f"newsletter-{at:%Y-%m}", "path": rng.choice(BROWSED[:-1])}
            yield Act(at, "Email Link Clicked", link, "server")
        case "call" if rng.random() < 0.1:
            yield Act(at, "Form Submitted", {"form": "contact"})
        case "webinar":
            live = at.replace(hour=9, minute=0, second=0, microsecond=0)
            live += timedelta(days=(2 - at.weekday()) % 7 + 1)
            while live in booked:
                live += timedelta(days=7)
            booked.add(live)
            webinar: Row = {"title": WEBINARS[live.toordinal() // 7 % len(WEBINARS)]}
            yield Act(at, "Webinar Registered", webinar)
            if rng.random() < (0.75 if person.won else 0.4):
                minutes = rng.randint(20, 60)
                left = live + timedelta(minutes=minutes, seconds=rng.uniform(0, 60))
                yield Act(left, "Webinar Attended", webinar | {"minutes": minutes}, "server")


def leadforge_acts(person: Person) -> Iterator[Act]:
    """Tell what leadforge has, in its order, at seeded times between 7 and 17 UTC."""
    booked: set[datetime] = set()
    for date, group in groupby(person.history, key=lambda entry: entry[0]):
        at = day = datetime.fromisoformat(date).replace(tzinfo=UTC)
        rows = [row for _, row in group]
        hours = sorted(person.rng.uniform(7, 17) for _ in rows)
        for row, hour in zip(rows, hours, strict=True):
            at = max(day + timedelta(hours=hour), at + timedelta(minutes=15))
            if "session_id" in row:
                yield from session_acts(row, at, person.rng)
            else:
                yield from touch_acts(row, at, person, booked)


def seeded_acts(person: Person, acts: list[Act]) -> Iterator[Act]:
    """Add what leadforge does not simulate; forms are sent within a minute of a page view."""
    rng = person.rng
    pages = [act for act in acts if act.name == PAGE]

    def sent_from(views: list[Act], name: str, properties: Row) -> Act:
        return Act(rng.choice(views).at + timedelta(seconds=rng.uniform(15, 45)), name, properties)

    asks = 0.22 if person.won else 0.06 if len(person.history) >= 12 else 0.02
    if pages and rng.random() < asks:
        demo_pages = [page for page in pages if page.properties["path"] == "/demo"]
        demo = sent_from(demo_pages or pages, "Demo Requested", {})
        yield demo
        acts = sorted([*acts, demo], key=BY_TIME)
    first = next((act for act in acts if act.name != PAGE), None)
    if first and first.name == "Email Link Clicked":
        # Whom a newsletter reaches has subscribed to it.
        yield Act(first.at - timedelta(minutes=5), "Newsletter Subscribed", {})
    elif pages and rng.random() < (0.3 if first else 0.65):
        yield sent_from(pages, "Newsletter Subscribed", {})
    elif pages and not first and rng.random() < 0.6:
        yield sent_from(pages, "Form Submitted", {"form": "contact"})
    if first and not person.won and rng.random() < 0.06:
        gone = acts[-1].at + timedelta(days=rng.uniform(1, 5))
        yield Act(gone, "Unsubscribed", {}, "server")


def messages_of(person: Person, end: datetime) -> Iterator[tuple[datetime, Row]]:
    """Write what a person did before `end`: anonymous up to the first form, then known."""
    acts = sorted(leadforge_acts(person), key=BY_TIME)
    acts = sorted([*acts, *seeded_acts(person, acts)], key=BY_TIME)
    identity = {"anonymousId": str(UUID(int=person.rng.getrandbits(128), version=4))}
    for act in acts:
        if act.at >= end:
            return
        if act.name in FORMS and "userId" not in identity:
            identity["userId"] = person.traits["email"]
            identify = {"type": "identify", "channel": "browser", **identity}
            yield act.at - timedelta(milliseconds=400), identify | {"traits": person.traits}
        kind = {"type": "page"} if act.name == PAGE else {"type": "track", "event": act.name}
        yield act.at, {**kind, "channel": act.channel, **identity, "properties": act.properties}


def write(seed: int, leads: int) -> list[str]:
    """Return Acme's messages as JSON lines in the order of their timestamps, repeats included."""
    tables = simulate(seed, leads)
    dates = [session["session_timestamp"] for session in tables["sessions"]]
    dates += [touch["touch_timestamp"] for touch in tables["touches"]]
    end = datetime.fromisoformat(min(dates)).replace(tzinfo=UTC) + timedelta(days=DAYS)
    told = [dated for person in name_people(tables, seed) for dated in messages_of(person, end)]
    told.sort(key=lambda dated: dated[0])
    rng, placed = seeded(seed, "repeats"), []
    for n, (at, message) in enumerate(told, 1):
        timestamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        whole = message | {"messageId": f"acme-{n:06}", "timestamp": timestamp}
        line = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        placed.append((float(n), line))
        if message["channel"] == "browser" and rng.random() < 1 / 80:
            placed.append((n + rng.randint(2, 8) + 0.5, line))
    return [line for _, line in sorted(placed)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the messages Acme received.")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--leads", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("events/samples/acme.jsonl"))
    args = parser.parse_args()
    lines = write(args.seed, args.leads)
    args.out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{len(lines)} messages in {args.out}")


if __name__ == "__main__":
    main()
