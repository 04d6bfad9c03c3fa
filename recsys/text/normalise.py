"""One spelling for texts that mean the same to a reader: used by the splits, the tokenizers of words and the caches."""

import unicodedata


def normalise(text: str) -> str:
    """Compatibility-compose (NFKC), case-fold and collapse white space.

    Folding can break composition and composition can bring capitals back, so the text is composed on both sides;
    the result is a fixed point: normalise(normalise(x)) == normalise(x).

    Args:
        text: any text; lone surrogates are allowed and stay.

    Returns:
        The text in one spelling, without white space at its ends.

    Source: The Unicode Standard, section 3.13, definition D146 (NFKC_Casefold without the removal of ignorables).
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).casefold().split())


def well_formed(text: str) -> str:
    """The text with a question mark for each lone surrogate, which libraries outside Python can't encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
