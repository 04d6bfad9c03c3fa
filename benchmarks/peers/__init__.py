"""Peers that need other versions of our libraries: a requirements file and a script each, in a home of its own."""
