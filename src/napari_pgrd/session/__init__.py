"""A review without a window: state, correction, export."""
