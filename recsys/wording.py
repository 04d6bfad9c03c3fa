"""What pydantic says of a wrong value, turned into what our own errors say: the thing that was expected."""

import re

FIXED = {"Field required": "a value", "Extra inputs are not permitted": "no field of that name"}
CHOICE = re.compile(r".* is not one of (?P<choices>.+?)\.?")
FORM = re.compile(r"[A-Z]\w* should (?P<verb>be|have|match) (?P<rest>.+)")
ASIDE = re.compile(r"( after validation)?, (not|unable|got|but) .*| to extract fields from| dictionary or(?= object)")
COMPARED = ("greater", "less", "a multiple")


def expectation(message: str) -> str:
    """What a message of pydantic expects, as it stands after the word "expected".

    Args:
        message: e.g. "Input should be greater than or equal to 1".

    Returns:
        E.g. "a value greater than or equal to 1".
    """
    plain = message.removeprefix("Value error, ")
    if plain in FIXED:
        return FIXED[plain]
    if choice := CHOICE.fullmatch(plain):
        return f"one of {choice['choices']}"
    if (form := FORM.fullmatch(plain)) is None:
        return f"another value ({plain.rstrip('.')})"
    rest = ASIDE.sub("", form["rest"])
    if form["verb"] == "match":
        return f"a text that matches {rest}"
    return f"a value {rest}" if rest.startswith(COMPARED) else rest
