"""From the cameras' pictures to the object's pose: states, pictures, their cache, estimators, training."""
