"""Motion capture: frames of markers from any system, and the fingertips, object and hand base they show."""
