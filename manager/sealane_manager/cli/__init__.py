"""The command line of operators and pipelines: sealane. One noun a file."""
