"""Pseudonyms: keyed hashes of user ids like masked ones, but each under a key of its user's own.

Where the key is destroyed, nobody can tell any more whose the pseudonym was, in whichever copy it stands.
"""

import hmac

KEY_BYTES = 32
DIGITS = 32
"""Hex digits of a pseudonym and of a lookup: 128 bits."""


def pseudonym(key: bytes, user_id: str) -> str:
    """What a user is called, 32 hex digits: HMAC-SHA256 of the plain id.

    Args:
        key: the user's own.
        user_id: the plain id.
    """
    return hmac.digest(key, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()[:DIGITS]


def lookup(key: bytes, user_id: str) -> str:
    """Where a user's key is found, 32 hex digits: HMAC-SHA256, apart from masked ids and marks of the same key.

    Args:
        key: the shop's.
        user_id: the plain id.
    """
    return hmac.digest(key, b"\x00key of\x00" + user_id.encode("utf-8", "surrogatepass"), "sha256").hex()[:DIGITS]
