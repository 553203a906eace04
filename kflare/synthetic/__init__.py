"""A made-up Sun, for trying things out: that of `kflare demo`, of the tests and the tools."""
