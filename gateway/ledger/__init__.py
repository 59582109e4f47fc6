"""The audit ledger for those outside: exports, their verification without the store, and sinks that follow it."""
