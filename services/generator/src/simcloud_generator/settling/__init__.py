"""Physics: what a frame drops comes to rest here, before any backend sees the frame."""
