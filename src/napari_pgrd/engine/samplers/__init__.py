"""The systems that turn a case into samples."""
