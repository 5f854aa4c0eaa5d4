"""What is published: CloudEvents 1.0, one type for each thing that can happen to a lead.

The JSON Schema and examples under `events/messages/` are generated from these models.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from leadscoring.explanation import trusted_share
from leadscoring.interaction import Trust
from leadscoring.lead import Change, Explanation, Lead
from leadscoring.model import MQL

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
    email: str | None
    traits: dict[str, str | int | float | bool]
    first_touch: PublishedTouch | None = None
    last_touch: PublishedTouch | None = None

    @classmethod
    def of(cls, lead: Lead) -> Self:
        """Return what subscribers learn of the lead itself."""
        touches = {"first_touch": lead.first_touch, "last_touch": lead.last_touch}
        told = {"id": lead.id, "email": lead.email, "traits": dict(lead.traits)}
        return cls.model_validate({**told, **touches})


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


class _CloudEvent(_Published):
    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Field(description="<lead id>:<sequence>; subscribers deduplicate on it")]
    source: str
    type: str = ""
    subject: str
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: StageData

    @classmethod
    def of(cls, change: Change, lead: Lead, explanation: Explanation, source: str) -> Self:
        """Return the message that tells of this change."""
        card, reasons = explanation.scorecard, explanation.reasons
        return cls(
            id=f"{lead.id}:{change.number}",
            source=source,
            subject=lead.id,
            time=change.at,
            data=StageData(
                lead=PublishedLead.of(lead),
                stage=change.to_stage,
                previous_stage=change.from_stage,
                why=change.why,
                score=card.score,
                scores=dict(card.scores),
                dimensions={name: part.points for name, part in card.dimensions.items()},
                grade=card.grade,
                matrix=card.matrix,
                trusted_share=trusted_share(reasons),
                reasons=[
                    PublishedReason(
                        rule=reason.rule,
                        name=reason.name,
                        points_now=reason.points_now,
                        occurred_at=reason.occurred_at,
                        trust=reason.trust,
                    )
                    for reason in reasons[:_TOP_REASONS]
                ],
                cycle=change.cycle,
                sequence=change.number,
                model=card.model,
            ),
        )


class LeadPromoted(_CloudEvent):
    """A lead became a Marketing Qualified Lead."""

    type: Literal["mqlambda.lead.promoted.v1"] = "mqlambda.lead.promoted.v1"


class LeadStageChanged(_CloudEvent):
    """A lead passed into any other stage."""

    type: Literal["mqlambda.lead.stage_changed.v1"] = "mqlambda.lead.stage_changed.v1"


type Message = Annotated[LeadPromoted | LeadStageChanged, Field(discriminator="type")]
MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)


def message_of(change: Change, lead: Lead, explanation: Explanation, source: str) -> Message:
    """Return what the world is told of this change."""
    kind = LeadPromoted if change.to_stage == MQL else LeadStageChanged
    return kind.of(change, lead, explanation, source)


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
