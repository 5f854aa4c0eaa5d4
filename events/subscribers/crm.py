"""Keeps the contacts of a CRM as the leads are, in the words of HubSpot's API.

The contacts need five properties of your own: `mqlambda_lead`, `mqlambda_stage`, `mqlambda_score`,
`mqlambda_grade` and `mqlambda_why`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from events.subscribers.inbox import News
from events.subscribers.sending import post
from leadscoring.contract import LeadErased, MergedData, Message, StageData

HUBSPOT = "https://api.hubapi.com"

# Which of our traits is which property of a contact.
_PROPERTIES = {"firstName": "firstname", "lastName": "lastname", "company": "company"}


@dataclass(frozen=True)
class Crm:
    """One account, by the token of a private app: that is a secret."""

    token: str
    base_url: str = HUBSPOT

    def __call__(self, message: Message, news: News) -> None:
        """Bring the contact to where the lead stands now: what comes late is no longer so."""
        if news is News.LATE:
            return
        if isinstance(message, LeadErased):
            for lead_id in (message.data.lead, *message.data.merged_leads):
                self._forget(lead_id)
        elif message.data.lead.email:
            self._upsert(message.data.lead.email, _properties(message.data))

    def _upsert(self, email: str, properties: Mapping[str, str]) -> None:
        contact = {"id": email, "idProperty": "email", "properties": properties}
        self._post("batch/upsert", {"inputs": [contact]})

    def _forget(self, lead_id: str) -> None:
        """Erase the lead's contacts: the message says no address, so they are looked up."""
        mine = {"propertyName": "mqlambda_lead", "operator": "EQ", "value": lead_id}
        found = self._post("search", {"filterGroups": [{"filters": [mine]}], "properties": []})
        for contact in found["results"]:
            self._post("gdpr-delete", {"objectId": contact["id"]})

    def _post(self, call: str, document: object) -> Any:
        url = f"{self.base_url}/crm/v3/objects/contacts/{call}"
        return post(url, document, authorization=f"Bearer {self.token}")


def _properties(data: StageData | MergedData) -> dict[str, str]:
    """Return the contact's properties as texts, which is all that the API takes."""
    properties: dict[str, Any] = {
        theirs: data.lead.traits.get(name) for name, theirs in _PROPERTIES.items()
    }
    properties |= {"mqlambda_lead": data.lead.id, "mqlambda_stage": data.stage}
    if isinstance(data, StageData):
        properties |= {
            "mqlambda_score": data.score,
            "mqlambda_grade": data.grade,
            "mqlambda_why": data.why,
        }
    return {name: str(value) for name, value in properties.items() if value is not None}
