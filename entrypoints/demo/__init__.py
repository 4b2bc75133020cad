"""The demo: the ledger's main job on a trace of real inferences, or on a seeded one like it."""
