"""Telling partners: what the ledger says becomes events, and events become signed requests to where partners want.

The way of one event: `outbox` reads the ledger and writes a delivery for each webhook that asked for it (`events`
says what it is told); `dispatch` claims what is due and settles what became of it; `sending` makes one attempt, to an
address that `targets` and `addresses` let pass, signed by `signing`.
"""
