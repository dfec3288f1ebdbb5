"""Trust: the verifier, the director document, join tokens and identities."""
