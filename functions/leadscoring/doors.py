"""What a model says of the ways in: its forms."""

from typing import Annotated

from pydantic import Field

from leadscoring import faults
from leadscoring.criteria import Part


class Form(Part):
    """A plain HTML form: what its interaction is called and where the visitor goes next."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "Form Submitted"
    redirect: Annotated[str, Field(pattern=faults.ADDRESS)] | None = None
