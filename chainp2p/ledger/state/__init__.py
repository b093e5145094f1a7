"""The state: tries, accounts, what a block writes over them, and how a state travels in parts."""
