"""How long a request that was accepted may take to end once the node has stopped accepting."""

GRACE_S = 30
