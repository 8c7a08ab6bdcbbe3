"""Pay codes on walls and screens: which there are, where they hang, what became of each, and what a scanned one stands for."""
