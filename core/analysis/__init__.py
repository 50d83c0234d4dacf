"""What a model's attention does: captured while it runs, measured and drawn. Works on models as they are."""
