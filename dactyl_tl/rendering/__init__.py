"""Pictures of the hand: the classic OpenGL renderer, videos, stills and a live viewer."""
