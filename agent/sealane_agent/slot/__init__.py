"""What one slot does: the table that decides, the journal, and the hands that carry it out."""
