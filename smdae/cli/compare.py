def command() -> int:
    """Compare objectives."""
    return 0
