"""The state of a recent block in place of all blocks below it."""
