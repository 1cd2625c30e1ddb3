"""Images that studies take: chosen from any source, packed, changed."""
