"""The steps, in order. A step that was ever released is never edited."""
