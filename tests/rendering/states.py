"""States of the simulation to draw."""

# fmt: off
HOLDING = (
    -0.049, 0.056, -0.017, 0.544, 0.572, 0.572, -0.048, 0.557, 0.554, 0.554, 0.152, 0.044, 0.532, 0.532,
    0.009, -0.081, 0.305, 0.710, 0.710, 0.463, 0.970, 0.053, 0.099, -0.663,
    0.999, 0.856, 0.202, 0.684, -0.563, 0.453, 0.097,
)
# fmt: on
"""qpos in which the hand holds the block between thumb and fingers."""
