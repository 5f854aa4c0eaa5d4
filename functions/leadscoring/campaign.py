"""Which campaign brought a lead: Segment's `context.campaign`, or the UTM parameters of a page."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

CHARACTERS = 100

# Segment's word for each UTM parameter: https://segment.com/docs/connections/spec/common/#context
_WORDS = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "name",
    "utm_term": "term",
    "utm_content": "content",
}
_ADDRESS_CHARACTERS = 4_000


def of(context: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, str]:
    """Return source, medium, name, term and content of the campaign, as far as they are told."""
    page = context.get("page")
    addresses = (
        properties.get("url"),
        properties.get("search"),
        *((page.get("url"), page.get("search")) if isinstance(page, Mapping) else ()),
    )
    told = context.get("campaign")
    tables = [told if isinstance(told, Mapping) else {}, *map(in_address, addresses)]
    return next((found for table in tables if (found := _kept(table))), {})


def in_address(address: object) -> dict[str, str]:
    """Return the campaign that the UTM parameters of an address, or of its query, name."""
    if not isinstance(address, str):
        return {}
    try:
        query = urlsplit(address[:_ADDRESS_CHARACTERS]).query
    except ValueError:
        return {}
    return in_fields(dict(parse_qsl(query)))


def in_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the campaign that fields named like UTM parameters tell."""
    return _kept({word: fields[name] for name, word in _WORDS.items() if name in fields})


def _kept(table: Mapping[str, Any]) -> dict[str, str]:
    return {
        word: value[:CHARACTERS]
        for word in _WORDS.values()
        if isinstance(value := table.get(word), str) and value
    }
