"""The wire contract, generated from protos/; only codec and rpc modules import it."""
