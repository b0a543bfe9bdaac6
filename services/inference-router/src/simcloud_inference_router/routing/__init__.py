"""Whether, when and how often a target is asked."""
