"""Labels: conventions of boxes and masks, and the rules they are checked by."""
