"""Sentences of which product descriptions are put together; they fit nouns with and without a plural."""

OPENERS: tuple[str, ...] = (
    "Our {noun}: made for every day, and to look good for years.",
    "The {noun} our customers come back for.",
    "Small details set our {noun} apart.",
    "All you ask of your {noun}, and nothing you do not need.",
    "Thoughtfully made {noun} for people who look twice.",
    "New in the range: {noun} of a different character.",
    "Honest {noun} at an honest price.",
    "Looking for {noun} to last? Here you are.",
)
MATERIAL_LINES: tuple[str, ...] = (
    "The choice here is {material}, which did best in our tests.",
    "In {material}, from a family business that we visit every year.",
    "{material}, carefully selected and checked by hand.",
    "What you notice first: {material}.",
)
STYLE_LINES: tuple[str, ...] = (
    "The {style} look goes with almost everything.",
    "Designed in the {style} tradition.",
    "A favourite of everyone who likes things {style}.",
    "Calm, {style} and easy to live with.",
)
PAIRING_LINES: tuple[str, ...] = (
    "Goes well with our {other}.",
    "Many customers order {other} at the same time.",
    "Not meant to replace your {other}.",
    "Shown here next to our {other}.",
)
CLOSERS: tuple[str, ...] = (
    "Delivered within three days.",
    "Thirty days to change your mind.",
    "Packed without plastic.",
    "Two years of guarantee.",
    "Read the instructions before first use.",
    "Awarded by our readers last year.",
)
