"""What runs beside the hand: the low-level controller and its supervisor.

Runs in the vendor's container, on Python 3.8 with pyzmq and nothing else; it may not import any other
part of the project. ``python -m hardware pack`` makes one file of it.
"""
