"""Alerts: rules find what is wrong, a state machine decides whom to tell when, channels tell."""
