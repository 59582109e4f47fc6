"""One criterion a module, each a pair of pure functions.

`find_reason` returns None only when the criterion is met. `is_always_met` is True only where no request of this
principal could fail it before this requirement, so that it need not be asked again for each.
"""
