"""A made-up Sun, for trying things out: the quickstart's, the tests' and the tools'."""
