"""The store: the only place that speaks SQL; plain values go in and come out."""
