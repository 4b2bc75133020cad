"""Exports: what the ledger holds, in files for other programs (docs/formats/exports.md)."""
