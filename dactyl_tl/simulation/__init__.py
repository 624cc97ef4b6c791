"""The world: hand, objects and scene as an MjModel, and the engines that step it."""
