"""What the gateway adds to a request so that an upstream takes it: read, worked out once, and added as it goes out.

Invariant: an upstream that has a credential, or has to have one, is never asked without it, and what it is asked with
is the gateway's alone: a client's header of the same name goes no further.
"""
