"""New blocks: in compact form or whole, announced or pushed, and those that wait for their parents."""
