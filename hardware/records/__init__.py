"""What happened in a trial on the hand, in MCAP files: written as it happens, read, replayed and drawn."""
