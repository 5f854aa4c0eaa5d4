"""Hand-over to sales: links by which somebody who has no key of ours decides on an MQL.

A token says, in this order: the lead's id, in which cycle it was handed over, the decision, and
until when (seconds since 1970) it may be made. It holds no personal data, and nor do the pages
that it opens: whoever has the link need not be whom it was sent to.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from leadscoring import answers, tokens
from leadscoring.answers import Answer
from leadscoring.contract import DecisionLinks
from leadscoring.criteria import MQL
from leadscoring.interaction import LEAD_ID_LENGTH
from leadscoring.keys import Keys
from leadscoring.lead import Lead
from leadscoring.lifecycle import BY_DEFAULT, Decision, DecisionKind
from leadscoring.request import Invalid
from leadscoring.tokens import Use

GOOD_FOR = timedelta(days=30)
REASON_CHARACTERS = 500
NAME_CHARACTERS = 100

# A page in somebody's frame could be clicked unseen; the token in the address is nobody's else.
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline';"
    " form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
}

_SAID = struct.Struct(f">{LEAD_ID_LENGTH // 2}sIBI")
_KINDS: tuple[DecisionKind, ...] = ("accept", "reject")
_DONE: Mapping[DecisionKind, str] = {"accept": "accepted", "reject": "rejected"}


@dataclass(frozen=True, slots=True)
class Offer:
    """One of the decisions that sales may make on an MQL, in one cycle of it."""

    kind: DecisionKind
    lead_id: str
    cycle: int

    def stands(self, lead: Lead) -> bool:
        """Tell whether the lead still waits for this decision."""
        return (lead.stage, lead.cycle) == (MQL, self.cycle)

    def decision(self, fields: Mapping[str, str]) -> Decision:
        """Return what somebody decided by this link and its form.

        Raises:
            Invalid: the reason is missing, or a text is too long.
        """
        reason = _text("reason", fields, REASON_CHARACTERS)
        author = _text("author", fields, NAME_CHARACTERS)
        if not reason and self.kind not in BY_DEFAULT:
            raise Invalid("invalid", "reason", "say why")
        return Decision(
            kind=self.kind,
            why=reason or BY_DEFAULT[self.kind],
            who=f"{author} (link)" if author else "link",
            request_id=f"link:{self.cycle}:{self.kind}",
            cycle=self.cycle,
        )


def linking(
    api_url: str, keys: Callable[[datetime], Keys]
) -> Callable[[str, int, datetime], DecisionLinks | None]:
    """Return what makes the links of a lead in a cycle; none without an address to lead to.

    `keys` returns the stack's keys at an instant, one that signs links among them.
    """

    def links(lead_id: str, cycle: int, at: datetime) -> DecisionLinks | None:
        if not api_url:
            return None
        known, until = keys(at), int((at + GOOD_FOR).timestamp())
        accept, reject = (
            tokens.sign(
                Use.DECISION, _SAID.pack(bytes.fromhex(lead_id), cycle, number, until), known
            )
            for number in range(len(_KINDS))
        )
        return DecisionLinks(accept=f"{api_url}/d/{accept}", reject=f"{api_url}/d/{reject}")

    return links


def read(token: str, keys: Keys, now: datetime) -> Offer:
    """Return what a token offers.

    Raises:
        Invalid: it was not signed by us, or has expired.
    """
    said = tokens.said(Use.DECISION, token, keys)
    if said is not None:
        lead_id, cycle, number, until = _SAID.unpack(said)
        if now < datetime.fromtimestamp(until, UTC):
            return Offer(_KINDS[number], lead_id.hex(), cycle)
    raise Invalid("unknown_link", "path", "there is no such link")


def ask(offer: Offer, lead: Lead, fault: Invalid | None = None) -> Answer:
    """Ask to confirm the decision: that a link was opened decides nothing, scanners do that too."""
    since = f"{lead.stage_since:%-d %B %Y, %H:%M} UTC" if lead.stage_since else "some time ago"
    text = f"Lead {lead.id[:8]} became a Marketing Qualified Lead on {since}."
    asked = _REASON if offer.kind not in BY_DEFAULT else ""
    form = _FORM.format(reason=asked, name=NAME_CHARACTERS, button=offer.kind.capitalize())
    said = f"{text}\nPlease correct this: {fault.field}, {fault.message}." if fault else text
    title = f"{offer.kind.capitalize()} this lead?"
    return answers.page(fault.status if fault else 200, title, said, HEADERS, form)


def thank(offer: Offer, lead: Lead) -> Answer:
    """Say that it was decided so, the first time and each time again."""
    text = f"You have {_DONE[offer.kind]} the lead {lead.id[:8]}. It is {lead.stage} now."
    return answers.page(200, "Thank you.", text, HEADERS)


def too_late(lead: Lead, status: int) -> Answer:
    """Say where the lead stands that can't be decided on by this link any more.

    That need not be anybody's decision: it may have cooled, or been joined into another cycle.
    """
    since = f" since {lead.stage_since:%-d %B %Y, %H:%M} UTC" if lead.stage_since else ""
    waits = ", and waits for a decision. Please look for a newer message about it"
    stands = f"is {lead.stage}{since}, in cycle {lead.cycle}{waits if lead.stage == MQL else ''}"
    text = f"Lead {lead.id[:8]} {stands}.\nNothing was changed."
    return answers.page(status, "This link is out of date.", text, HEADERS)


def nowhere() -> Answer:
    """Say the same of a link that is forged, too old, or of a lead that is no more."""
    advice = "It is incomplete or too old. Please look for a newer message about this lead."
    return answers.page(404, "This link leads nowhere.", advice, HEADERS)


def busy() -> Answer:
    """Ask to come back: nothing was decided."""
    text = "This can't be decided right now. Please open the link again in a minute."
    return answers.page(503, "One moment, please.", text, {"retry-after": "1", **HEADERS})


_REASON = f"""<p><label>Why?<br>
<textarea name="reason" required maxlength="{REASON_CHARACTERS}" rows="3"></textarea></label></p>"""
_FORM = """<form method="post">{reason}
<p><label>Your name, if you like<br><input name="author" maxlength="{name}"></label></p>
<p><button>{button}</button></p></form>"""


def _text(name: str, fields: Mapping[str, str], most: int) -> str:
    text = fields.get(name, "").strip()
    if len(text) > most:
        raise Invalid("too_large", name, f"it has more than {most} characters")
    return text
