"""The names of a product's text fields, apart from what reads them: training hosts have no tables library."""

from typing import Literal

TextField = Literal["title", "brand", "category", "attributes", "description"]
FIELDS: tuple[TextField, ...] = ("title", "brand", "category", "attributes", "description")
