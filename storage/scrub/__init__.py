"""The scrub: all records held against each other and all bytes against their digests, and what is done about damage."""
