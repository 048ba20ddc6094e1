"""Models from elsewhere, checked before they are believed; and ours, packed for others to read."""
