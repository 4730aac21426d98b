"""What the data planes of a Gateway run on: the objects, and who applies them."""
