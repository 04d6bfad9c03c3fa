"""Forgetting a user: keys that are destroyed, tombstones that keep the user out, and what they sweep."""
