"""What is published: CloudEvents 1.0, one type for each thing that can happen to a lead.

The JSON Schema and examples under `events/messages/` are generated from these models.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from leadscoring import lifecycle
from leadscoring.explanation import trusted_share
from leadscoring.interaction import Trust
from leadscoring.lead import Change, ChangeKind, Explanation, Lead

_TOP_REASONS = 5


class _Published(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class PublishedTouch(_Published):
    """Which campaign brought the lead, by its UTM parameters, and when."""

    at: AwareDatetime
    source: str | None = None
    medium: str | None = None
    name: str | None = None
    term: str | None = None
    content: str | None = None


class PublishedLead(_Published):
    """Who it is: the stable id, what is known for getting in touch, and what brought it."""

    id: str
    email: str | None = None
    traits: dict[str, str | int | float | bool] = {}
    first_touch: PublishedTouch | None = None
    last_touch: PublishedTouch | None = None

    @classmethod
    def of(cls, lead: Lead, *, with_contact: bool) -> Self:
        """Return what subscribers learn of the lead itself; without contact its id is enough."""
        contact = {"email": lead.email, "traits": dict(lead.traits)}
        return cls.model_validate(
            {
                "id": lead.id,
                **(contact if with_contact else {}),
                "first_touch": lead.first_touch,
                "last_touch": lead.last_touch,
            }
        )


class PublishedReason(_Published):
    """What one rule paid for one interaction: its points now, and when it happened."""

    rule: str
    name: str
    points_now: float
    occurred_at: AwareDatetime
    trust: Trust


class StageData(_Published):
    """Where the lead stands now, and what that rests on."""

    lead: PublishedLead
    stage: str
    previous_stage: str
    why: str
    score: float
    scores: dict[str, float]
    dimensions: dict[str, float]
    grade: str | None
    matrix: str | None
    trusted_share: Annotated[float, Field(ge=0, le=1)]
    reasons: Annotated[list[PublishedReason], Field(max_length=_TOP_REASONS)]
    cycle: int
    sequence: int
    model: int


class MergedData(_Published):
    """Which lead became part of this one, and where the joined lead stands."""

    lead: PublishedLead
    merged_lead: str
    stage: str
    cycle: int
    sequence: int


class ErasedData(_Published):
    """Nothing is left of the lead, nor of those that became part of it, but their ids."""

    lead: str
    merged_leads: list[str] = []


class DecisionLinks(_Published):
    """Where sales accepts or rejects the lead: each opens a page that asks to confirm."""

    accept: str
    reject: str


class PromotedData(StageData):
    """Where the lead stands, and how sales may decide on it."""

    decide: DecisionLinks | None = None


class _CloudEvent(_Published):
    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Field(description="<lead id>:<sequence>; subscribers deduplicate on it")]
    source: str
    type: str = ""
    subject: str
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"

    @property
    def sequence(self) -> int:
        """The number of the change: of two messages of one lead the higher one is the later."""
        return int(self.id.rpartition(":")[2])


class LeadPromoted(_CloudEvent):
    """A lead became a Marketing Qualified Lead."""

    type: Literal["mqlambda.lead.promoted.v1"] = "mqlambda.lead.promoted.v1"
    data: PromotedData


class LeadStageChanged(_CloudEvent):
    """A lead passed into any other stage."""

    type: Literal["mqlambda.lead.stage_changed.v1"] = "mqlambda.lead.stage_changed.v1"
    data: StageData


class LeadReplyOverdue(_CloudEvent):
    """Nobody has decided on an MQL within the model's reply time."""

    type: Literal["mqlambda.lead.reply_overdue.v1"] = "mqlambda.lead.reply_overdue.v1"
    data: PromotedData


class LeadMerged(_CloudEvent):
    """Two leads turned out to be one."""

    type: Literal["mqlambda.lead.merged.v1"] = "mqlambda.lead.merged.v1"
    data: MergedData

    def without_contact(self) -> Self:
        """Return the message as it is told of somebody who objects: ids suffice to join two."""
        lead = self.data.lead.model_copy(update={"email": None, "traits": {}})
        return self.model_copy(update={"data": self.data.model_copy(update={"lead": lead})})


class LeadErased(_CloudEvent):
    """A lead was forgotten: forget it too."""

    type: Literal["mqlambda.lead.erased.v1"] = "mqlambda.lead.erased.v1"
    data: ErasedData


type Message = Annotated[
    LeadPromoted | LeadStageChanged | LeadReplyOverdue | LeadMerged | LeadErased,
    Field(discriminator="type"),
]
MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who publishes: the stack's name, and whether contact data goes with its messages.

    `links` returns the accept and the reject link of a lead in a cycle, where there are any.
    """

    source: str
    with_contact: bool = True
    links: Callable[[str, int, datetime], DecisionLinks | None] = lambda *_: None

    def message(self, change: Change, lead: Lead, explanation: Explanation) -> Message:
        """Return what the world is told of this change."""
        told = self._told(change, lead, explanation)
        head = self._head(lead.id, change.number, change.at)
        promotes = lifecycle.promotes(change)
        if not promotes and change.kind is not ChangeKind.REPLY_OVERDUE:
            return LeadStageChanged(**head, data=StageData(**told))
        handed_over = PromotedData(**told, decide=self.links(lead.id, change.cycle, change.at))
        kind = LeadPromoted if promotes else LeadReplyOverdue
        return kind(**head, data=handed_over)

    def merge(self, change: Change, lead: Lead) -> LeadMerged:
        """Return what the world is told when another lead became part of this one."""
        return LeadMerged(
            **self._head(lead.id, change.number, change.at),
            data=MergedData(
                lead=PublishedLead.of(lead, with_contact=self.with_contact),
                merged_lead=str(change.other),
                stage=change.to_stage,
                cycle=change.cycle,
                sequence=change.number,
            ),
        )

    def erasure(
        self, lead_id: str, number: int, at: datetime, merged_leads: Sequence[str] = ()
    ) -> LeadErased:
        """Return what the world is told when a lead is forgotten, with all that it was."""
        data = ErasedData(lead=lead_id, merged_leads=list(merged_leads))
        return LeadErased(**self._head(lead_id, number, at), data=data)

    def _head(self, lead_id: str, number: int, at: datetime) -> dict[str, Any]:
        return {"id": f"{lead_id}:{number}", "source": self.source, "subject": lead_id, "time": at}

    def _told(self, change: Change, lead: Lead, explanation: Explanation) -> dict[str, Any]:
        card, reasons = explanation.scorecard, explanation.reasons
        return {
            "lead": PublishedLead.of(lead, with_contact=self.with_contact),
            "stage": change.to_stage,
            "previous_stage": change.from_stage,
            "why": change.why,
            "score": card.score,
            "scores": dict(card.scores),
            "dimensions": {name: part.points for name, part in card.dimensions.items()},
            "grade": card.grade,
            "matrix": card.matrix,
            "trusted_share": trusted_share(reasons),
            "reasons": [
                PublishedReason(
                    rule=reason.rule,
                    name=reason.name,
                    points_now=reason.points_now,
                    occurred_at=reason.occurred_at,
                    trust=reason.trust,
                )
                for reason in reasons[:_TOP_REASONS]
            ],
            "cycle": change.cycle,
            "sequence": change.number,
            "model": card.model,
        }


def from_sns(delivery: str | bytes | Mapping[str, Any]) -> Message:
    """Return the message in what SNS delivered, however it was wrapped.

    Takes an HTTPS notification, the body of an SQS record, a record of a Lambda event from SNS or
    SQS, or a raw delivery; as text, bytes or parsed.

    Raises:
        ValueError: there is no message of this contract in it.
    """
    document = json.loads(delivery) if isinstance(delivery, str | bytes) else delivery
    if isinstance(document, Mapping):
        for wrapper in ("Sns", "Message", "body", "Body"):
            if wrapper in document:
                return from_sns(document[wrapper])
    return MESSAGES.validate_python(document)
