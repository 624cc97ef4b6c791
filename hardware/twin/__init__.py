"""Simulated peers: a hand, motion capture and cameras that behave like a lab's, over the same sockets."""
