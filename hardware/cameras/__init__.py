"""The three cameras that look at the object: drivers, frames of one instant, the pose estimator's input."""
