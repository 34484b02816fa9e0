"""Through graphs."""
