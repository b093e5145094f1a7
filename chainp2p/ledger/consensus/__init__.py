"""Who may add a block, and which chain is best: the two engines and what they share."""
