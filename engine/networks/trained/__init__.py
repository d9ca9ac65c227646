"""What a person's training has made, other than the head: how it is stored, and how it is asked."""
