"""What ``make bench`` runs. Knows everything; nothing imports it."""
