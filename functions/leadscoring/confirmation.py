"""Double opt-in: what a form says waits until a server's message confirms it."""

from collections.abc import Iterable

from leadscoring.doors import Form
from leadscoring.interaction import Interaction, Trust
from leadscoring.lead import Entry
from leadscoring.model import Model

UNCONFIRMED = "unconfirmed"


def awaited(form: Form) -> str | None:
    """Return what withholds the form's interaction, if it has to be confirmed."""
    return UNCONFIRMED if form.confirm_by else None


def concerns(acts: Iterable[Interaction], model: Model) -> bool:
    """Tell whether one of a lead's acts may confirm something, or need to be confirmed."""
    names = {form.confirm_by for form in model.forms.values()}
    return any(
        act.withheld_by == UNCONFIRMED or (act.trust is Trust.TRUSTED and act.name in names)
        for act in acts
    )


def confirmed(ledger: Iterable[Entry], model: Model) -> list[Entry]:
    """Return what waits in a lead's ledger though a server confirmed it.

    A confirmation is for all that had arrived by then, in whatever order the two were recorded.
    """
    entries = list(ledger)
    latest = {
        entry.name: entry.received_at
        for entry in sorted(entries, key=lambda entry: entry.received_at)
        if entry.trust is Trust.TRUSTED and not entry.is_withheld
    }
    return [
        entry
        for entry in entries
        if entry.is_withheld
        and entry.withheld_by == UNCONFIRMED
        and (form := model.forms.get(str(entry.properties.get("form"))))
        and (at := latest.get(form.confirm_by or ""))
        and entry.received_at <= at
    ]
