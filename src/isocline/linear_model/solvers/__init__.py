"""One file per idea: from rows to a separator, or to what proves there is none."""
