"""Path tracing on the CPU with Mitsuba, labels by Embree."""
