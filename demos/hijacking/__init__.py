"""What core_hijacking.py attacks."""
