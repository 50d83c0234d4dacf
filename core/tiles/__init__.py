"""What the tiled and the banded backend share: tiles of queries and keys, and passes over them."""
