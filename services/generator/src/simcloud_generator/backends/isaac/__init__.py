"""Isaac Sim: pictures and masks by RTX and Replicator, everything else as on the CPU."""
