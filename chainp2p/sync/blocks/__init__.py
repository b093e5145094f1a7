"""The blocks of known headers, from many peers at once."""
