from tests.windows import make_window

__all__ = ["make_window"]
