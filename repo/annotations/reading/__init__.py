"""From files to the canonical table: what is named, what is loaded, which layout it has, whose id stands where."""
