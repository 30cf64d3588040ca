"""The ledger: one Merkle tree per tenant and month, in the formats of C2SP, so that outsiders can check the trail."""
