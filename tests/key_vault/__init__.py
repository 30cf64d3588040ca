"""A stand-in for Key Vault that speaks its documented REST interface, and the tests of the adapter on it."""
