"""Error rates on recordings, and pictures of them."""
