"""The image tower: pictures or image vectors projected into the space of the text vectors."""
