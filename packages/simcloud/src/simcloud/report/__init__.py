"""The report of a scored run: one HTML page, and pictures with labels and answers drawn."""
